"""How a destination took the last object, where that was not the first way of its configuration."""

from __future__ import annotations

from datetime import datetime, timedelta

import sqlalchemy as sa

from dicomnode.tracking.database import insert_missing
from dicomnode.tracking.schema import destinations

# After that the configured way is tried again: a PACS may have been upgraded.
REMEMBERED = timedelta(days=7)


def recall(c: sa.Connection, destination: str, now: datetime) -> str:
    """The name of a transfer syntax; empty where nothing is known."""
    d = destinations.c
    row = c.execute(
        sa.select(d.transfer_syntax, d.transfer_syntax_at).where(d.name == destination)
    ).one_or_none()
    if row is None or row.transfer_syntax_at is None:
        return ""
    return str(row.transfer_syntax) if now - row.transfer_syntax_at < REMEMBERED else ""


def remember(c: sa.Connection, destination: str, transfer_syntax: str, now: datetime) -> None:
    """An empty name forgets what was known."""
    insert_missing(c, destinations, [{"name": destination}])
    c.execute(
        destinations.update()
        .where(destinations.c.name == destination)
        .values(
            transfer_syntax=transfer_syntax, transfer_syntax_at=now if transfer_syntax else None
        )
    )
