"""Series whose files may go: delivered, judged, past their days, and awaited by nobody.

What is recorded stays. Of the instances it is noted that their files are gone, and since when, so
that whoever needs one is told, and a file that comes again is known as the one that it was. Files
go a few at a time, each few in one transaction: whoever is killed between file and row finds the
rest in the next look. They are read before it: a database with one writer waits for no disk.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from dicomnode.domain import OPEN_DELIVERIES, DeliveryState, RefusalCode, VerdictKind
from dicomnode.tracking import audit, holds, study_copies
from dicomnode.tracking.exports import ExportState
from dicomnode.tracking.gate_schema import exported_studies, held_objects
from dicomnode.tracking.held import OPEN as HELD_OPEN
from dicomnode.tracking.pulls import PullState
from dicomnode.tracking.removal import Digest
from dicomnode.tracking.results import remove_results
from dicomnode.tracking.schema import (
    deliveries,
    examinations,
    human_decisions,
    instances,
    pulls,
    refusals,
    segmentations,
    series,
    verdicts,
    volumes,
)
from dicomnode.tracking.spool import Spool
from dicomnode.tracking.states import series_now

_PAGE = 200
_ENDS = tuple(state for state in DeliveryState if state not in OPEN_DELIVERIES)
# SQLite has one writer: who receives must not wait for long.
_FILES_AT_A_TIME = 50
_BYTES_AT_A_TIME = 256 << 20


@dataclass(frozen=True)
class Rules:
    """`before`: nothing that happened to a series is younger. `verdicts` and `codes` are those
    that wait for no person, else `persons` have to have decided. `are_delivered`: whether SEGs go
    anywhere."""

    before: datetime
    verdicts: tuple[VerdictKind, ...]
    codes: tuple[RefusalCode, ...]
    persons: int
    are_delivered: bool


@dataclass(frozen=True)
class Removable:
    series_id: int
    study_instance_uid: str
    series_instance_uid: str


def page(c: sa.Connection, after: int = 0) -> Sequence[int]:
    """A page of the series that have files, in the order in which they came, whatever the clock
    said then, behind the series `after`."""
    here = sa.text("series.instance_count > series.removed_count")
    query = sa.select(series.c.id).where(here, series.c.id > after).order_by(series.c.id)
    return c.scalars(query.limit(_PAGE)).all()


def removable(c: sa.Connection, rules: Rules, series_ids: Collection[int]) -> list[Removable]:
    """Those of a page that may go, in the same order."""
    query = _select(rules).where(series.c.id.in_(series_ids)).order_by(series.c.id)
    return [Removable(*row) for row in c.execute(query).tuples()]


def next_files(c: sa.Connection, one: Removable) -> list[str]:
    """Names in the spool of the next few files of a series, at least one where any is here."""
    i, total = instances.c, 0
    names: list[str] = []
    query = sa.select(i.name, i.size_bytes).where(_here(one)).order_by(i.id)
    for row in c.execute(query.limit(_FILES_AT_A_TIME)):
        total += row.size_bytes
        if names and total > _BYTES_AT_A_TIME:
            break
        names.append(row.name)
    return names


def remove_some(
    c: sa.Connection,
    rules: Rules,
    one: Removable,
    digests: Mapping[str, Digest | None],
    spool: Spool,
    results: Path,
    why: str,
    now: datetime,
    *,
    is_first: bool = True,
) -> int:
    """Remove these files of a series, or none where it may not go any more; returns how many.

    `digests` are theirs by name, as the spool has them. The row of the series is locked meanwhile,
    so nobody sends to it, examines it or decides on it. Raises `OSError` and `SpoolError`.
    """
    if not digests:
        return 0
    c.execute(sa.select(series.c.id).where(series.c.id == one.series_id).with_for_update())
    if c.execute(_select(rules).where(series.c.id == one.series_id)).first() is None:
        return 0
    i = instances.c
    if is_first:
        _note(c, one, why, now)
    chosen = sa.and_(_here(one), i.name.in_(digests))
    names = {row.id: row.name for row in c.execute(sa.select(i.id, i.name).where(chosen))}
    remove_results(c, one.series_id, one.series_instance_uid, results)
    for name in names.values():
        spool.remove(name, digests[name])
    c.execute(instances.update().where(i.id.in_(names)).values(removed_at=now))
    count = series.c.removed_count + len(names)
    of_it = series.c.id == one.series_id
    c.execute(series.update().where(of_it).values(removed_count=count, removed_at=now))
    return len(names)


def first_removal(c: sa.Connection, sop_instance_uids: Collection[str]) -> datetime | None:
    """When the first file that is gone of some instances went; None where all are here."""
    i = instances.c
    found: list[datetime | None] = []
    uids = list(sop_instance_uids)
    for start in range(0, len(uids), _PAGE):
        some = i.sop_instance_uid.in_(uids[start : start + _PAGE])
        found += c.scalars(sa.select(i.removed_at).where(some, i.removed_at.is_not(None))).all()
    return min(filter(None, found), default=None)


def sentence(removed_at: datetime) -> str:
    """For whoever needs a file that is gone."""
    return (
        f"files were removed on {removed_at.date().isoformat()} by retention; what was found in "
        "them still counts. Send the series again to have them back"
    )


def _here(one: Removable) -> sa.ColumnElement[bool]:
    i = instances.c
    return sa.and_(i.series_id == one.series_id, i.removed_at.is_(None))


def _note(c: sa.Connection, one: Removable, why: str, now: datetime) -> None:
    total = sa.select(sa.func.count(), sa.func.sum(instances.c.size_bytes)).where(_here(one))
    count, size = c.execute(total).one()
    detail = {"study": one.study_instance_uid, "instances": count, "bytes": int(size), "why": why}
    audit.append(c, "files removed", one.series_instance_uid, detail, now)


def _select(rules: Rules) -> sa.Select[Any]:
    e = examinations.c
    columns = (series.c.id, series.c.study_instance_uid, series.c.series_instance_uid)
    return (
        sa.select(*columns)
        .select_from(series_now())
        .where(
            series.c.instance_count > series.c.removed_count,
            series.c.instance_count == series.c.revised_count,
            # Judged: it was examined, and not in vain.
            e.id.is_not(None),
            e.failure == "",
            _is_past(rules.before),
            sa.not_(holds.is_being_sent()),
            holds.quarantined() == 0,
            sa.or_(holds.is_own_segmentation(), _waits_for_no_person(rules)),
            *_is_delivered(rules),
            *_is_not_leaving(),
            sa.not_(study_copies.is_being_made()),
        )
    )


def _is_past(before: datetime) -> sa.ColumnElement[bool]:
    """Each of the times: after a clock was set, one of them may lie in the future."""
    e, v, d = examinations.c, verdicts.c, human_decisions.c
    decided = sa.exists().where(d.series_id == series.c.id, d.at > before)
    delivered = _has_delivery(deliveries.c.updated_at > before)
    return sa.and_(
        series.c.last_received_at <= before,
        e.created_at <= before,
        sa.or_(v.id.is_(None), v.created_at <= before),
        ~decided,
        ~delivered,
    )


def _waits_for_no_person(rules: Rules) -> sa.ColumnElement[bool]:
    v, r = verdicts.c, refusals.c
    judged = sa.or_(v.id.is_(None), v.kind.in_(rules.verdicts), v.decided_by >= rules.persons)
    awaited = sa.exists().where(
        r.examination_id == examinations.c.id,
        r.code.not_in(rules.codes),
        r.decided_by < rules.persons,
    )
    return sa.and_(judged, ~awaited)


def _is_delivered(rules: Rules) -> tuple[sa.ColumnElement[bool], ...]:
    """Nothing waits, of whichever examination; of the one that counts all was delivered.

    No state is asked for by name: most deliveries have the same.
    """
    d, is_now = deliveries.c, volumes.c.examination_id == examinations.c.id
    waiting = _has_delivery(d.state.not_in([each.value for each in _ENDS]))
    failed = _has_delivery(sa.and_(is_now, d.state != DeliveryState.DELIVERED.value))
    never = (
        sa.exists()
        .where(segmentations.c.volume_id == volumes.c.id, is_now)
        .where(~sa.exists().where(d.segmentation_id == segmentations.c.id))
    )
    has_gone = sa.or_(~never, study_copies.is_copy())  # masks of copies go nowhere
    return (~waiting, ~failed, has_gone) if rules.are_delivered else (~waiting, ~failed)


def _has_delivery(condition: sa.ColumnElement[bool]) -> sa.ColumnElement[bool]:
    of_series = examinations.alias()
    return (
        sa.select(sa.literal(1))
        .select_from(deliveries)
        .join(segmentations, segmentations.c.id == deliveries.c.segmentation_id)
        .join(volumes, volumes.c.id == segmentations.c.volume_id)
        .join(of_series, of_series.c.id == volumes.c.examination_id)
        .where(of_series.c.series_id == series.c.id, condition)
        .correlate(series, examinations)
        .exists()
    )


def _is_not_leaving() -> tuple[sa.ColumnElement[bool], ...]:
    x, h, p, study = exported_studies.c, held_objects.c, pulls.c, series.c.study_instance_uid
    leaving = sa.exists().where(x.study_instance_uid == study, x.state == ExportState.LEAVING.value)
    at_the_gate = sa.exists().where(h.study_instance_uid == study, h.state.in_(HELD_OPEN))
    coming = sa.exists().where(p.study_instance_uid == study, p.state != PullState.DONE.value)
    return ~leaving, ~at_the_gate, ~coming
