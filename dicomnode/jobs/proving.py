"""One attempt to have it proven that a destination has kept what it took."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from pydicom.uid import SegmentationStorage

from dicomnode.config import DestinationSettings, Settings
from dicomnode.dicom.storage_commitment import Reference, Request
from dicomnode.errors import DeliveryRefusedError
from dicomnode.jobs.outcome import Contact, Ending, Outcome
from dicomnode.jobs.stages import Stages
from dicomnode.tracking import commitments
from dicomnode.tracking.commitments import Asked, Commitment
from dicomnode.tracking.database import Database
from dicomnode.tracking.deliveries import Delivery

# A report that never came may have been lost: the destination is asked once more.
_ASK_AGAIN_SECONDS = 600.0


@dataclass(frozen=True)
class Proving:
    settings: Settings
    database: Database
    stages: Stages

    def prove(
        self, delivery: Delivery, destination: DestinationSettings, waited_seconds: float
    ) -> Outcome:
        """DELIVERED, UNPROVEN or LOST; raises `DeliveryError` as sending does.

        `waited_seconds` are the pauses since it was sent.
        """
        if destination.proof == "none":
            return Outcome(Ending.DELIVERED, "no proof is asked of the destination any more")
        ask = self._found if destination.proof == "find" else self._committed
        outcome = ask(delivery, destination)
        patience = self.settings.delivery.prove_within_seconds
        if outcome.state is not Ending.UNPROVEN or waited_seconds < patience:
            return outcome
        sentence = f"{outcome.sentence} after {waited_seconds:.0f} s"
        return Outcome(Ending.LOST, sentence, outcome.contact)

    def _found(self, delivery: Delivery, destination: DestinationSettings) -> Outcome:
        seg = delivery.segmentation
        try:
            is_there = self.stages.has_instance(
                destination,
                self.settings.scp.ae_title,
                delivery.study_instance_uid,
                seg.series_instance_uid,
                seg.sop_instance_uid,
            )
        except DeliveryRefusedError as error:
            raise _not_offered(error, "C-FIND") from None
        if is_there:
            return Outcome(Ending.DELIVERED, "found by C-FIND", Contact.ANSWERED)
        sentence = f"destination {destination.name} took it, but does not find it"
        return Outcome(Ending.UNPROVEN, sentence, Contact.ANSWERED)

    def _committed(self, delivery: Delivery, destination: DestinationSettings) -> Outcome:
        asked, contact = self._asked(delivery), Contact.NONE
        if not _has_ended(asked) and self._is_to_be_asked(asked):
            self._ask(delivery, destination)
            asked, contact = self._asked(delivery), Contact.ANSWERED
        outcomes = {each.outcome for each in asked}
        if Commitment.COMMITTED in outcomes:
            return Outcome(Ending.DELIVERED, "committed by Storage Commitment", contact)
        if Commitment.FAILED in outcomes:
            sentence = f"destination {destination.name} reports that it has not kept it"
            return Outcome(Ending.LOST, sentence, contact)
        sentence = f"destination {destination.name} has not reported yet that it has kept it"
        return Outcome(Ending.UNPROVEN, sentence, contact)

    def _asked(self, delivery: Delivery) -> list[Asked]:
        with self.database.read() as connection:
            return commitments.of_delivery(connection, delivery.id)

    def _is_to_be_asked(self, asked: list[Asked]) -> bool:
        """What was asked in the future was asked before the clock was set back."""
        ages = [(_now() - each.asked_at).total_seconds() for each in asked]
        return not any(0 <= age < _ASK_AGAIN_SECONDS for age in ages)

    def _ask(self, delivery: Delivery, destination: DestinationSettings) -> None:
        """On record before it is asked: the report may come over another association at once."""
        sop_instance_uid = delivery.segmentation.sop_instance_uid
        with self.database.begin() as connection:
            transaction = commitments.ask(connection, delivery.id, sop_instance_uid, _now())
        request = Request(transaction, (Reference(SegmentationStorage, sop_instance_uid),))
        try:
            report = self.stages.ask_commitment(destination, self.settings.scp.ae_title, request)
        except BaseException as error:
            with self.database.begin() as connection:
                commitments.withdraw(connection, transaction)
            if isinstance(error, DeliveryRefusedError):
                raise _not_offered(error, "Storage Commitment") from None
            raise
        if report is not None:
            with self.database.begin() as connection:
                commitments.report(connection, *report.outcomes)


def _has_ended(asked: list[Asked]) -> bool:
    return any(each.outcome is not Commitment.ASKED for each in asked)


def _not_offered(error: DeliveryRefusedError, service: str) -> DeliveryRefusedError:
    return DeliveryRefusedError(
        f"it was sent, but nothing proves that it was kept: {error}. Configure {service} there, or "
        "another proof for this destination, then: dicomnode jobs retry"
    )


def _now() -> datetime:
    return datetime.now(UTC)
