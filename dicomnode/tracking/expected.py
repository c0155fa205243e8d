"""What others say that a series holds: MPPS, the sender and a pull by counts, IAN by instances."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa

from dicomnode.tracking.completeness import NamedCount, Source
from dicomnode.tracking.database import insert_missing
from dicomnode.tracking.schema import (
    announced_instances,
    expected_counts,
    instances,
    segmentations,
    series,
)

_AT_A_TIME = 500


def expect_count(
    c: sa.Connection,
    study_instance_uid: str,
    series_instance_uid: str,
    count: int,
    source: str,
    now: datetime | None = None,
    *,
    speaker: str = "",
) -> None:
    """What one speaker of a source says last of a series counts. Zero instances are no statement.

    Whoever tells of several series does so in their order, so that no two wait for each other.
    Raises `ValueError` for a source that isn't one of `Source`, or that names no count (IAN).
    """
    if Source(source) is Source.IAN:
        raise ValueError("a notification names instances: announce them")
    if count < 1:
        return
    e = expected_counts
    values = {"instance_count": count, "at": now or datetime.now(UTC)}
    key = {
        "study_instance_uid": study_instance_uid,
        "series_instance_uid": series_instance_uid,
        "source": Source(source).value,
        "speaker": speaker,
    }
    insert_missing(c, e, [key | values])
    same = [e.c[name] == value for name, value in key.items()]
    c.execute(e.update().where(*same).values(values))


def expect_counts(
    c: sa.Connection,
    study_instance_uid: str,
    counts: Mapping[str, int],
    source: Source,
    speaker: str,
) -> None:
    """All that a PACS says of a study: series that it doesn't name any more are not counted.

    Its newest answer replaces the older ones, whether it was asked before a pull or by C-FIND.
    """
    e = expected_counts
    answers = e.c.source.in_([Source.C_FIND.value, Source.PULL.value])
    of_study = e.c.study_instance_uid == study_instance_uid
    c.execute(e.delete().where(of_study, e.c.speaker == speaker, answers))
    for series_instance_uid, count in sorted(counts.items()):
        expect_count(c, study_instance_uid, series_instance_uid, count, source, speaker=speaker)


def announce(
    c: sa.Connection,
    study_instance_uid: str,
    series_instance_uid: str,
    available: Collection[str],
    unavailable: Collection[str] = (),
) -> None:
    """Instances that a notification names (PS3.4 R.1.1: any set of them), or takes back.

    They add up: one notification says nothing of what an earlier one named. What a revision holds
    already needs no row.
    """
    a = announced_instances
    of_series = {
        "study_instance_uid": study_instance_uid,
        "series_instance_uid": series_instance_uid,
    }
    same = [a.c[name] == value for name, value in of_series.items()]
    for uids in _few_at_a_time(unavailable):
        c.execute(a.delete().where(*same, a.c.sop_instance_uid.in_(uids)))
    for uids in _few_at_a_time(available):
        held = sa.select(instances.c.sop_instance_uid).where(
            instances.c.sop_instance_uid.in_(uids), instances.c.first_revision.is_not(None)
        )
        new = set(uids) - set(c.scalars(held))
        insert_missing(c, a, [of_series | {"sop_instance_uid": uid} for uid in sorted(new)])


def forget_announced(c: sa.Connection, series_id: int) -> None:
    """Rows of instances that are here now: a revision holds them."""
    a = announced_instances
    arrived = sa.select(instances.c.sop_instance_uid).where(instances.c.series_id == series_id)
    mine = sa.tuple_(a.c.study_instance_uid, a.c.series_instance_uid).in_(
        sa.select(series.c.study_instance_uid, series.c.series_instance_uid).where(
            series.c.id == series_id
        )
    )
    c.execute(a.delete().where(mine, a.c.sop_instance_uid.in_(arrived)))


def total_count() -> sa.ColumnElement[int]:
    """Of the rows of one source for a series: steps (MPPS) made different instances, answers of
    several PACS are about the same ones."""
    e = expected_counts.c
    added, largest = sa.func.sum(e.instance_count), sa.func.max(e.instance_count)
    return sa.case((e.source == Source.MPPS.value, added), else_=largest)


def of_series_that_wait(
    c: sa.Connection, waits: sa.ColumnElement[bool]
) -> Mapping[int, tuple[tuple[Source, int], ...]]:
    """By the row of `series`: how many instances each source names, the announced ones last."""
    found: dict[int, tuple[tuple[Source, int], ...]] = {}
    for series_id, named in (*_counted(c, waits), *_announced(c, waits)):
        found[series_id] = (*found.get(series_id, ()), named)
    return found


def _counted(
    c: sa.Connection, waits: sa.ColumnElement[bool]
) -> Iterator[tuple[int, tuple[Source, int]]]:
    e = expected_counts.c
    query = (
        sa.select(series.c.id, e.source, e.instance_count)
        .join(expected_counts, _same_series(expected_counts))
        .where(waits)
    )
    # Put together here: a GROUP BY would make SQLite walk over all series.
    said: dict[tuple[int, str], list[int]] = {}
    for row in c.execute(query):
        said.setdefault((row.id, row.source), []).append(row.instance_count)
    for (series_id, source), counts in sorted(said.items()):
        yield series_id, (Source(source), (sum if source == Source.MPPS else max)(counts))


def _announced(
    c: sa.Connection, waits: sa.ColumnElement[bool]
) -> Iterator[tuple[int, tuple[Source, int]]]:
    """As a count: what is here and what is named besides; none where not all of what no revision
    holds yet is named, for then the notifications say nothing of the whole."""
    new = sa.and_(instances.c.id.is_not(None), instances.c.first_revision.is_(None))
    query = sa.select(
        series.c.id,
        series.c.instance_count,
        series.c.revised_count,
        count_announced(instances.c.id.is_(None)).label("missing"),
        count_announced(new).label("new"),
    ).where(waits)
    for row in c.execute(query):
        not_revised = row.instance_count - row.revised_count
        if row.missing or (row.new and row.new == not_revised):
            yield row.id, (Source.IAN, row.instance_count + row.missing)


def count_announced(condition: sa.ColumnElement[bool]) -> sa.ScalarSelect[int]:
    """Of a series how many announced instances there are for which that is true of their row in
    `instances`, which has no id where they aren't here."""
    a = announced_instances
    return (
        sa.select(sa.func.count())
        .select_from(a.outerjoin(instances, instances.c.sop_instance_uid == a.c.sop_instance_uid))
        .where(_same_series(a), condition)
        .correlate(series)
        .scalar_subquery()
    )


def never_received(
    c: sa.Connection, study_instance_uids: Collection[str]
) -> Mapping[str, Mapping[str, NamedCount]]:
    """Series that somebody names in these studies and of which nothing came, by study and series.

    Whoever names most is told. Our own SEG series are none: the PACS has them from us.
    """
    e, a = expected_counts, announced_instances
    of_series = ("study_instance_uid", "series_instance_uid")
    counted = (
        sa.select(*(e.c[key] for key in of_series), e.c.source, total_count().label("total"))
        .where(e.c.study_instance_uid.in_(study_instance_uids), *_absent(e))
        .group_by(*(e.c[key] for key in of_series), e.c.source)
    )
    announced = (
        sa.select(
            *(a.c[key] for key in of_series),
            sa.literal(Source.IAN.value).label("source"),
            sa.func.count().label("total"),
        )
        .where(a.c.study_instance_uid.in_(study_instance_uids), *_absent(a))
        .group_by(*(a.c[key] for key in of_series))
    )
    rows = [*c.execute(counted), *c.execute(announced)]
    return _most(sorted(rows, key=lambda row: (row.series_instance_uid, row.source)))


def _most(rows: Sequence[sa.Row[Any]]) -> Mapping[str, Mapping[str, NamedCount]]:
    found: dict[str, dict[str, NamedCount]] = {}
    for row in rows:
        of_study = found.setdefault(row.study_instance_uid, {})
        known = of_study.get(row.series_instance_uid)
        if known is None or row.total > known.count:
            of_study[row.series_instance_uid] = NamedCount(Source(row.source), int(row.total))
    return found


def _absent(table: sa.Table) -> tuple[sa.ColumnElement[bool], ...]:
    received = sa.select(series.c.id).where(_same_series(table))
    own = sa.select(segmentations.c.id).where(
        segmentations.c.series_instance_uid == table.c.series_instance_uid
    )
    return ~received.correlate(table).exists(), ~own.correlate(table).exists()


def _same_series(table: sa.Table) -> sa.ColumnElement[bool]:
    return sa.and_(
        table.c.study_instance_uid == series.c.study_instance_uid,
        table.c.series_instance_uid == series.c.series_instance_uid,
    )


def _few_at_a_time(uids: Collection[str]) -> Iterator[list[str]]:
    """A statement takes only so many parameters."""
    ordered = sorted(uids)
    for start in range(0, len(ordered), _AT_A_TIME):
        yield ordered[start : start + _AT_A_TIME]
