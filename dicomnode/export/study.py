"""One study leaves: for every instance the gate is asked again, its bytes compared, and it noted.

Nothing leaves but what the receipt names, and only as the bytes whose digest it names.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from enum import StrEnum

from dicomnode.errors import DeliveryError, DeliveryRefusedError, ExportError, ReceiptError
from dicomnode.export.place import Destination
from dicomnode.gate.release import Exit, Release
from dicomnode.tracking.database import Database
from dicomnode.tracking.instances import KnownFile, known_files
from dicomnode.tracking.spool import Spool

# Each time its evidence changes while it leaves, a study begins anew under another receipt.
_ATTEMPTS = 3


class StudyOutcome(StrEnum):
    """What became of a study; unless it LEFT, some of its instances may have left all the same.

    CHANGED: the evidence changed again and again while it left.
    """

    LEFT = "left"
    LEFT_BEFORE = "left before"
    HELD = "held"
    CHANGED = "changed"
    FAILED = "failed"


@dataclass(frozen=True)
class StudyResult:
    """`instances` is how many left in this run; `reasons` why not all did."""

    study_instance_uid: str
    outcome: StudyOutcome
    receipt_number: int | None
    instances: int
    reasons: tuple[str, ...] = ()


class DestinationAwayError(Exception):
    """The destination takes nothing now, whatever the study; `result` is of the one it was at."""

    def __init__(self, result: StudyResult) -> None:
        super().__init__("; ".join(result.reasons))
        self.result = result


@dataclass(frozen=True)
class Exporter:
    """What lets studies out of the spool, through one exit, to one destination.

    `again`: also what left under the same receipt before.
    """

    exit: Exit
    destination: Destination
    database: Database
    spool: Spool
    again: bool = False

    def export(self, study_instance_uid: str) -> StudyResult:
        """Raises `DestinationAwayError` and `DatabaseError`."""
        instances = 0
        for _ in range(_ATTEMPTS):
            result = self._begin(study_instance_uid)
            instances += result.instances
            if result.outcome is not StudyOutcome.CHANGED:
                break
        return replace(result, instances=instances)

    def _begin(self, study_instance_uid: str) -> StudyResult:
        try:
            release = self.exit.begin(study_instance_uid, again=self.again, from_spool=True)
        except (ReceiptError, ExportError) as error:
            return StudyResult(study_instance_uid, StudyOutcome.FAILED, None, 0, (str(error),))
        if not isinstance(release, Release):
            return StudyResult(study_instance_uid, StudyOutcome.HELD, None, 0, release.reasons)
        if release.leaving is None:
            return _result(release, StudyOutcome.LEFT_BEFORE, 0)
        return self._let_out(release, sorted(release.leaving.remaining))

    def _let_out(self, release: Release, uids: list[str]) -> StudyResult:
        with self.database.read() as connection:
            files = known_files(connection, uids)
        encodings = {(one.sop_class_uid, one.transfer_syntax_uid) for one in files.values()}
        left = 0
        try:
            with self.destination.study(release.study_instance_uid, encodings) as place:
                for uid in uids:
                    file = self._checked(release, uid, files.get(uid))
                    if not self.exit.still_stands(release):
                        return self._stopped(release, StudyOutcome.CHANGED, left, "")
                    place.put(release.named[uid][0].series_instance_uid, uid, file)
                    self.exit.record(release, uid)
                    left += 1
                place.seal(release.signed)
        except (ExportError, DeliveryRefusedError) as error:
            return self._stopped(release, StudyOutcome.FAILED, left, str(error))
        except (DeliveryError, OSError) as error:
            failed = self._stopped(release, StudyOutcome.FAILED, left, str(error))
            raise DestinationAwayError(failed) from error
        self.exit.finish(release)
        return _result(release, StudyOutcome.LEFT, left)

    def _checked(self, release: Release, uid: str, known: KnownFile | None) -> bytes:
        """The file as it lies in the spool, if it is the one that was examined."""
        try:
            file = self.spool.path(known.name).read_bytes() if known else b""
        except OSError as error:
            raise ExportError(
                f"instance {uid} can't be read from the spool: {error.strerror}"
            ) from None
        if hashlib.sha256(file).hexdigest() != release.named[uid][1].file_sha256:
            raise ExportError(
                f"the file of instance {uid} in the spool is not the one that was examined: "
                "somebody, or the disk, changed it"
            )
        return file

    def _stopped(
        self, release: Release, outcome: StudyOutcome, left: int, reason: str
    ) -> StudyResult:
        reason = reason or "its evidence changed while it left: the gate is asked again"
        self.exit.stop(release, reason)
        return _result(release, outcome, left, reason)


def _result(release: Release, outcome: StudyOutcome, instances: int, *reasons: str) -> StudyResult:
    return StudyResult(release.study_instance_uid, outcome, release.number, instances, reasons)
