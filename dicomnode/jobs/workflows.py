"""The workflows, thin: which steps follow each other, and what is recorded between them.

A step may run again after a kill, so every step is harmless when repeated: results have
deterministic UIDs, and what is recorded has unique keys. Steps hand on small values as JSON,
because the engine keeps them in its database.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from dbos import DBOS, SQLAlchemyDatasource, StepOptions
from pydantic import TypeAdapter

from dicomnode.config import Settings
from dicomnode.delivery.destinations import destination_names
from dicomnode.domain import DeliveryState, Examination
from dicomnode.errors import (
    DatabaseError,
    ExaminationDiedError,
    ExaminationFailedError,
    ExaminationPostponedError,
    may_pass,
    waits_for_the_machine,
)
from dicomnode.errors import sentence as sentence_of
from dicomnode.jobs.attempts import Attempt, first_attempt
from dicomnode.jobs.copying import Copying
from dicomnode.jobs.forget import leaving_nothing_forgotten
from dicomnode.jobs.lanes import Examining, JobQueue, Stage
from dicomnode.jobs.sending import Sending
from dicomnode.jobs.stages import Stages as Stages
from dicomnode.log_context import about
from dicomnode.tracking import copied_series, deliveries, examinations, retention, series
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
        def examine(revision_id: int, number: int = 1, deaths: int = 0, reason: str = "") -> str:
            job_id, this = str(DBOS.workflow_id), Examining(revision_id, number, deaths, reason)
            with self._working():
                found = DBOS.run_step(_step("examine"), self._examine, revision_id)
                if again := self._again(this, found):
                    self.once.run_tx_step({"name": "again"}, self._enqueue_again, job_id, again)
                    return "tried again"
                failure = self.once.run_tx_step(
                    {"name": "record"}, self._record, revision_id, found
                )
            if failure:
                raise ExaminationFailedError(failure)
            return "examined"

        @DBOS.workflow(name=Stage.DELIVER, max_recovery_attempts=recoveries)
        def deliver(
            delivery_id: int,
            number: int,
            delay_seconds: float,
            generation: float,
            loss_seconds: float = 0.0,
            waited_seconds: float = 0.0,
            unproven_seconds: float = 0.0,
        ) -> str:
            attempt = Attempt(
                delivery_id,
                number,
                delay_seconds,
                generation,
                loss_seconds,
                waited_seconds,
                unproven_seconds,
            )
            with self._working():
                outcome = DBOS.run_step(_step("send"), self._sending.send, attempt)
                return DBOS.run_step(_step("settle"), self._sending.settle, attempt, outcome)

        @DBOS.workflow(name=Stage.DEFACE, max_recovery_attempts=recoveries)
        def deface(copy_id: int, number: int = 1) -> str:
            with self._working():
                failure = self._copy(copy_id, number)
            if failure:
                raise ExaminationFailedError(failure)
            return "copied"

    def _copy(self, copy_id: int, number: int) -> str:
        """Every series of a copy without faces, and then all of it into the node; why it failed.

        Where the machine is not ready there is another try, `number` + 1.
        """
        steps, found = self._copying, []
        for index in range(DBOS.run_step(_step("begin"), steps.begin, copy_id)):
            found.append(DBOS.run_step(_step(f"copy {index}"), self._copy_series, copy_id, index))
            if "failure" in found[-1]:
                break
        if not found:
            return ""
        if "again" in found[-1] and number < self.settings.jobs.examination_postponements:
            why = found[-1]["failure"]
            self.once.run_tx_step({"name": "again"}, self._copy_again, copy_id, number + 1, why)
            return ""
        failure = DBOS.run_step(_step("record"), steps.record, copy_id, found)
        failure = failure or DBOS.run_step(_step("receive"), steps.receive, copy_id, found)
        return DBOS.run_step(_step("end"), steps.end, copy_id, found, failure)

    def _copy_again(self, copy_id: int, number: int, why: str) -> None:
        connection = self.once.sql_session().connection()
        self._copying.postpone(connection, self.queue, copy_id, number, why)

    def _copy_series(self, copy_id: int, number: int) -> dict[str, Any]:
        with self._gpu:
            return self._copying.make(copy_id, number)

    @property
    def _copying(self) -> Copying:
        """Under the settings of now."""
        return Copying(self.settings, self.database, self.spool, self.stages)

    @property
    def _sending(self) -> Sending:
        """Under the settings of now."""
        return Sending(self.settings, self.database, self.queue, self.stages)

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
                return {"failure": f"some of its {retention.sentence(removed_at)}", "removed": True}
            try:
                with leaving_nothing_forgotten(self.settings, self.database, revision):
                    examination = self.stages.examine(revision)
            except ExaminationDiedError as error:
                return {"failure": str(error), "again": "died"}
            except ExaminationPostponedError as error:
                return {"failure": str(error), "again": "postponed"}
            except Exception as error:
                if may_pass(error):
                    return {"failure": waits_for_the_machine(error), "again": "postponed"}
                # The edge of the worker: any failure is recorded and shown.
                log.exception("examination failed", extra={"series": revision.series_instance_uid})
                return {"failure": sentence_of(error)}
        return {"examination": _EXAMINATION.dump_python(examination, mode="json")}

    def _again(self, this: Examining, found: dict[str, Any]) -> Examining | None:
        """The next try, where there is to be one; else `found` says why the series is set aside."""
        if "again" not in found:
            return None
        again = this.next(found["failure"], died=found["again"] == "died")
        if again.deaths >= self.settings.jobs.examination_attempts:
            tries = f"{again.deaths} tries that took their process down"
        elif again.postponements >= self.settings.jobs.examination_postponements:
            tries = f"{again.postponements} tries that could not begin"
        else:
            return again
        found["failure"] = f"set aside after {tries}; at last: {again.reason}"
        return None

    def _enqueue_again(self, job_id: str, again: Examining) -> str:
        connection = self.once.sql_session().connection()
        pause = again.pause_seconds(self.settings.jobs.examination_pause_seconds)
        log.warning(
            "examination is tried again",
            extra={"job": job_id, "try": again.number, "reason": again.reason},
        )
        return self.queue.enqueue_again(connection, job_id, again, pause)

    def _record(self, revision_id: int, found: dict[str, Any]) -> str:
        """Examination, verdict, deliveries and their jobs: one transaction, exactly once.

        Returns why there is no examination. A revision that was overtaken meanwhile is recorded,
        and its SEGs go nowhere. What was found before in files that retention took away meanwhile
        still counts: nobody could find it again.
        """
        connection = self.once.sql_session().connection()
        examination = _examination(found)
        if examination is None:
            failure = found.get("failure", _SAYS_NOTHING)
            if "removed" in found and examinations.is_examined(connection, revision_id):
                return str(failure)
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
        if copied_series.origins(connection, [revision.series_instance_uid]):
            return  # no destination has the series that it is of
        for name in destination_names(revision, self.settings):
            for delivery_id in deliveries.add(connection, examination_id, name):
                if deliveries.load(connection, delivery_id).state is DeliveryState.PENDING:
                    attempt = first_attempt(delivery_id)
                    self.queue.enqueue_delivery(connection, attempt)

    @contextmanager
    def _working(self) -> Iterator[None]:
        self._active.append(1)
        try:
            with about(job=DBOS.workflow_id or ""):
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
