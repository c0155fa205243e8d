"""Deliveries that wait for their destination without a job, however many there are.

The first that was parked is the first to go, so one that makes its destination fail comes again
only after all others.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import sqlalchemy as sa

from dicomnode.tracking.database import insert_missing
from dicomnode.tracking.schema import destinations, parked_deliveries


@dataclass(frozen=True)
class Parked:
    """An attempt that goes on later; `deadline` is in seconds of the epoch."""

    delivery_id: int
    destination: str
    number: int
    deadline: float


def park(c: sa.Connection, parked: Parked) -> None:
    """Again for the same delivery changes nothing."""
    insert_missing(c, parked_deliveries, [vars(parked)])


def take_ready(c: sa.Connection, now_seconds: float, limit: int) -> list[Parked]:
    """Some of those whose circuit is closed, or whose time is over; they wait no longer."""
    p = parked_deliveries.c
    is_open = sa.exists().where(
        destinations.c.name == p.destination, destinations.c.opened_at.is_not(None)
    )
    return _take(c, sa.or_(~is_open, p.deadline < now_seconds), limit)


def take_first(c: sa.Connection, destination: str) -> Parked | None:
    """The one that has waited for a destination for longest."""
    taken = _take(c, parked_deliveries.c.destination == destination, 1)
    return taken[0] if taken else None


def is_parked(c: sa.Connection, delivery_id: int) -> bool:
    p = parked_deliveries.c
    return c.scalar(sa.select(p.id).where(p.delivery_id == delivery_id)) is not None


def counts(c: sa.Connection) -> Mapping[str, int]:
    """How many wait for each destination."""
    p = parked_deliveries.c
    query = sa.select(p.destination, sa.func.count()).group_by(p.destination)
    return dict(c.execute(query).tuples().all())


def _take(c: sa.Connection, condition: sa.ColumnElement[bool], limit: int) -> list[Parked]:
    p = parked_deliveries.c
    query = sa.select(parked_deliveries).where(condition).order_by(p.id).limit(limit)
    rows = c.execute(query.with_for_update(skip_locked=True)).all()
    if rows:
        c.execute(parked_deliveries.delete().where(p.id.in_([row.id for row in rows])))
    return [Parked(row.delivery_id, row.destination, row.number, row.deadline) for row in rows]
