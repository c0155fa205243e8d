"""`dicomnode reexamine`: what another version examined is examined again, behind all new series.

A change of software, networks, rules or thresholds only marks verdicts; the gate holds meanwhile.
When the machine has the time for it is a person's decision. The old result stays until the new one
supersedes it. Jobs are queued page by page, so whoever is interrupted runs the command again.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass

from dicomnode.domain import WantedDigest
from dicomnode.errors import JobError
from dicomnode.jobs import lanes
from dicomnode.jobs.lanes import OPEN, JobQueue, Stage, reexamination_id
from dicomnode.tracking import outdated
from dicomnode.tracking.database import Database
from dicomnode.tracking.outdated import Examined

_AT_ONCE = 100
_ID_PARTS = 4  # of `reexamination_id`; behind them stands what tells one more from the first


@dataclass(frozen=True)
class Wish:
    """Which series: of one study, one series, or all; with `everything` what is up to date too.

    At most `limit` are queued; `dry_run` queues none, and counts those it would.
    """

    study: str = ""
    series: str = ""
    everything: bool = False
    limit: int | None = None
    dry_run: bool = False


@dataclass(frozen=True)
class Requeued:
    """How many series were queued now, how many had a job already, and how many are left.

    `removed`: retention took files of them away, so they have to be sent again first.
    """

    queued: int
    waiting: int
    left: int
    removed: int = 0


def reexamine(database: Database, wanted: WantedDigest, wish: Wish) -> Requeued:
    """Raises `JobError` where a wish names what was never examined here."""
    lanes.migrate(database)
    queue = JobQueue(database)
    try:
        return _requeue(database, queue, wanted, wish)
    finally:
        queue.close()


def _requeue(database: Database, queue: JobQueue, wanted: WantedDigest, wish: Wish) -> Requeued:
    open_jobs = _open_jobs(queue)
    seen = queued = waiting = left = removed = 0
    for page in _pages(database, wish):
        seen += len(page)
        meant = [one for one in page if wish.everything or one.is_outdated(wanted)]
        here = [one for one in meant if one.removed_at is None]
        due = [one for one in here if reexamination_id(one) not in open_jobs]
        room = len(due) if wish.limit is None else max(0, wish.limit - queued)
        now = due[:room]
        if not wish.dry_run:
            _enqueue(database, queue, now)
        queued += len(now)
        waiting += len(here) - len(due)
        removed += len(meant) - len(here)
        left += len(due) - len(now)
    if not seen and (wish.study or wish.series):
        raise JobError("no series of that UID was examined here: nothing is queued")
    return Requeued(queued, waiting, left, removed)


def _open_jobs(queue: JobQueue) -> set[str]:
    """The ids of those that wait, run, or were set aside for a person."""
    found = queue.client.list_workflows(
        name=Stage.EXAMINE.value, status=list(OPEN), load_input=False, load_output=False
    )
    return {":".join(job.workflow_id.split(":")[:_ID_PARTS]) for job in found}


def _pages(database: Database, wish: Wish) -> Iterator[list[Examined]]:
    after = 0
    while True:
        with database.read() as connection:
            page = outdated.examined_now(
                connection, after, study=wish.study, series_uid=wish.series
            )
        if not page:
            return
        yield page
        after = page[-1].examination_id


def _enqueue(database: Database, queue: JobQueue, due: list[Examined]) -> None:
    """In small transactions: the receiver writes into the same database."""
    for first in range(0, len(due), _AT_ONCE):
        with database.begin() as connection:
            known = [
                examined
                for examined in due[first : first + _AT_ONCE]
                if not queue.enqueue_reexamination(connection, examined)
            ]
        if known:
            _enqueue_once_more(database, queue, known)


def _enqueue_once_more(database: Database, queue: JobQueue, known: list[Examined]) -> None:
    """A job that has ended and replaced nothing was cancelled, or is of a lost database."""
    open_jobs = _open_jobs(queue)  # another process may have queued them just now
    with database.begin() as connection:
        for examined in known:
            if reexamination_id(examined) not in open_jobs:
                queue.enqueue_reexamination(connection, examined, f":{time.time_ns()}")
