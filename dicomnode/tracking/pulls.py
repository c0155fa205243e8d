"""Studies to fetch: a row before the first request, and what came of it.

Nothing but UIDs, counts and sentences; what a query matched by is kept nowhere.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

import sqlalchemy as sa

from dicomnode.tracking import audit
from dicomnode.tracking.database import insert_missing
from dicomnode.tracking.schema import instances, pulls, series

_CHUNK = 400  # SQLite takes a bounded number of parameters per statement


class PullState(StrEnum):
    """A pull in flight is still pending: a process that dies leaves nothing to be mended."""

    DONE = "done"
    FAILED = "failed"
    PENDING = "pending"


@dataclass(frozen=True)
class Pull:
    """One study from one source; `attempts` counts those that were begun."""

    id: int
    source: str
    study_instance_uid: str
    state: PullState
    attempts: int
    expected_instances: int
    received_instances: int
    last_error: str
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True)
class PullSummary:
    """How the studies of one run stand.

    Of all from this source, `given_up` counts those that a person has to look at, and `unfinished`
    those that `--resume` would go on with.
    """

    source: str
    studies: tuple[Pull, ...]
    given_up: int
    unfinished: int

    @property
    def counts(self) -> Mapping[PullState, int]:
        return {state: sum(p.state is state for p in self.studies) for state in PullState}

    @property
    def is_complete(self) -> bool:
        return self.counts[PullState.DONE] == len(self.studies)


def ask(
    c: sa.Connection, source: str, study_uids: Sequence[str], now: datetime | None = None
) -> None:
    """Put the studies on the list; one that is there already is asked for again."""
    at = now or datetime.now(UTC)
    fresh = {"state": PullState.PENDING.value, "attempts": 0, "last_error": "", "updated_at": at}
    for uids in _chunks(list(dict.fromkeys(study_uids))):
        c.execute(pulls.update().where(_named(source, uids)).values(fresh))
        rows = [
            {"source": source, "study_instance_uid": uid, "created_at": at} | fresh for uid in uids
        ]
        insert_missing(c, pulls, rows)


def forget(c: sa.Connection, source: str, study_uids: Sequence[str]) -> int:
    """Take the studies off this source's list; how many were on it. The gate waits for them no
    longer, so somebody has to answer for it."""
    found = named(c, source, study_uids)
    for uids in _chunks([pull.study_instance_uid for pull in found]):
        c.execute(pulls.delete().where(_named(source, uids)))
    for pull in found:
        detail = {"source": source, "state": pull.state.value}
        audit.append(c, "pull forgotten", pull.study_instance_uid, detail)
    return len(found)


def named(c: sa.Connection, source: str, study_uids: Sequence[str]) -> list[Pull]:
    """The pulls of these studies, in the order in which they were asked for."""
    found: list[Pull] = []
    for uids in _chunks(list(dict.fromkeys(study_uids))):
        found += map(_pull, c.execute(sa.select(pulls).where(_named(source, uids))))
    return sorted(found, key=lambda pull: pull.id)


def unfinished(c: sa.Connection, source: str, attempts: int) -> list[Pull]:
    """What is pending, or failed fewer than `attempts` times: what `--resume` goes on with."""
    again = sa.and_(pulls.c.state == PullState.FAILED.value, pulls.c.attempts < attempts)
    waits = sa.or_(pulls.c.state == PullState.PENDING.value, again)
    query = sa.select(pulls).where(pulls.c.source == source, waits).order_by(pulls.c.id)
    return [_pull(row) for row in c.execute(query)]


def given_up(c: sa.Connection, source: str, attempts: int) -> int:
    """How many failed `attempts` times or more: a person has to look at them."""
    query = sa.select(sa.func.count()).where(
        pulls.c.source == source,
        pulls.c.state == PullState.FAILED.value,
        pulls.c.attempts >= attempts,
    )
    return int(c.execute(query).scalar_one())


def begin(c: sa.Connection, pull_id: int, now: datetime | None = None) -> None:
    """Count an attempt, before its first request."""
    _set(c, pull_id, now, attempts=pulls.c.attempts + 1, state=PullState.PENDING.value)


def postpone(c: sa.Connection, pull_id: int, error: str, now: datetime | None = None) -> None:
    """It stays pending, through no fault of the study's: the attempt is given back."""
    _set(c, pull_id, now, attempts=pulls.c.attempts - 1, last_error=error)


def mark_done(
    c: sa.Connection, pull_id: int, expected: int, received: int, now: datetime | None = None
) -> None:
    counts = {"expected_instances": expected, "received_instances": received}
    _set(c, pull_id, now, state=PullState.DONE.value, last_error="", **counts)


def mark_failed(
    c: sa.Connection,
    pull_id: int,
    expected: int,
    received: int,
    error: str,
    now: datetime | None = None,
) -> None:
    counts = {"expected_instances": expected, "received_instances": received}
    _set(c, pull_id, now, state=PullState.FAILED.value, last_error=error, **counts)


def received_instances(c: sa.Connection, study_uid: str) -> Mapping[str, frozenset[str]]:
    """SOP Instance UIDs that have their rows, by Series Instance UID."""
    query = (
        sa.select(series.c.series_instance_uid, instances.c.sop_instance_uid)
        .join(series, series.c.id == instances.c.series_id)
        .where(series.c.study_instance_uid == study_uid)
    )
    found: dict[str, set[str]] = {}
    for series_uid, instance_uid in c.execute(query):
        found.setdefault(series_uid, set()).add(instance_uid)
    return {uid: frozenset(members) for uid, members in found.items()}


def _set(c: sa.Connection, pull_id: int, now: datetime | None, **values: Any) -> None:
    at = now or datetime.now(UTC)
    c.execute(pulls.update().where(pulls.c.id == pull_id).values(updated_at=at, **values))


def _named(source: str, study_uids: Sequence[str]) -> sa.ColumnElement[bool]:
    return sa.and_(pulls.c.source == source, pulls.c.study_instance_uid.in_(study_uids))


def _chunks(uids: Sequence[str]) -> Iterator[Sequence[str]]:
    return (uids[start : start + _CHUNK] for start in range(0, len(uids), _CHUNK))


def _pull(row: sa.Row[Any]) -> Pull:
    return Pull(**(dict(row._mapping) | {"state": PullState(row.state)}))
