"""Open associations, so that a series isn't called complete while its sender is still there.

A receiver writes a heartbeat for its open associations; one that was killed stops doing so, and
its associations count as closed `HEARTBEAT_STALE_SECONDS` later.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa

from dicomnode.tracking.database import insert_missing
from dicomnode.tracking.schema import associations

HEARTBEAT_SECONDS = 5.0
HEARTBEAT_STALE_SECONDS = 20.0


@dataclass(frozen=True)
class OpenedAssociation:
    """An accepted association; `receiver_id` names the receiving process."""

    id: str
    receiver_id: str
    calling_ae_title: str
    called_ae_title: str
    peer_address: str
    at: datetime


@dataclass(frozen=True)
class ClosedAssociation:
    """Its end: `outcome` is released, aborted or lost."""

    id: str
    outcome: str
    at: datetime


def open_(c: sa.Connection, opened: Sequence[OpenedAssociation]) -> None:
    insert_missing(
        c,
        associations,
        [
            {
                "id": association.id,
                "receiver_id": association.receiver_id,
                "calling_ae_title": association.calling_ae_title,
                "called_ae_title": association.called_ae_title,
                "peer_address": association.peer_address,
                "opened_at": association.at,
                "heartbeat_at": association.at,
                "outcome": "",
            }
            for association in opened
        ],
    )


def close(c: sa.Connection, closed: Sequence[ClosedAssociation]) -> None:
    for association in closed:
        c.execute(
            associations.update()
            .where(associations.c.id == association.id, associations.c.closed_at.is_(None))
            .values(closed_at=association.at, outcome=association.outcome)
        )


def heartbeat(c: sa.Connection, receiver_id: str, now: datetime) -> None:
    c.execute(
        associations.update()
        .where(associations.c.receiver_id == receiver_id, associations.c.closed_at.is_(None))
        .values(heartbeat_at=now)
    )


def is_open(now: datetime) -> sa.ColumnElement[bool]:
    """The condition on a row of `associations`."""
    alive_since = now - timedelta(seconds=HEARTBEAT_STALE_SECONDS)
    return sa.and_(associations.c.closed_at.is_(None), associations.c.heartbeat_at > alive_since)


def close_lost(c: sa.Connection, now: datetime) -> int:
    """Close those whose receiver was killed, for the record; nothing waits for this."""
    result = c.execute(
        associations.update()
        .where(associations.c.closed_at.is_(None), sa.not_(is_open(now)))
        .values(closed_at=now, outcome="lost")
    )
    return result.rowcount
