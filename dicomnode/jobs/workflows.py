"""The two workflows, thin: which steps follow each other, and what is recorded between them.

A step may run again after a kill, so every step is harmless when repeated: results have
deterministic UIDs, and what is recorded has unique keys. Steps hand on small values as JSON,
because the engine keeps them in its database.
"""

from __future__ import annotations

import hashlib
import logging
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dbos import DBOS, SQLAlchemyDatasource, StepOptions
from pydantic import TypeAdapter

from dicomnode.config import DestinationSettings, Settings
from dicomnode.delivery.destinations import destination_names, resolve
from dicomnode.domain import DeliveryState, Examination, Revision, SegmentationFile
from dicomnode.errors import (
    DatabaseError,
    DeliveryRefusedError,
    DicomnodeError,
    ExaminationFailedError,
)
from dicomnode.jobs.lanes import Attempt, JobQueue, Stage, first_attempt
from dicomnode.tracking import audit, deliveries, examinations, retention, series
from dicomnode.tracking.database import Database
from dicomnode.tracking.spool import Spool

if TYPE_CHECKING:
    from sqlalchemy import Connection

log = logging.getLogger("dicomnode.jobs")

_EXAMINATION = TypeAdapter(Examination)

# The engine keeps results as JSON: one that an earlier version left there has another shape.
_SAYS_NOTHING = (
    "the examination names neither a volume nor a refusal; it may be of an earlier version: "
    "retry the job"
)


@dataclass(frozen=True)
class Stages:
    """The work itself, given by the wiring; the engine knows no network and no protocol.

    `examine` returns volumes or refusals and raises where it fails; `deliver` is
    `dicomnode.delivery.store.send`.
    """

    examine: Callable[[Revision], Examination]
    deliver: Callable[[DestinationSettings, Sequence[Path], str], tuple[str, ...]]


@dataclass
class Workflows:
    """What the workflows need, bound together; `register` makes them known to the engine."""

    settings: Settings
    database: Database
    spool: Spool
    queue: JobQueue
    once: SQLAlchemyDatasource
    stages: Stages
    _gpu: threading.Lock = field(default_factory=threading.Lock)
    _active: list[int] = field(default_factory=list)

    def register(self) -> None:
        # The engine counts recoveries after the first start; we count starts.
        recoveries = self.settings.jobs.maximum_attempts - 1

        @DBOS.workflow(name=Stage.EXAMINE, max_recovery_attempts=recoveries)
        def examine(revision_id: int) -> str:
            with self._working():
                found = DBOS.run_step(_step("examine"), self._examine, revision_id)
                failure = self.once.run_tx_step(
                    {"name": "record"}, self._record, revision_id, found
                )
            if failure:
                raise ExaminationFailedError(failure)
            return "examined"

        @DBOS.workflow(name=Stage.DELIVER, max_recovery_attempts=recoveries)
        def deliver(delivery_id: int, number: int, delay_seconds: float, deadline: float) -> str:
            attempt = Attempt(delivery_id, number, delay_seconds, deadline)
            with self._working():
                outcome = DBOS.run_step(_step("send"), self._send, attempt)
                return DBOS.run_step(_step("settle"), self._settle, attempt, outcome)

    @property
    def is_busy(self) -> bool:
        """Whether a job is running."""
        return bool(self._active)

    def _examine(self, revision_id: int) -> dict[str, Any]:
        """The examination as JSON, or the sentence that says why there is none."""
        with self._gpu:
            with self.database.begin() as connection:
                revision = series.load_revision(connection, revision_id, self.spool)
                removed_at = series.removed_at(connection, revision_id)
                examinations.start(connection, revision_id)
            if removed_at is not None:
                return {"failure": f"some of its {retention.sentence(removed_at)}"}
            try:
                examination = self.stages.examine(revision)
            except Exception as error:
                # The edge of the worker: any failure is recorded and shown.
                log.exception("examination failed", extra={"series": revision.series_instance_uid})
                return {"failure": _sentence(error)}
        return {"examination": _EXAMINATION.dump_python(examination, mode="json")}

    def _record(self, revision_id: int, found: dict[str, Any]) -> str:
        """Examination, verdict, deliveries and their jobs: one transaction, exactly once.

        Returns why there is no examination. A revision that was overtaken meanwhile is recorded,
        and its SEGs go nowhere.
        """
        connection = self.once.sql_session().connection()
        examination = _examination(found)
        if examination is None:
            failure = found.get("failure", _SAYS_NOTHING)
            examinations.record_failure(connection, revision_id, failure)
            return str(failure)
        examination_id = examinations.record(connection, revision_id, examination)
        if examination.volumes and series.is_current(connection, revision_id):
            self._queue_deliveries(connection, revision_id, examination_id)
        return ""

    def _queue_deliveries(
        self, connection: Connection, revision_id: int, examination_id: int
    ) -> None:
        """Every SEG of the examination to every destination that does not have it."""
        revision = series.load_revision(connection, revision_id, self.spool)
        for name in destination_names(revision, self.settings):
            for delivery_id in deliveries.add(connection, examination_id, name):
                if deliveries.load(connection, delivery_id).state is DeliveryState.PENDING:
                    attempt = first_attempt(delivery_id, self.settings)
                    self.queue.enqueue_delivery(connection, attempt)

    def _send(self, attempt: Attempt) -> dict[str, str]:
        """Try once; how it ended, as a small value."""
        with self.database.begin() as connection:
            delivery = deliveries.claim(connection, attempt.delivery_id)
        if delivery is None:
            return {"state": "ended", "sentence": ""}
        try:
            _check_unchanged(delivery.segmentation)
            destination = resolve(delivery.destination, self.settings)
            warnings = self.stages.deliver(
                destination, [delivery.segmentation.path], self.settings.scp.ae_title
            )
        except DeliveryRefusedError as error:
            return {"state": "refused", "sentence": str(error)}
        except Exception as error:  # noqa: BLE001  the edge of the worker
            # What is not refused for good is tried again.
            if time.time() < attempt.deadline:
                return {"state": "again", "sentence": _sentence(error)}
            hours = f"{self.settings.delivery.give_up_after_hours:g}"
            sentence = f"gave up after {hours} hours; at last: {_sentence(error)}"
            return {"state": "refused", "sentence": sentence}
        return {"state": "delivered", "sentence": "; ".join(warnings)}

    def _settle(self, attempt: Attempt, outcome: dict[str, str]) -> str:
        """Record how an attempt ended; the next attempt is a job of its own that waits outside."""
        key, state, sentence = attempt.delivery_id, outcome["state"], outcome["sentence"]
        with self.database.begin() as connection:
            if state == "delivered":
                deliveries.mark_delivered(connection, key)
            elif state == "refused":
                deliveries.mark_refused(connection, key, sentence)
            elif state == "again":
                later = attempt.next(self.settings.delivery)
                at = datetime.now(UTC) + timedelta(seconds=later.delay_seconds)
                deliveries.mark_failed(connection, key, sentence, at)
                self.queue.enqueue_delivery(connection, later)
            if state in ("delivered", "refused"):
                delivery = deliveries.load(connection, key)
                uid, to = delivery.segmentation.sop_instance_uid, delivery.destination
                audit.append(connection, state, uid, {"destination": to, "sentence": sentence})
        log.info("delivery attempt", extra={"delivery": key, "outcome": state})
        return state

    @contextmanager
    def _working(self) -> Iterator[None]:
        self._active.append(1)
        try:
            yield
        finally:
            self._active.pop()


def _examination(found: dict[str, Any]) -> Examination | None:
    """What the step found; None where it failed, or where its result says nothing."""
    if "examination" not in found:
        return None
    examination = _EXAMINATION.validate_python(found["examination"])
    says_nothing = not examination.volumes and not examination.set_aside
    return None if says_nothing else examination


def _step(name: str) -> StepOptions:
    """A database that is away for two minutes costs no job: the step is tried again meanwhile."""
    return {
        "name": name,
        "retries_allowed": True,
        "max_attempts": 8,
        "interval_seconds": 1.0,
        "backoff_rate": 2.0,
        "should_retry": lambda error: isinstance(error, DatabaseError),
    }


def _check_unchanged(segmentation: SegmentationFile) -> None:
    """What is sent is what was verified; raises `DeliveryRefusedError` for another file."""
    try:
        with segmentation.path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError:
        found = ""
    if found != segmentation.sha256:
        raise DeliveryRefusedError(
            f"{segmentation.path.name} is gone or is not the file that was verified; "
            "examine the series again"
        )


def _sentence(error: Exception) -> str:
    """Ours, written for people; others' messages may quote what a scanner wrote into a header."""
    if isinstance(error, DicomnodeError):
        return str(error)
    if isinstance(error, OSError) and error.errno is not None:
        return f"{type(error).__name__}: {os.strerror(error.errno)}"
    return f"{type(error).__name__}, see the log of this moment"
