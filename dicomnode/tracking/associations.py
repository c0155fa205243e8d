"""Open associations, so that a series isn't called complete while its sender is still there.

A receiver writes a heartbeat for its open associations; one that was killed stops doing so, and
its associations count as closed `HEARTBEAT_STALE_SECONDS` later. One that only stood still (a
suspended machine, a locked database) may find them declared lost: its next heartbeat opens them
again, and their true ends overwrite what was assumed.

An association is settled once it has ended and every object confirmed to its sender has a row.
Until then the gate holds each series that it sent to: rows follow the files, and what is on its
way would be missing from the verdict. One that ends in order is settled by the row of its end,
which its receiver writes after those of its objects; one whose receiver was killed, or had to drop
rows, by the next look through the spool (`rebuild.settle`).
"""

from __future__ import annotations

from collections.abc import Collection, Container, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa

from dicomnode.tracking.database import insert_missing
from dicomnode.tracking.schema import associations

HEARTBEAT_SECONDS = 5.0
HEARTBEAT_STALE_SECONDS = 20.0
RELEASED, LOST = "released", "lost"
_CHUNK = 400  # SQLite takes a bounded number of parameters per statement


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
                "is_settled": False,
            }
            for association in opened
        ],
    )


def close(
    c: sa.Connection, closed: Sequence[ClosedAssociation], incomplete: Container[str] = ()
) -> None:
    """Those named `incomplete` may have objects without rows: they stay unsettled.

    What their receiver says counts, also where they were given up for lost before.
    """
    for association in closed:
        c.execute(
            associations.update()
            .where(
                associations.c.id == association.id,
                sa.or_(associations.c.closed_at.is_(None), associations.c.outcome == LOST),
            )
            .values(
                closed_at=association.at,
                outcome=association.outcome,
                is_settled=association.id not in incomplete,
            )
        )


def heartbeat(
    c: sa.Connection, receiver_id: str, now: datetime, living: Collection[str] = ()
) -> None:
    """`living` are the ids of those that the receiver has open."""
    reopen(c, living)
    c.execute(
        associations.update()
        .where(associations.c.receiver_id == receiver_id, associations.c.closed_at.is_(None))
        .values(heartbeat_at=now)
    )


def reopen(c: sa.Connection, living: Collection[str]) -> None:
    """Those that were given up for lost, while their receiver still has them."""
    ids = sorted(living)
    for start in range(0, len(ids), _CHUNK):
        chunk = ids[start : start + _CHUNK]
        c.execute(
            associations.update()
            .where(associations.c.id.in_(chunk), associations.c.outcome == LOST)
            .values(closed_at=None, outcome="", is_settled=False)
        )


def is_open(now: datetime) -> sa.ColumnElement[bool]:
    """The condition on a row of `associations`."""
    alive_since = now - timedelta(seconds=HEARTBEAT_STALE_SECONDS)
    return sa.and_(associations.c.closed_at.is_(None), associations.c.heartbeat_at > alive_since)


def close_lost(c: sa.Connection, now: datetime, living: Collection[str] = ()) -> int:
    """Close those of receivers that were killed: no heartbeat, and none of the `living` ones."""
    result = c.execute(
        associations.update().where(_is_lost(now, living)).values(closed_at=now, outcome=LOST)
    )
    return result.rowcount


def ended_unsettled(c: sa.Connection, now: datetime, living: Collection[str] = ()) -> list[str]:
    """Ids of the associations that have ended, or whose receiver was killed, and wait."""
    ended = sa.or_(associations.c.closed_at.is_not(None), _is_lost(now, living))
    # Written as in the partial index, so that both databases use it.
    query = sa.select(associations.c.id).where(sa.text("NOT is_settled"), ended)
    return list(c.scalars(query))


def settle(c: sa.Connection, ids: Sequence[str]) -> None:
    """Every object confirmed to these has its row now."""
    for association_id in ids:
        c.execute(
            associations.update()
            .where(associations.c.id == association_id, associations.c.closed_at.is_not(None))
            .values(is_settled=True)
        )


def _is_lost(now: datetime, living: Collection[str]) -> sa.ColumnElement[bool]:
    return sa.and_(
        associations.c.closed_at.is_(None),
        sa.not_(is_open(now)),
        associations.c.receiver_id.not_in(list(living)),
    )
