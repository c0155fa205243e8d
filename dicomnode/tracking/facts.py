"""What the database knows of the series that are not complete yet (`completeness.decide`).

All of it is in the database, so a restart changes nothing. The worker asks every second: each
query begins with the partial index of series that hold instances beyond their newest revision.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa

from dicomnode.domain import SizeHints
from dicomnode.tracking import expected
from dicomnode.tracking.associations import LOST, RELEASED, is_open
from dicomnode.tracking.completeness import HintGroup, SeriesFacts, Source
from dicomnode.tracking.schema import (
    association_series,
    associations,
    instances,
    senders,
    series,
)

_EVER = datetime(1970, 1, 1, tzinfo=UTC)
_HINTS = (
    instances.c.acquisition_number,
    instances.c.images_in_acquisition,
    instances.c.number_of_frames,
    instances.c.concatenation_uid,
    instances.c.in_concatenation_total,
)


def unrevised(
    c: sa.Connection, now: datetime, series_id: int | None = None
) -> tuple[SeriesFacts, ...]:
    """The facts of every series that waits for a revision, or of that one; longest quiet first."""
    waits = is_unrevised(series_id)
    rows = c.execute(_series(waits, now)).all()
    named = expected.of_series_that_wait(c, waits)
    groups = _hint_groups(c, waits) if rows else {}
    found = [_facts(row, now, named.get(row.id, ()), groups.get(row.id, ())) for row in rows]
    return tuple(sorted(found, key=lambda facts: (facts.quiet_since, facts.series_id)))


def ended_at() -> sa.ColumnElement[datetime]:
    """Of a row of `associations`; one whose receiver was killed ended with its last heartbeat."""
    return sa.func.coalesce(associations.c.closed_at, associations.c.heartbeat_at)


def is_unrevised(series_id: int | None = None) -> sa.ColumnElement[bool]:
    """Written as in the partial index, with its column, so that both databases use it."""
    differs = sa.text("series.is_arriving")
    one = [] if series_id is None else [series.c.id == series_id]
    return sa.and_(differs, series.c.last_received_at >= _EVER, *one)


def _series(waits: sa.ColumnElement[bool], now: datetime) -> sa.Select[Any]:
    """A row for each series, with its study's associations and the sender of its last instance."""
    study = _associations_of_studies(waits, now)
    newest = (
        sa.select(sa.func.max(instances.c.id))
        .where(instances.c.series_id == series.c.id)
        .correlate(series)
        .scalar_subquery()
    )
    return (
        sa.select(
            series.c.id,
            series.c.study_instance_uid,
            series.c.series_instance_uid,
            series.c.instance_count,
            series.c.last_received_at,
            study.c.open,
            study.c.unreleased,
            study.c.ended_at,
            instances.c.calling_ae_title,
            senders.c.quiet_seconds,
        )
        .outerjoin(study, study.c.study_instance_uid == series.c.study_instance_uid)
        .outerjoin(instances, instances.c.id == newest)
        .outerjoin(senders, senders.c.calling_ae_title == instances.c.calling_ae_title)
        .where(waits)
    )


def _associations_of_studies(waits: sa.ColumnElement[bool], now: datetime) -> sa.Subquery:
    """How many that sent to the study are open, or ended badly and were not made good."""
    sibling = series.alias("sibling")
    studies = sa.select(series.c.study_instance_uid).where(waits)
    return (
        sa.select(
            sibling.c.study_instance_uid,
            _count(is_open(now)).label("open"),
            _count(_ended_badly(sibling)).label("unreleased"),
            sa.func.max(ended_at()).label("ended_at"),
        )
        .join(association_series, association_series.c.series_id == sibling.c.id)
        .join(associations, associations.c.id == association_series.c.association_id)
        .where(sibling.c.study_instance_uid.in_(studies))
        .group_by(sibling.c.study_instance_uid)
        .subquery()
    )


def _ended_badly(sibling: sa.FromClause) -> sa.ColumnElement[bool]:
    """It sent to a series that waits, was not released, and the sender did not come back.

    It came back where a later association, opened after that end, sent to the same series and was
    released. What a revision holds already is not waited for, however it came.
    """
    later, link = associations.alias("later"), association_series.alias("later_series")
    # The row of a lost one is closed when somebody notices.
    lost = associations.c.outcome.in_([LOST, ""])
    end = sa.case((lost, associations.c.heartbeat_at), else_=associations.c.closed_at)
    came_back = (
        sa.select(sa.literal(1))
        .select_from(link.join(later, later.c.id == link.c.association_id))
        .where(
            link.c.series_id == association_series.c.series_id,
            later.c.outcome == RELEASED,
            later.c.opened_at >= end,
        )
        .correlate(associations, association_series)
        .exists()
    )
    waits = sibling.c.instance_count != sibling.c.revised_count
    return sa.and_(waits, associations.c.outcome != RELEASED, ~came_back)


def _hint_groups(
    c: sa.Connection, waits: sa.ColumnElement[bool]
) -> Mapping[int, tuple[HintGroup, ...]]:
    query = (
        sa.select(instances.c.series_id, sa.func.count().label("instances"), *_HINTS)
        .join(series, series.c.id == instances.c.series_id)
        .where(waits)
        .group_by(instances.c.series_id, *_HINTS)
    )
    found: dict[int, tuple[HintGroup, ...]] = {}
    for row in c.execute(query):
        hints = SizeHints(
            acquisition_number=row.acquisition_number,
            images_in_acquisition=row.images_in_acquisition,
            number_of_frames=row.number_of_frames,
            concatenation_uid=row.concatenation_uid,
            in_concatenation_total=row.in_concatenation_total,
        )
        group = HintGroup(hints, row.instances)
        found[row.series_id] = (*found.get(row.series_id, ()), group)
    return found


def _count(condition: sa.ColumnElement[bool]) -> sa.ColumnElement[int]:
    return sa.func.sum(sa.case((condition, 1), else_=0))


def _facts(
    row: sa.Row[Any],
    now: datetime,
    named: tuple[tuple[Source, int], ...],
    groups: tuple[HintGroup, ...],
) -> SeriesFacts:
    """A time in the future counts as now: the clock was set back, or is that of another host."""
    ended: datetime = row.ended_at or row.last_received_at
    return SeriesFacts(
        series_id=row.id,
        study_instance_uid=row.study_instance_uid,
        series_instance_uid=row.series_instance_uid,
        calling_ae_title=row.calling_ae_title or "",
        instance_count=row.instance_count,
        is_being_sent=bool(row.open),
        was_released=row.ended_at is not None and not row.unreleased,
        received_at=min(row.last_received_at, now),
        quiet_since=min(max(ended, row.last_received_at), now),
        expected=named,
        hint_groups=groups,
        learned_quiet_seconds=row.quiet_seconds,
    )
