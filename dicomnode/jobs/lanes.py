"""The durable engine (DBOS Transact): its lanes, its configuration, and the way into it.

Everything here follows from measurements that stand in docs/decisions.md: a lane for each scarce
thing, one workflow per stage, ids that are idempotency keys, a priority always, a version fixed by
hand. Engine and tracking tables share one database, so a row and its job are one transaction.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import astuple, dataclass
from enum import IntEnum, StrEnum
from typing import TYPE_CHECKING

import sqlalchemy as sa
from dbos import (
    DBOS,
    DBOSClient,
    DBOSConfig,
    DBOSPortableJSONSerializer,
    EnqueueOptions,
    SQLAlchemyDatasource,
)
from dbos import error as engine_error

from dicomnode.config import JobSettings, Settings
from dicomnode.delivery.destinations import SENDER
from dicomnode.domain import Revision
from dicomnode.jobs.attempts import Attempt
from dicomnode.tracking import deliveries
from dicomnode.tracking.database import Database
from dicomnode.tracking.outdated import Examined
from dicomnode.tracking.study_copies import StudyCopy

if TYPE_CHECKING:
    from sqlalchemy import Connection

APPLICATION = "dicomnode"
WORKFLOW_VERSION = "1"
"""Changed when the shape of a workflow changes, after its lanes were drained: a job in flight is
only taken up by the version that began it."""

DRAIN_SECONDS = 5
LONGEST_PAUSE_SECONDS = 900.0


_ENGINE_SCHEMA, _BY_STATE = "dbos", "dicomnode_workflow_status"

# Parts of the ids of examinations.
_REEXAMINED = ":again-"
_AGAIN = ":try-"


class Stage(StrEnum):
    """One workflow each; the value begins every job id."""

    EXAMINE = "examine"
    DELIVER = "deliver"
    DEFACE = "deface"


class Lane(StrEnum):
    """A queue for each thing that is scarce. "deliver", of an earlier version, stands in a database
    that it worked with, and the engine empties it."""

    GPU = "gpu"
    DELIVER = "deliveries"


# What the engine calls jobs that are not done with: waiting, running, failed or set aside.
OPEN = ("ENQUEUED", "DELAYED", "PENDING", "ERROR", "MAX_RECOVERY_ATTEMPTS_EXCEEDED")


class Priority(IntEnum):
    """Lower runs first. A job without one would run before STAT, so every job has one."""

    STAT = 1
    ROUTINE = 100
    BATCH = 1000


@dataclass(frozen=True)
class Examining:
    """One try of an examination, with why there is another one after the first.

    `deaths` counts the examining processes that crashed or hung over it; `number` counts tries, of
    which some only found that there was no memory.
    """

    revision_id: int
    number: int = 1
    deaths: int = 0
    reason: str = ""

    def next(self, reason: str, *, died: bool) -> Examining:
        return Examining(self.revision_id, self.number + 1, self.deaths + died, reason)

    @property
    def postponements(self) -> int:
        """How many of the tries before this one could not begin."""
        return self.number - 1 - self.deaths

    def pause_seconds(self, first_seconds: float) -> float:
        """Before this try: doubles with each, up to `LONGEST_PAUSE_SECONDS`."""
        return pause_seconds(self.number, first_seconds)


def pause_seconds(number: int, first_seconds: float) -> float:
    """Before the try of that number, which is no first one."""
    doublings = min(number - 2, 20)
    return min(first_seconds * 2.0**doublings, LONGEST_PAUSE_SECONDS)


def migrate(database: Database) -> None:
    """Create the engine's tables, or bring them to this engine's version."""
    _quiet_the_engine()
    DBOS.migrate(_url(database))
    SQLAlchemyDatasource.migrate(_url(database))
    _index_jobs(database)


def _index_jobs(database: Database) -> None:
    """The engine finds jobs by their state by reading all that there ever were (3.4, SQLite), and
    the worker asks every two seconds."""
    schema = None if database.is_sqlite else _ENGINE_SCHEMA
    known = sa.inspect(database.engine).get_indexes("workflow_status", schema)
    if _BY_STATE in (index["name"] for index in known):
        return
    table = "workflow_status" if schema is None else f"{schema}.workflow_status"
    with database.begin() as connection:
        connection.execute(
            sa.text(f"CREATE INDEX IF NOT EXISTS {_BY_STATE} ON {table} (status, created_at)")
        )


class JobQueue:
    """Puts jobs into the lanes from any process; runs none."""

    def __init__(self, database: Database) -> None:
        _quiet_the_engine()
        self.client = DBOSClient(
            system_database_engine=database.engine,
            serializer=DBOSPortableJSONSerializer(),
            application_name=APPLICATION,
            retry_connection_errors=False,
            lazy=True,
        )

    def enqueue_examination(self, connection: Connection, revision: Revision) -> str:
        """Within the caller's transaction, for a revision that is new in it; returns the job's id.

        An id that is in use is left from a tracking database that was lost and built again from
        the spool: what that job found is gone with it, so there has to be another one.
        """
        options = _options(Stage.EXAMINE, Lane.GPU, examination_id(revision), Priority.ROUTINE)
        try:
            return self._enqueue_new(connection, options, revision.id)
        except engine_error.DBOSWorkflowIDInUseError:
            options["workflow_id"] += f":{time.time_ns()}"
            return self._enqueue_new(connection, options, revision.id)

    def enqueue_reexamination(
        self, connection: Connection, examined: Examined, suffix: str = ""
    ) -> bool:
        """Behind all new series, within the caller's transaction; False where there is that job."""
        job_id = reexamination_id(examined) + suffix
        options = _options(Stage.EXAMINE, Lane.GPU, job_id, Priority.BATCH)
        try:
            self._enqueue_new(connection, options, examined.revision_id)
        except engine_error.DBOSWorkflowIDInUseError:
            return False
        return True

    def enqueue_again(
        self, connection: Connection, job_id: str, again: Examining, pause_seconds: float
    ) -> str:
        """Another try behind all that waits, after the one that was `job_id`; returns its id."""
        first, _, _ = job_id.partition(_AGAIN)
        priority = Priority.BATCH if _REEXAMINED in first else Priority.ROUTINE
        next_id = f"{first}{_AGAIN}{again.number}-{time.time_ns()}"
        options = _options(Stage.EXAMINE, Lane.GPU, next_id, priority)
        options["delay_seconds"] = pause_seconds
        self.client.enqueue_in_transaction(connection, options, *astuple(again))
        return next_id

    def _enqueue_new(
        self, connection: Connection, options: EnqueueOptions, revision_id: int
    ) -> str:
        """Raises `DBOSWorkflowIDInUseError` where there was a job of that id."""
        options["workflow_id_reuse_policy"] = "reject"
        self.client.enqueue_in_transaction(connection, options, revision_id)
        return options["workflow_id"]

    def enqueue_delivery(self, connection: Connection, attempt: Attempt) -> str:
        """Within the caller's transaction; the same attempt again is the same job."""
        options = _options(Stage.DELIVER, Lane.DELIVER, attempt.job_id, Priority.ROUTINE)
        destination = deliveries.destination_of(connection, attempt.delivery_id)
        options["queue_partition_key"] = share_of(destination)
        if attempt.delay_seconds > 0:
            options["delay_seconds"] = attempt.wait_seconds
        self.client.enqueue_in_transaction(connection, options, *astuple(attempt))
        return attempt.job_id

    def enqueue_copy(
        self, connection: Connection, copy: StudyCopy, number: int = 1, delay_seconds: float = 0.0
    ) -> str:
        """Within the caller's transaction, which notes that it is queued; another id each time.

        `number` counts tries, of which those before could not begin. What a policy asks for waits
        until no new series does, a person doesn't.
        """
        job_id = f"{Stage.DEFACE}:{copy.study_instance_uid}:{copy.id}:{time.time_ns()}"
        priority = Priority.BATCH if copy.is_automatic else Priority.ROUTINE
        options = _options(Stage.DEFACE, Lane.GPU, job_id, priority)
        if delay_seconds > 0:
            options["delay_seconds"] = delay_seconds
        self.client.enqueue_in_transaction(connection, options, copy.id, number)
        return job_id

    def close(self) -> None:
        self.client.destroy()


def examination_id(revision: Revision) -> str:
    """The idempotency key: stage, series, and what it holds."""
    return ":".join((Stage.EXAMINE, revision.series_instance_uid, revision.digest[:16]))


def reexamination_id(examined: Examined) -> str:
    """The same with the examination that is to be replaced."""
    series, digest = examined.series_instance_uid, examined.revision_digest[:16]
    return f"{Stage.EXAMINE}:{series}:{digest}{_REEXAMINED}{examined.examination_id}"


@contextmanager
def running(settings: Settings) -> Iterator[None]:
    """The engine at work in this process; its workflows have to be registered before.

    At the end nothing new is started, and what runs gets `DRAIN_SECONDS` to end. A job of which
    only the last record is missing has to get them too: left behind, its thread would ask for its
    database again and again, for as long as the process lives.
    """
    DBOS.launch()
    try:
        _register_lane(Lane.GPU, 1, settings.jobs)
        share_slots(settings.jobs, settings)
        yield
    finally:
        DBOS.destroy(destroy_registry=True, workflow_completion_timeout_sec=DRAIN_SECONDS)


def share_slots(jobs: JobSettings, settings: Settings) -> None:
    """Each destination has slots of its own, all senders together as many as one: however slow one
    is, the others are not. With more destinations than slots there is one for each."""
    sharing = max(1, len(settings.destinations) + settings.delivery.return_to_sender)
    slots = max(jobs.deliver_slots, sharing)
    _register_lane(Lane.DELIVER, slots, jobs, share=slots // sharing)


def share_of(destination: str) -> str:
    """All senders have one share: nobody knows how many there are."""
    return SENDER if destination.startswith(SENDER) else destination


def _register_lane(lane: Lane, slots: int, jobs: JobSettings, share: int | None = None) -> None:
    DBOS.register_queue(
        lane.value,
        worker_concurrency=slots,
        partition_worker_concurrency=share,
        polling_interval_sec=jobs.poll_seconds,
        on_conflict="always_update",
    )


def configure(database: Database, executor_id: str) -> SQLAlchemyDatasource:
    """Make the engine's instance of this process; nothing runs before `running`.

    The engine gets connections of its own: it reads while our transactions hold the write lock.
    Returned is the way into the tracking database whose transactions happen exactly once.
    """
    _quiet_the_engine()
    config: DBOSConfig = {
        "name": APPLICATION,
        "system_database_url": _url(database),
        "application_version": WORKFLOW_VERSION,
        "executor_id": executor_id,
        "serializer": DBOSPortableJSONSerializer(),
        "enable_otlp": False,
        "log_level": "WARNING",
        "run_migrations": False,
        "use_listen_notify": False,
    }
    DBOS(config=config)
    return SQLAlchemyDatasource.create(
        _url(database),
        engine=database.engine,
        serializer=DBOSPortableJSONSerializer(),
        run_migrations=False,
    )


def _options(stage: Stage, lane: Lane, job_id: str, priority: Priority) -> EnqueueOptions:
    return {
        "workflow_name": stage.value,
        "queue_name": lane.value,
        "workflow_id": job_id,
        "app_version": WORKFLOW_VERSION,
        "priority": int(priority),
    }


def _url(database: Database) -> str:
    return database.url.render_as_string(hide_password=False)


def _quiet_the_engine() -> None:
    """The engine's log goes where ours goes: a handler of its own would write to the console."""
    logger = logging.getLogger("dbos")
    if not logger.handlers:
        logger.addHandler(logging.NullHandler())
    logger.propagate = True
    logger.setLevel(logging.WARNING)
