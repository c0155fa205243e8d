"""Where a retrieval leaves what it brings: the intake, with a count of what became of it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from dicomnode.errors import DatabaseError, SpoolError
from dicomnode.intake.intake import Intake
from dicomnode.intake.received import Peer, ReceivedObject
from dicomnode.intake.refusals import RefusedObjectError


class Deposit:
    """The objects of one study; `trouble` is why this node could not keep one that it wanted."""

    def __init__(self, intake: Intake, peer: Peer, study_instance_uid: str) -> None:
        self.peer = peer
        self._intake = intake
        self._study_instance_uid = study_instance_uid
        self._refusals: list[str] = []
        self.trouble: SpoolError | DatabaseError | None = None

    def object(self, received: ReceivedObject) -> None:
        """Durable on return; raises as `Intake.store` does."""
        with self._noting():
            self._intake.store(received, study_instance_uid=self._study_instance_uid)

    def file(self, data: bytes) -> None:
        """The same for a DICOM file (PS3.10)."""
        with self._noting():
            self._intake.store_file(self.peer, data, study_instance_uid=self._study_instance_uid)

    @property
    def sentence(self) -> str:
        """What was refused, and the first reason; empty when nothing was."""
        if not self._refusals:
            return ""
        return f"{len(self._refusals)} refused and in quarantine here: {self._refusals[0]}"

    @contextmanager
    def _noting(self) -> Iterator[None]:
        try:
            yield
        except RefusedObjectError as refused:
            self._refusals.append(str(refused))
            raise
        except (SpoolError, DatabaseError) as error:
            self.trouble = self.trouble or error
            raise


@contextmanager
def depositing(
    intake: Intake, study_instance_uid: str, *, calling: str, called: str, address: str
) -> Iterator[Deposit]:
    """For as long as it lasts the series that come are not yet whole."""
    peer = intake.opened(calling_ae_title=calling, called_ae_title=called, address=address)
    outcome = "aborted"
    try:
        yield Deposit(intake, peer, study_instance_uid)
        outcome = "released"
    finally:
        intake.closed(peer, outcome)
