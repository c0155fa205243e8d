"""Copies without faces as jobs: what stands in their rows, whichever job of the engine works."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dbos import DBOSClient

from dicomnode.domain import CopyState
from dicomnode.errors import JobError
from dicomnode.jobs.job import Job, JobState
from dicomnode.jobs.lanes import Stage
from dicomnode.tracking import study_copies
from dicomnode.tracking.database import Database
from dicomnode.tracking.study_copies import StudyCopy

if TYPE_CHECKING:
    from sqlalchemy import Connection

_STATES = {
    CopyState.ASKED: JobState.WAITING,
    CopyState.QUEUED: JobState.WAITING,
    CopyState.RUNNING: JobState.RUNNING,
    CopyState.DONE: JobState.DONE,
    CopyState.FAILED: JobState.FAILED,
    CopyState.CANCELLED: JobState.CANCELLED,
}


def job_id(copy: StudyCopy) -> str:
    return f"{Stage.DEFACE}:{copy.id}"


def list_jobs(database: Database, everything: bool) -> list[Job]:
    with database.read() as connection:
        found = study_copies.listed(connection, everything=everything)
    return [_job(copy) for copy in found]


def retry(database: Database, copy_id: int) -> None:
    """Raises `JobError` where it hasn't ended, or went well."""
    with database.begin() as connection:
        copy = _load(connection, copy_id)
        if copy.state not in (CopyState.FAILED, CopyState.CANCELLED):
            raise JobError(f"job {job_id(copy)} can't be retried: it is {_STATES[copy.state]}")
        study_copies.ask_again(connection, copy)


def cancel(client: DBOSClient, database: Database, copy_id: int) -> None:
    """Raises `JobError` where it has ended."""
    with database.begin() as connection:
        copy = _load(connection, copy_id)
        sentence = f"cancelled by a person; `dicomnode jobs retry {job_id(copy)}` takes it up again"
        if not study_copies.set_state(connection, copy_id, CopyState.CANCELLED, sentence=sentence):
            raise JobError(f"job {job_id(copy)} has ended; there is nothing to cancel")
    if copy.job_id:
        client.cancel_workflow(copy.job_id)


def _load(connection: Connection, copy_id: int) -> StudyCopy:
    try:
        return study_copies.load(connection, copy_id)
    except LookupError:
        raise JobError(
            f"there is no job {Stage.DEFACE}:{copy_id}; `dicomnode jobs list` shows them"
        ) from None


def _job(copy: StudyCopy) -> Job:
    return Job(
        id=job_id(copy),
        stage=Stage.DEFACE,
        subject=f"study {copy.study_instance_uid} to {copy.copy_study_instance_uid}",
        state=_STATES[copy.state],
        attempts=1 if copy.job_id else 0,
        created_at=copy.created_at,
        error=copy.sentence,
    )
