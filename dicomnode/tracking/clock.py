"""Times of before the clock was set back: they become now, else quiet would begin only there."""

from __future__ import annotations

from datetime import datetime, timedelta

import sqlalchemy as sa

from dicomnode.tracking.facts import is_unrevised
from dicomnode.tracking.schema import associations, series

# Hosts whose clocks differ by less are no clock that was set back.
_TOLERANCE_SECONDS = 60.0


def was_set_back(c: sa.Connection, now: datetime) -> bool:
    """Whether something that completeness goes by lies in the future."""
    return any(c.scalar(sa.select(sa.literal(1)).where(ahead).limit(1)) for _, ahead in _ahead(now))


def mend(c: sa.Connection, now: datetime) -> None:
    for column, ahead in _ahead(now):
        c.execute(sa.update(column.table).where(ahead).values({column.name: now}))


def _ahead(now: datetime) -> tuple[tuple[sa.Column[datetime], sa.ColumnElement[bool]], ...]:
    """Columns with the rows of which they lie in the future; each is found by an index."""
    future = now + timedelta(seconds=_TOLERANCE_SECONDS)
    received, ended = series.c.last_received_at, associations.c.closed_at
    alive = associations.c.heartbeat_at
    return (
        (received, sa.and_(is_unrevised(), received > future)),
        (ended, ended > future),
        (alive, sa.and_(ended.is_(None), alive > future)),
    )
