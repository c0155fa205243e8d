"""`dicomnode forget`: a study leaves the node, and its jobs with it; the audit log stays."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from dbos import DBOSClient, WorkflowStatus

from dicomnode.config import Settings
from dicomnode.domain import Revision
from dicomnode.errors import DatabaseError, JobError, sentence
from dicomnode.jobs import lanes
from dicomnode.jobs.lanes import JobQueue, Stage
from dicomnode.jobs.stranded import begin_again
from dicomnode.tracking import forgetting
from dicomnode.tracking.database import Database
from dicomnode.tracking.forgetting import KnownStudy
from dicomnode.tracking.spool import Spool, short_name

if TYPE_CHECKING:
    from sqlalchemy import Connection

log = logging.getLogger("dicomnode.jobs")

_WAITING, _RUNNING = ("ENQUEUED", "DELAYED"), ("PENDING",)
_LOOK_SECONDS = 0.5
_MARKS = "worked-at"
# SQLite has one writer: who receives must not wait for long.
_FILES_AT_A_TIME = 200
_PREFIXES_AT_A_TIME = 100


def forget(
    settings: Settings,
    database: Database,
    study_instance_uid: str,
    *,
    account: str,
    why: str = "",
    wait_seconds: float = 600.0,
    tell: Callable[[str], None] = lambda _sentence: None,
) -> KnownStudy:
    """Remove files and rows; what was removed. May be repeated where it was interrupted.

    Jobs that wait are cancelled, one that runs is waited for. Raises `JobError` where it goes on
    for too long, where something else is still at the study or comes to it meanwhile, and where
    nothing is known of it.
    """
    lanes.migrate(database)
    queue = JobQueue(database)
    cancelled: set[str] = set()
    try:
        with database.read() as connection:
            known = _known(connection, study_instance_uid)
        try:
            _end_jobs(queue.client, database, known, wait_seconds, tell, cancelled)
            begun = _begin(settings, database, study_instance_uid, account, why)
        except JobError:  # it stays, and what was to be done of it, too
            for job_id in sorted(cancelled):
                begin_again(queue.client, database, job_id)
            raise
        known = _erase(settings, database, begun, account, why)
        # The engine's rows hold what an examination found.
        queue.client.delete_workflows([job.workflow_id for job in _jobs(queue.client, known)])
    finally:
        queue.close()
    return known


@contextmanager
def leaving_nothing_forgotten(
    settings: Settings, database: Database, revision: Revision
) -> Iterator[None]:
    """Around what makes files of a series: cancelled just as it began, a job runs on while the
    study is forgotten, and nobody else would find what it made.

    A mark says meanwhile that it is worked at; where this process dies, `discard_left` finds it.
    """
    uids = (revision.study_instance_uid, revision.series_instance_uid)
    mark = settings.results_folder / _MARKS / short_name(revision.series_instance_uid)
    mark.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    mark.write_text("\n".join(uids), encoding="ascii")
    try:
        yield
    finally:
        _discard(settings, database, mark, *uids)


def discard_left(settings: Settings, database: Database) -> None:
    """What jobs made of forgotten series whose process died, or had no database at its end."""
    for mark in (settings.results_folder / _MARKS).glob("*"):
        with suppress(FileNotFoundError):  # its job has ended meanwhile
            study, _, series = mark.read_text(encoding="ascii").partition("\n")
            if series:
                _discard(settings, database, mark, study, series, still=True)


def _discard(
    settings: Settings, database: Database, mark: Path, study: str, series: str, still: bool = False
) -> None:
    """Takes the mark away too, but for `still`: a job that may go on at a series that is here.

    An error costs no result that is to be recorded: the mark stays, and is looked at again.
    """
    try:
        with database.begin() as connection:
            gone = forgetting.discard_leftovers(connection, study, series, settings.results_folder)
        if gone or not still:
            mark.unlink(missing_ok=True)
    except (DatabaseError, OSError) as error:
        log.warning("not known whether a series was forgotten", extra={"reason": sentence(error)})


def _begin(
    settings: Settings, database: Database, study_instance_uid: str, account: str, why: str
) -> KnownStudy:
    """On record, and from now on nothing of it passes the gate."""
    with _holding(database, study_instance_uid) as (connection, begun):
        now, waiting = datetime.now(UTC), Spool(settings.waiting_folder)
        forgetting.note_begin(connection, begun, account, why, now)
        forgetting.discard_waiting(connection, begun, waiting, account, now)
    return begun


def _erase(
    settings: Settings, database: Database, begun: KnownStudy, account: str, why: str
) -> KnownStudy:
    spool, waiting = Spool(settings.spool_folder), Spool(settings.waiting_folder)
    study_instance_uid = begun.study_instance_uid
    for first in range(0, len(begun.objects), _FILES_AT_A_TIME):
        with _holding(database, study_instance_uid):
            for name in begun.objects[first : first + _FILES_AT_A_TIME]:
                spool.erase(name)
    with _holding(database, study_instance_uid) as (connection, known):
        forgetting.discard_waiting(connection, known, waiting, account, datetime.now(UTC))
        forgetting.erase_files(connection, known, spool, settings.results_folder)
        forgetting.erase_rows(connection, known, account, why, datetime.now(UTC))
    return replace(known, waiting=(*begun.waiting, *known.waiting))


@contextmanager
def _holding(
    database: Database, study_instance_uid: str
) -> Iterator[tuple[Connection, KnownStudy]]:
    """A transaction in which nothing comes to the study, and nothing was at it as it began.

    Whoever sends to it meanwhile waits for the end, and then the next one is refused.
    """
    with database.begin() as connection:
        forgetting.lock(connection, study_instance_uid)
        _require_nobody_at(connection, study_instance_uid)
        yield connection, forgetting.known_study(connection, study_instance_uid)


def _known(connection: Connection, study_instance_uid: str) -> KnownStudy:
    known = forgetting.known_study(connection, study_instance_uid)
    if known.is_unknown:
        raise JobError(f"nothing is known of a study {study_instance_uid}: nothing is removed")
    _require_nobody_at(connection, study_instance_uid)
    return known


def _require_nobody_at(connection: Connection, study_instance_uid: str) -> None:
    if why_not := forgetting.why_not(connection, study_instance_uid):
        raise JobError(f"study {study_instance_uid} can't be forgotten now: {why_not}")


def _end_jobs(
    client: DBOSClient,
    database: Database,
    known: KnownStudy,
    wait_seconds: float,
    tell: Callable[[str], None],
    cancelled: set[str],
) -> None:
    """Until none waits or runs; one that runs can't be interrupted. Notes which are `cancelled`."""
    deadline, told = time.monotonic() + wait_seconds, False
    while True:
        for job in _jobs(client, known, _WAITING):
            client.cancel_workflow(job.workflow_id)
            cancelled.add(job.workflow_id)
        running = _jobs(client, known, _RUNNING)
        with database.read() as connection:  # what ended may have queued deliveries
            known = _known(connection, known.study_instance_uid)
        if not running and not _jobs(client, known, _WAITING):
            return
        if not told:
            tell("a job of the study runs: its end is waited for")
            told = True
        if time.monotonic() > deadline:
            raise JobError(
                f"job {running[0].workflow_id if running else 'of the study'} goes on: wait for "
                "its end; if no worker runs, start one or cancel the job (dicomnode jobs cancel)"
            )
        time.sleep(_LOOK_SECONDS)


def _jobs(
    client: DBOSClient, known: KnownStudy, states: Iterable[str] | None = None
) -> list[WorkflowStatus]:
    """Of its series, of its deliveries and of its copies without faces; many at a time, since the
    engine reads through its table to find some."""
    prefixes = [f"{Stage.EXAMINE}:{uid}:" for uid in known.series]
    prefixes += [f"{Stage.DELIVER}:{key}:" for key in known.deliveries]
    prefixes.append(f"{Stage.DEFACE}:{known.study_instance_uid}:")
    return [
        job
        for first in range(0, len(prefixes), _PREFIXES_AT_A_TIME)
        for job in client.list_workflows(
            workflow_id_prefix=prefixes[first : first + _PREFIXES_AT_A_TIME],
            status=None if states is None else list(states),
            load_input=False,
            load_output=False,
        )
    ]
