"""The steps of a copy without faces: make it, say what was proven, and only then receive it.

The copy comes into the node as any series does, through the intake, so that it is examined and
judged by those who judge every series. Each step may run again after a kill: what was made is kept
until it was received, UIDs are deterministic, and the spool knows what it has.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import TypeAdapter

from dicomnode.config import Settings
from dicomnode.domain import CopyOrder, CopyState, CopyWay, SeriesCopy
from dicomnode.errors import (
    ExaminationDiedError,
    ExaminationPostponedError,
    SpoolError,
    may_pass,
    sentence,
    waits_for_the_machine,
)
from dicomnode.intake.refusals import RefusedObjectError
from dicomnode.intake.running import running_intake
from dicomnode.jobs.forget import leaving_nothing_forgotten
from dicomnode.jobs.lanes import JobQueue, pause_seconds
from dicomnode.jobs.stages import Stages
from dicomnode.tracking import copied_series, expected, retention, series, study_copies
from dicomnode.tracking.completeness import Source
from dicomnode.tracking.database import Database
from dicomnode.tracking.spool import Spool, short_name
from dicomnode.tracking.study_copies import LeftOut, PlannedSeries, StudyCopy

if TYPE_CHECKING:
    from sqlalchemy import Connection

log = logging.getLogger("dicomnode.jobs")

_COPY = TypeAdapter(SeriesCopy)
CANCELLED = "cancelled"
GONE = "the original is no longer here as it was when the copy was asked for"

# What a step hands on: {"copy": ...} or {"failure": ...}, with "again" where only the machine was
# not ready.
Found = dict[str, Any]


def enqueue_asked(database: Database, queue: JobQueue) -> None:
    """Give everything that was asked for a job."""
    with database.read() as connection:
        waiting = study_copies.asked(connection)
    for copy in waiting:
        with database.begin() as connection:
            # First: a transaction that looks only afterwards could queue it twice.
            if study_copies.set_state(connection, copy.id, CopyState.QUEUED):
                job_id = queue.enqueue_copy(connection, copy)
                study_copies.set_state(connection, copy.id, CopyState.QUEUED, job_id=job_id)


@dataclass(frozen=True)
class Copying:
    settings: Settings
    database: Database
    spool: Spool
    stages: Stages

    def begin(self, copy_id: int) -> int:
        """How many series are to be copied; none where it was cancelled, or forgotten."""
        with self.database.begin() as connection:
            if not study_copies.set_state(connection, copy_id, CopyState.RUNNING):
                return 0
            return len(study_copies.load(connection, copy_id).plan)

    def make(self, copy_id: int, number: int) -> Found:
        """The copy of one series, or the sentence that says why there is none."""
        with self.database.read() as connection:
            copy = study_copies.load(connection, copy_id)
            planned = copy.plan[number]
            try:
                revision = series.load_revision(connection, planned.revision_id, self.spool)
            except LookupError:
                return {"failure": GONE}
            removed_at = series.removed_at(connection, planned.revision_id)
        if copy.state is not CopyState.RUNNING:
            return {"failure": CANCELLED}
        # A number of a row that is gone may be that of another one.
        asked = (planned.series_instance_uid, planned.revision_digest)
        if (revision.series_instance_uid, revision.digest) != asked:
            return {"failure": GONE}
        if removed_at is not None:
            return {"failure": f"some of its {retention.sentence(removed_at)}"}
        order = CopyOrder(
            revision=revision,
            unchanged=frozenset(planned.unchanged),
            study_instance_uid=copy.copy_study_instance_uid,
            identity=copy.copy_study_instance_uid,
            folder=self._folder(copy, planned),
            project=copy.project,
            way=self.settings.way_of_copies(copy.project),
        )
        return self._make(order)

    def _make(self, order: CopyOrder) -> Found:
        """What takes its process down is tried again as often as an examination is."""
        reason = ""
        for _ in range(self.settings.jobs.examination_attempts):
            try:
                with leaving_nothing_forgotten(self.settings, self.database, order.revision):
                    return {"copy": _COPY.dump_python(self.stages.copy(order), mode="json")}
            except ExaminationDiedError as error:
                reason = str(error)
            except ExaminationPostponedError as error:
                return {"failure": str(error), "again": "postponed"}
            except Exception as error:
                if may_pass(error):
                    return {"failure": waits_for_the_machine(error), "again": "postponed"}
                # The edge of the worker: any failure is recorded and shown.
                uid = order.revision.series_instance_uid
                log.exception("no copy without faces", extra={"series": uid})
                return {"failure": sentence(error)}
        return {"failure": reason}

    def postpone(
        self, connection: Connection, queue: JobQueue, copy_id: int, number: int, why: str
    ) -> None:
        """The try of that number, later, as a job of its own; none where it was cancelled."""
        queued = CopyState.QUEUED
        if study_copies.set_state(connection, copy_id, queued, sentence=why):
            pause = pause_seconds(number, self.settings.jobs.examination_pause_seconds)
            copy = study_copies.load(connection, copy_id)
            job_id = queue.enqueue_copy(connection, copy, number, pause)
            study_copies.set_state(connection, copy_id, queued, sentence=why, job_id=job_id)

    def record(self, copy_id: int, found: Sequence[Found]) -> str:
        """Every objection stands in the database before an object is received; why it failed."""
        copies = [_COPY.validate_python(one["copy"]) for one in found if "copy" in one]
        with self.database.begin() as connection:
            copy = study_copies.load(connection, copy_id)
            if failure := next((one["failure"] for one in found if "failure" in one), ""):
                return str(failure)
            left_out = list(_left_out(copies))
            if not _removes_a_face(copies):
                return "no face could be removed: " + "; ".join(each.sentence for each in left_out)
            known = [one for one in copy.left_out if one not in left_out]
            copied_series.record(connection, copy_id, copies, [*known, *left_out])
            _expect(connection, copy, copies)
        return ""

    def receive(self, copy_id: int, found: Sequence[Found]) -> str:
        """Through the intake, as what a scanner sends; why it failed."""
        title = self.settings.scp.ae_title
        try:
            with running_intake(self.settings) as intake:
                peer = intake.opened(calling_ae_title=title, called_ae_title=title, address="")
                outcome = "aborted"
                try:
                    for path in _files(found):
                        intake.store_file(peer, path.read_bytes())
                    outcome = "released"
                finally:
                    intake.closed(peer, outcome)
        except RefusedObjectError as refused:
            return f"the copy could not be received: {refused}"
        except (SpoolError, OSError) as error:
            return f"the copy could not be received: {sentence(error)}"
        return ""

    def end(self, copy_id: int, found: Sequence[Found], failure: str) -> str:
        with self.database.begin() as connection:
            state = CopyState.FAILED if failure else CopyState.DONE
            is_ended = study_copies.set_state(connection, copy_id, state, sentence=failure)
        if is_ended and not failure:
            for path in _files(found):
                path.unlink(missing_ok=True)
        return failure

    def _folder(self, copy: StudyCopy, planned: PlannedSeries) -> Path:
        """Among the results of the original, with which it is forgotten: it shows the face."""
        of_series = self.settings.results_folder / short_name(planned.series_instance_uid)
        return of_series / f"copy-{short_name(copy.copy_study_instance_uid)}"


def _files(found: Sequence[Found]) -> Iterator[Path]:
    for one in found:
        for volume in _COPY.validate_python(one["copy"]).volumes:
            yield from volume.paths


def _left_out(copies: Sequence[SeriesCopy]) -> Iterator[LeftOut]:
    for copy in copies:
        for why in copy.left_out:
            yield LeftOut(copy.series_instance_uid, why)


def _removes_a_face(copies: Sequence[SeriesCopy]) -> bool:
    return any(one.way is CopyWay.DEFACED for copy in copies for one in copy.volumes)


def _expect(connection: Connection, copy: StudyCopy, copies: Sequence[SeriesCopy]) -> None:
    """So that it is complete as soon as all of it is here, and held until then."""
    study = copy.copy_study_instance_uid
    counts = {one.series_instance_uid: len(one.paths) for each in copies for one in each.volumes}
    for uid, count in sorted(counts.items()):
        expected.expect_count(connection, study, uid, count, Source.COPY, speaker="dicomnode")
