"""What destinations were asked by Storage Commitment, and what they reported.

Transaction UIDs are random, so nobody can report on a transaction that was not told of it.
"""

from __future__ import annotations

import uuid
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

import sqlalchemy as sa

from dicomnode.tracking.schema import commitments


class Commitment(StrEnum):
    ASKED = ""
    COMMITTED = "committed"
    FAILED = "failed"


@dataclass(frozen=True)
class Asked:
    transaction_uid: str
    asked_at: datetime
    outcome: Commitment


def ask(c: sa.Connection, delivery_id: int, sop_instance_uid: str, now: datetime) -> str:
    """A new transaction; returns its UID."""
    transaction_uid = f"2.25.{uuid.uuid4().int}"
    c.execute(
        commitments.insert().values(
            transaction_uid=transaction_uid,
            delivery_id=delivery_id,
            sop_instance_uid=sop_instance_uid,
            asked_at=now,
        )
    )
    return transaction_uid


def withdraw(c: sa.Connection, transaction_uid: str) -> None:
    """Nobody was asked after all; one that was reported on meanwhile stays."""
    t = commitments.c
    asked = (t.transaction_uid == transaction_uid, t.outcome == Commitment.ASKED.value)
    c.execute(commitments.delete().where(*asked))


def report(
    c: sa.Connection, transaction_uid: str, committed: Collection[str], failed: Collection[str]
) -> bool:
    """Note what was reported; False for a transaction that isn't ours.

    Named are SOP Instance UIDs. A report that names our instance nowhere says nothing of it.
    """
    t = commitments.c
    ours = c.scalar(sa.select(t.sop_instance_uid).where(t.transaction_uid == transaction_uid))
    if ours is None:
        return False
    if ours in failed or ours in committed:
        outcome = Commitment.FAILED if ours in failed else Commitment.COMMITTED
        c.execute(
            commitments.update()
            .where(t.transaction_uid == transaction_uid)
            .values(outcome=outcome.value)
        )
    return True


def end(c: sa.Connection, delivery_id: int) -> None:
    """It was sent anew: what was asked of it before says nothing any more, whatever the clocks
    say of before and after."""
    c.execute(commitments.delete().where(commitments.c.delivery_id == delivery_id))


def of_delivery(c: sa.Connection, delivery_id: int) -> list[Asked]:
    """What was asked since it was sent, oldest first."""
    t = commitments.c
    query = (
        sa.select(t.transaction_uid, t.asked_at, t.outcome)
        .where(t.delivery_id == delivery_id)
        .order_by(t.asked_at)
    )
    return [
        Asked(row.transaction_uid, row.asked_at, Commitment(row.outcome))
        for row in c.execute(query)
    ]
