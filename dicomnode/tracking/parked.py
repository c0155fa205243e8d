"""Deliveries that wait for their destination without a job, however many there are.

The first that was parked is the first to go, so one that makes its destination fail comes again
only after all others. How long they wait is counted in the pauses of their destination's circuit
(`circuits.claim_probe`), not told from a clock that may jump.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from dicomnode.tracking.database import insert_missing
from dicomnode.tracking.schema import destinations, parked_deliveries


@dataclass(frozen=True)
class Parked:
    """An attempt that goes on later: the fields of `jobs.attempts.Attempt`."""

    delivery_id: int
    number: int
    delay_seconds: float
    generation: float
    loss_seconds: float
    waited_seconds: float
    unproven_seconds: float


def park(c: sa.Connection, destination: str, parked: Parked) -> None:
    """Again for the same delivery changes nothing."""
    d = destinations.c
    counted = c.scalar(sa.select(d.waited_seconds).where(d.name == destination)) or 0.0
    row = {
        "delivery_id": parked.delivery_id,
        "destination": destination,
        "number": parked.number,
        "generation": parked.generation,
        "loss_seconds": parked.loss_seconds,
        "unproven_seconds": parked.unproven_seconds,
        "began_seconds": counted - parked.waited_seconds,
    }
    insert_missing(c, parked_deliveries, [row])


def is_any_ready(c: sa.Connection, patience_seconds: float) -> bool:
    return c.scalar(_waiting().where(_is_ready(patience_seconds)).limit(1)) is not None


def take_ready(c: sa.Connection, patience_seconds: float, limit: int) -> list[Parked]:
    """Some of those whose circuit is closed, or that waited for so long; they wait no longer."""
    return _take(c, _is_ready(patience_seconds), limit)


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


def _is_ready(patience_seconds: float) -> sa.ColumnElement[bool]:
    return sa.or_(destinations.c.opened_at.is_(None), patience_seconds <= _WAITED)


_WAITED = sa.func.coalesce(destinations.c.waited_seconds, 0.0) - parked_deliveries.c.began_seconds


def _waiting() -> sa.Select[Any]:
    p = parked_deliveries.c
    of_it = destinations.c.name == p.destination
    query = sa.select(parked_deliveries, _WAITED.label("waited_seconds"))
    return query.outerjoin(destinations, of_it).order_by(p.id)


def _take(c: sa.Connection, condition: sa.ColumnElement[bool], limit: int) -> list[Parked]:
    query = _waiting().where(condition).limit(limit)
    locked = query.with_for_update(skip_locked=True, of=parked_deliveries)
    rows = c.execute(locked).all()
    if rows:
        taken = parked_deliveries.c.id.in_([row.id for row in rows])
        c.execute(parked_deliveries.delete().where(taken))
    return [
        Parked(
            row.delivery_id,
            row.number,
            0.0,
            row.generation,
            row.loss_seconds,
            row.waited_seconds,
            row.unproven_seconds,
        )
        for row in rows
    ]
