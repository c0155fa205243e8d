"""How the last delivery to each destination ended."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from dicomnode.domain import DeliveryState
from dicomnode.tracking.schema import deliveries

# Bounded, whatever the outbox holds: a destination without one among these was idle for long.
_NEWEST = 2000


@dataclass(frozen=True)
class LastDelivery:
    destination: str
    state: DeliveryState
    updated_at: datetime
    last_error: str


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
