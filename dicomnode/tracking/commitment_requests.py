"""What others asked the node by Storage Commitment, kept until they took the report."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa

from dicomnode.rates import address_key
from dicomnode.tracking.schema import commitment_requests

Instance = tuple[str, str]

# The process that was asked tries first, over the same association.
FIRST_PAUSE = timedelta(seconds=30)
_LONGEST_PAUSE = timedelta(minutes=15)
# Tries with these pauses between them, so about a day; counted, so that no clock can end it.
_MOST_FAILURES = 100
MOST_OF_ONE_PEER = 200
MOST_IN_ALL = 2000


@dataclass(frozen=True)
class CommitmentRequest:
    """`instances` are SOP Class and SOP Instance UIDs."""

    id: int
    transaction_uid: str
    calling_ae_title: str
    peer_address: str
    instances: tuple[Instance, ...]
    asked_at: datetime
    failures: int


def add(
    c: sa.Connection,
    transaction_uid: str,
    calling_ae_title: str,
    peer_address: str,
    instances: Sequence[Instance],
    now: datetime,
) -> CommitmentRequest | None:
    """None where the peer, or all of them, have to be told too much already; asked twice it is one
    request."""
    r = commitment_requests.c
    waiting = _waiting_by_peer(c)
    if waiting[address_key(peer_address)] >= MOST_OF_ONE_PEER or waiting.total() >= MOST_IN_ALL:
        return None
    same = (r.calling_ae_title == calling_ae_title, r.transaction_uid == transaction_uid)
    c.execute(commitment_requests.delete().where(*same))
    c.execute(
        commitment_requests.insert().values(
            transaction_uid=transaction_uid,
            calling_ae_title=calling_ae_title,
            peer_address=peer_address,
            instances=[list(each) for each in instances],
            asked_at=now,
            next_report_at=now + FIRST_PAUSE,
        )
    )
    return _request(c.execute(sa.select(commitment_requests).where(*same)).one())


def _waiting_by_peer(c: sa.Connection) -> Counter[str]:
    """By `rates.address_key`, so that no peer has many addresses."""
    peer = commitment_requests.c.peer_address
    waiting: Counter[str] = Counter()
    for address, count in c.execute(sa.select(peer, sa.func.count()).group_by(peer)).tuples():
        waiting[address_key(address)] += count
    return waiting


def due(c: sa.Connection, now: datetime, limit: int) -> list[CommitmentRequest]:
    """A time that is further away than any pause is of before the clock was set back."""
    at = commitment_requests.c.next_report_at
    query = sa.select(commitment_requests).where(sa.or_(at <= now, at > now + 2 * _LONGEST_PAUSE))
    rows = c.execute(query.order_by(at).limit(limit)).all()
    return [_request(row) for row in rows]


def claim(c: sa.Connection, request: CommitmentRequest, now: datetime) -> bool:
    """Whether the caller is the one who reports now; if it can't, the next pause is longer.

    A peer that took no report for a day is left alone: it may ask again.
    """
    r = commitment_requests.c
    ours = (r.id == request.id, r.failures == request.failures)
    if request.failures >= _MOST_FAILURES:
        c.execute(commitment_requests.delete().where(*ours))
        return False
    pause = min(FIRST_PAUSE * 2 ** min(request.failures, 10), _LONGEST_PAUSE)
    claimed = c.execute(
        commitment_requests.update()
        .where(*ours)
        .values(failures=request.failures + 1, next_report_at=now + pause)
    )
    return claimed.rowcount == 1


def report_soon(c: sa.Connection, request: CommitmentRequest, now: datetime) -> None:
    """It has hung up: there is nobody to wait for."""
    c.execute(
        commitment_requests.update()
        .where(commitment_requests.c.id == request.id)
        .values(next_report_at=now)
    )


def done(c: sa.Connection, request: CommitmentRequest) -> None:
    """It took the report."""
    c.execute(commitment_requests.delete().where(commitment_requests.c.id == request.id))


def forget(c: sa.Connection, sop_instance_uids: Collection[str]) -> None:
    """Nobody is told any more of these instances; a request for no other is gone."""
    r = commitment_requests.c
    for row in c.execute(sa.select(r.id, r.instances)).all():
        left = [each for each in row.instances if each[1] not in sop_instance_uids]
        if not left:
            c.execute(commitment_requests.delete().where(r.id == row.id))
        elif len(left) < len(row.instances):
            c.execute(commitment_requests.update().where(r.id == row.id).values(instances=left))


def _request(row: sa.Row[tuple[object, ...]]) -> CommitmentRequest:
    return CommitmentRequest(
        id=row.id,
        transaction_uid=row.transaction_uid,
        calling_ae_title=row.calling_ae_title,
        peer_address=row.peer_address,
        instances=tuple((sop_class, uid) for sop_class, uid in row.instances),
        asked_at=row.asked_at,
        failures=row.failures,
    )
