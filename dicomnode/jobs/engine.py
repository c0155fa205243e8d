"""Jobs as people see them: list, retry, cancel; from any process, worker or not."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from dbos import DBOSClient, WorkflowStatus

from dicomnode.domain import OPEN_DELIVERIES, DeliveryState
from dicomnode.errors import JobError
from dicomnode.jobs import copy_jobs, lanes
from dicomnode.jobs.attempts import attempt_order, first_attempt
from dicomnode.jobs.job import Job as Job
from dicomnode.jobs.job import JobState as JobState
from dicomnode.jobs.lanes import (
    OPEN,
    WORKFLOW_VERSION,
    Examining,
    JobQueue,
    Lane,
    Stage,
)
from dicomnode.jobs.set_aside import record_not_examined, set_aside_sentence
from dicomnode.tracking import circuits, deliveries, parked, retention, series
from dicomnode.tracking.circuits import Circuit
from dicomnode.tracking.database import Database

if TYPE_CHECKING:
    from sqlalchemy import Connection

# The engine's words and ours, all of them.
_STATES = {
    "ENQUEUED": JobState.WAITING,
    "DELAYED": JobState.WAITING_TO_RETRY,
    "PENDING": JobState.RUNNING,
    "SUCCESS": JobState.DONE,
    "ERROR": JobState.FAILED,
    "MAX_RECOVERY_ATTEMPTS_EXCEEDED": JobState.SET_ASIDE,
    "CANCELLED": JobState.CANCELLED,
}
_ACTIVE = (JobState.WAITING, JobState.RUNNING, JobState.WAITING_TO_RETRY)
_MOST_DELIVERIES = 100_000
# How a delivery that has ended is shown; one that has not stands where its attempt stands.
_ENDED_DELIVERIES = {
    DeliveryState.DELIVERED: JobState.DONE,
    DeliveryState.REFUSED: JobState.FAILED,
    DeliveryState.CANCELLED: JobState.CANCELLED,
}


def list_jobs(database: Database, *, everything: bool = False) -> list[Job]:
    """Jobs that wait, run or need a person, oldest first; with `everything` the done ones too."""
    with _queue(database) as queue:
        jobs = _examinations(queue.client, database, everything)
        jobs += _deliveries(queue.client, database, everything)
        jobs += copy_jobs.list_jobs(database, everything)
    return sorted(jobs, key=lambda job: job.created_at)


def retry(database: Database, job_id: str) -> None:
    """Run a job again now: one that failed, was set aside or cancelled, or waits to try again.

    Raises `JobError` for an unknown id and for a job that waits for its turn or runs already.
    """
    stage, key = _parse(job_id)
    with _queue(database) as queue:
        if stage is Stage.DELIVER:
            _retry_delivery(queue, database, int(key))
        elif stage is Stage.DEFACE:
            copy_jobs.retry(database, int(key))
        else:
            _retry_examination(queue.client, database, job_id)


def cancel(database: Database, job_id: str) -> None:
    """Take a job out; a step that runs is not interrupted, but nothing follows it.

    Raises `JobError` for an unknown id and for a job that has ended.
    """
    stage, key = _parse(job_id)
    with _queue(database) as queue:
        if stage is Stage.DELIVER:
            _cancel_delivery(queue.client, database, int(key))
            return
        if stage is Stage.DEFACE:
            copy_jobs.cancel(queue.client, database, int(key))
            return
        status = _find(queue.client, job_id)
        job = _examination(status)
        if job.state not in _ACTIVE:
            raise JobError(f"job {job_id} has ended ({job.state}); there is nothing to cancel")
        queue.client.cancel_workflow(job_id)
    sentence = f"cancelled by a person; `dicomnode jobs retry {job_id}` takes it up again"
    record_not_examined(database, _revision_id(status), sentence)


@contextmanager
def _queue(database: Database) -> Iterator[JobQueue]:
    lanes.migrate(database)  # a node that has never worked has no jobs yet, and no tables for them
    queue = JobQueue(database)
    try:
        yield queue
    finally:
        queue.close()


def _parse(job_id: str) -> tuple[Stage, str]:
    stage, _, key = job_id.partition(":")
    if stage == Stage.EXAMINE and key:
        return Stage.EXAMINE, key
    if stage in (Stage.DELIVER, Stage.DEFACE) and key.isdecimal():
        return Stage(stage), key
    raise JobError(f"{job_id} is no job id; `dicomnode jobs list` shows them")


def _find(client: DBOSClient, workflow_id: str) -> WorkflowStatus:
    found = client.list_workflows(workflow_ids=[workflow_id])
    if not found:
        raise JobError(f"there is no job {workflow_id}; `dicomnode jobs list` shows them")
    return found[0]


def _examinations(client: DBOSClient, database: Database, everything: bool) -> list[Job]:
    """Without `everything`, a failure that a newer revision has overtaken is left out too."""
    status = None if everything else list(OPEN)
    found = client.list_workflows(name=Stage.EXAMINE.value, status=status)
    if everything:
        return [_examination(status) for status in found]
    with database.read() as connection:
        return [
            _examination(status)
            for status in found
            if series.is_current(connection, _revision_id(status))
        ]


def _revision_id(status: WorkflowStatus) -> int:
    assert status.input is not None
    return int(status.input["args"][0])


def _examination(status: WorkflowStatus) -> Job:
    state = _STATES[status.status]
    waits = state is JobState.WAITING_TO_RETRY
    return Job(
        id=status.workflow_id,
        stage=Stage.EXAMINE,
        subject=status.workflow_id.split(":")[1],
        state=state,
        attempts=status.recovery_attempts or 0,
        created_at=_time(status.created_at) or datetime.now(UTC),
        next_attempt_at=_time(status.delay_until_epoch_ms) if waits else None,
        error=_error(status),
    )


def _error(status: WorkflowStatus) -> str:
    if _STATES[status.status] is JobState.SET_ASIDE:
        return set_aside_sentence(status)
    if status.error is not None:
        return str(status.error)
    arguments = status.input["args"] if status.input is not None else ()
    is_examination = status.name == Stage.EXAMINE
    return Examining(*arguments).reason if is_examination else ""


def _deliveries(client: DBOSClient, database: Database, everything: bool) -> list[Job]:
    attempts = _newest_attempts(client)
    states = tuple(DeliveryState) if everything else (*OPEN_DELIVERIES, DeliveryState.REFUSED)
    with database.read() as connection:
        rows = deliveries.list_(connection, states, limit=_MOST_DELIVERIES)
        away = circuits.open_ones(connection)
    return [_delivery(row, attempts.get(row.id), away.get(row.destination)) for row in rows]


def _delivery(
    row: deliveries.Delivery, attempt: WorkflowStatus | None, circuit: Circuit | None
) -> Job:
    state = _ENDED_DELIVERIES.get(row.state, JobState.WAITING)
    error = row.last_error
    is_open = row.state in OPEN_DELIVERIES
    if is_open and attempt is None and circuit is not None:
        state = JobState.WAITING_FOR_PEER
        error = circuit.last_error
    if is_open and attempt is not None:
        state = _STATES[attempt.status]
        error = _error(attempt) or error
    return Job(
        id=f"{Stage.DELIVER}:{row.id}",
        stage=Stage.DELIVER,
        subject=f"SEG of {row.examined_series_instance_uid} to {row.destination}",
        state=state,
        attempts=row.attempts,
        created_at=row.created_at,
        next_attempt_at=row.next_attempt_at if state is JobState.WAITING_TO_RETRY else None,
        error=error,
    )


def _newest_attempts(client: DBOSClient) -> dict[int, WorkflowStatus]:
    """By delivery: the attempt that counts, where the engine has one that did not end well."""
    found = client.list_workflows(name=Stage.DELIVER.value, status=list(OPEN), load_input=False)
    ordered = sorted(found, key=_age)
    return {attempt_order(status.workflow_id)[0]: status for status in ordered}


def _age(status: WorkflowStatus) -> tuple[int, int, int]:
    return attempt_order(status.workflow_id)


def _attempts(client: DBOSClient, delivery_id: int) -> list[WorkflowStatus]:
    """Of one delivery, first to newest; those that were done long ago are no more."""
    found = client.list_workflows(
        workflow_id_prefix=f"{Stage.DELIVER}:{delivery_id}:", load_input=False, load_output=False
    )
    return sorted(found, key=_age)


def _retry_examination(client: DBOSClient, database: Database, job_id: str) -> None:
    status = _find(client, job_id)
    state = _examination(status).state
    if state is JobState.WAITING_TO_RETRY:
        client.set_workflow_delay(job_id, delay_seconds=0)
        return
    if state in _ACTIVE:
        raise JobError(f"job {job_id} is not at its end: it is {state}")
    with database.read() as connection:
        removed_at = series.removed_at(connection, _revision_id(status))
    if removed_at is not None:
        raise JobError(f"job {job_id}: its {retention.sentence(removed_at)}")
    client.rewind_workflow(job_id, application_version=WORKFLOW_VERSION, queue_name=Lane.GPU.value)


def _retry_delivery(queue: JobQueue, database: Database, key: int) -> None:
    with database.begin() as connection:
        destination = _destination(connection, key)
        circuits.probe_soon(connection, destination, datetime.now(UTC))
        if parked.is_parked(connection, key):  # the first that goes is the one that waits longest
            return
    newest = next(reversed(_attempts(queue.client, key)), None)
    state = None if newest is None else _STATES[newest.status]
    if newest is not None and state is JobState.WAITING_TO_RETRY:
        queue.client.set_workflow_delay(newest.workflow_id, delay_seconds=0)
        return
    if state in _ACTIVE:
        raise JobError(f"job {Stage.DELIVER}:{key} is not at its end: it is {state}")
    with database.begin() as connection:
        if deliveries.load(connection, key).state is DeliveryState.DELIVERED:
            raise JobError(f"job {Stage.DELIVER}:{key} is done: it was delivered")
        deliveries.retry(connection, key)
        after = "" if newest is None else newest.workflow_id
        queue.enqueue_delivery(connection, first_attempt(key, after))


def _cancel_delivery(client: DBOSClient, database: Database, key: int) -> None:
    attempts = _attempts(client, key)
    with database.begin() as connection:
        _destination(connection, key)
        if not deliveries.cancel(connection, key):
            raise JobError(f"job {Stage.DELIVER}:{key} has ended; there is nothing to cancel")
    for attempt in attempts:
        if _STATES[attempt.status] in _ACTIVE:
            client.cancel_workflow(attempt.workflow_id)


def _destination(connection: Connection, delivery_id: int) -> str:
    if not (found := deliveries.destination_of(connection, delivery_id)):
        raise JobError(f"there is no job deliver:{delivery_id}; `dicomnode jobs list` shows them")
    return found


def _time(epoch_ms: int | None) -> datetime | None:
    return None if epoch_ms is None else datetime.fromtimestamp(epoch_ms / 1000, UTC)
