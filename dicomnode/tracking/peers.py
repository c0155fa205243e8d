"""How the last delivery to each destination ended, and which destinations are away."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from dicomnode.domain import DeliveryState
from dicomnode.tracking import circuits, parked
from dicomnode.tracking.schema import deliveries

# Bounded, whatever the outbox holds: a destination without one among these was idle for long.
_NEWEST = 2000


@dataclass(frozen=True)
class LastDelivery:
    destination: str
    state: DeliveryState
    updated_at: datetime
    last_error: str


@dataclass(frozen=True)
class Away:
    """A destination whose circuit is open, and how many deliveries wait for it."""

    destination: str
    since: datetime
    next_probe_at: datetime | None
    waiting: int
    last_error: str


def away(c: sa.Connection) -> Sequence[Away]:
    waiting = parked.counts(c)
    return tuple(
        Away(name, circuit.opened_at, circuit.probe_at, waiting.get(name, 0), circuit.last_error)
        for name, circuit in sorted(circuits.open_ones(c).items())
        if circuit.opened_at is not None
    )


def last_deliveries(c: sa.Connection) -> Sequence[LastDelivery]:
    """The newest delivery to each destination, among the newest of all."""
    d = deliveries.c
    query = (
        sa.select(d.destination, d.state, d.updated_at, d.last_error)
        .order_by(d.id.desc())
        .limit(_NEWEST)
    )
    found: dict[str, LastDelivery] = {}
    for row in c.execute(query):
        last = LastDelivery(
            row.destination, DeliveryState(row.state), row.updated_at, row.last_error
        )
        found.setdefault(row.destination, last)
    return tuple(found.values())
