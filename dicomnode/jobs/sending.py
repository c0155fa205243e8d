"""One attempt of a delivery: what is tried, and what follows from how it ended.

Both are steps that may run again after a kill. An outcome is a small value, because the engine
keeps it in its database.
"""

from __future__ import annotations

import hashlib
import logging
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dicomnode.config import DestinationSettings, Settings
from dicomnode.delivery.destinations import resolve
from dicomnode.domain import DeliveryState, SegmentationFile
from dicomnode.errors import DeliveryError, DeliveryRefusedError, DestinationAwayError
from dicomnode.errors import sentence as sentence_of
from dicomnode.jobs.attempts import Attempt
from dicomnode.jobs.lanes import JobQueue
from dicomnode.jobs.outcome import GOES_ON, Contact, Ending, Outcome, outcome_of
from dicomnode.jobs.proving import Proving
from dicomnode.jobs.stages import Stages
from dicomnode.tracking import audit, circuits, commitments, deliveries, dialects, parked
from dicomnode.tracking.database import Database
from dicomnode.tracking.deliveries import Delivery
from dicomnode.tracking.parked import Parked

if TYPE_CHECKING:
    from sqlalchemy import Connection

log = logging.getLogger("dicomnode.jobs")

# The audit events of how an attempt ended.
_ON_RECORD = {
    Ending.STORED: "stored",
    Ending.DELIVERED: "delivered",
    Ending.LOST: "not kept",
    Ending.REFUSED: "refused",
}


@dataclass(frozen=True)
class Sending:
    settings: Settings
    database: Database
    queue: JobQueue
    stages: Stages

    def send(self, attempt: Attempt) -> dict[str, Any]:
        """Try once, unless the circuit of the destination is open; the `Outcome` as JSON."""
        return asdict(self._send(attempt))

    def settle(self, attempt: Attempt, given: dict[str, Any]) -> str:
        """Record how an attempt ended; the next attempt is a job of its own that waits outside."""
        outcome = outcome_of(given)
        with self.database.begin() as connection:
            self._settle(connection, attempt, outcome)
        log.info(
            "delivery attempt", extra={"delivery": attempt.delivery_id, "outcome": outcome.state}
        )
        return outcome.state

    def _send(self, attempt: Attempt) -> Outcome:
        with self.database.begin() as connection:
            circuit = circuits.of_delivery(connection, attempt.delivery_id)
            if not circuit.lets_pass(attempt.delivery_id):
                return self._unless_late(attempt, Outcome(Ending.PARKED, circuit.last_error))
            delivery = deliveries.claim(connection, attempt.delivery_id)
            if delivery is None:
                delivery = deliveries.unproven(connection, attempt.delivery_id)
        if delivery is None:
            return Outcome(Ending.ENDED)
        return self._unless_late(attempt, self._go_on(attempt, delivery))

    def _go_on(self, attempt: Attempt, delivery: Delivery) -> Outcome:
        """Send it, or have it proven that what was sent was kept.

        What is not refused for good is tried again.
        """
        is_sent = delivery.state is DeliveryState.STORED
        failed = Ending.UNPROVEN if is_sent else Ending.AGAIN
        try:
            destination = self._destination(delivery.destination)
            _check_unchanged(delivery.segmentation, self.settings.results_folder)
        except DeliveryRefusedError as error:
            return Outcome(Ending.REFUSED, str(error))
        except DeliveryError as error:
            return Outcome(failed, str(error))
        try:
            if is_sent:
                proving = Proving(self.settings, self.database, self.stages)
                return proving.prove(delivery, destination, attempt.unproven_seconds)
            return self._deliver(delivery, destination)
        except DestinationAwayError as error:
            return Outcome(failed, str(error), Contact.AWAY)
        except DeliveryRefusedError as error:
            return Outcome(Ending.REFUSED, str(error), Contact.ANSWERED)
        except DeliveryError as error:
            return Outcome(failed, str(error), Contact.ANSWERED)
        except OSError as error:  # the next attempt finds out whether it is gone for good
            return Outcome(failed, _unreadable(delivery.segmentation, error))
        except Exception as error:  # noqa: BLE001  the edge of the worker
            return Outcome(failed, sentence_of(error))

    def _deliver(self, delivery: Delivery, destination: DestinationSettings) -> Outcome:
        sent = self.stages.deliver(
            destination, [delivery.segmentation.path], self.settings.scp.ae_title
        )
        ending = Ending.DELIVERED if destination.proof == "none" else Ending.STORED
        first = resolve(delivery.destination, self.settings).transfer_syntaxes[0]
        other = "" if sent.transfer_syntax == first else sent.transfer_syntax
        return Outcome(ending, "; ".join(sent.warnings), Contact.ANSWERED, other)

    def _destination(self, name: str) -> DestinationSettings:
        """As it is configured now, but how it took the last object comes first."""
        configured = resolve(name, self.settings)
        with self.database.read() as connection:
            known = dialects.recall(connection, name, datetime.now(UTC))
        if known not in configured.transfer_syntaxes:
            return configured
        others = [each for each in configured.transfer_syntaxes if each != known]
        return configured.model_copy(update={"transfer_syntaxes": (known, *others)})

    def _unless_late(self, attempt: Attempt, outcome: Outcome) -> Outcome:
        if outcome.state not in GOES_ON or not attempt.gives_up(self.settings.delivery):
            return outcome
        hours = f"{self.settings.delivery.give_up_after_hours:g}"
        sentence = f"gave up after {hours} hours; at last: {outcome.sentence}"
        return Outcome(Ending.REFUSED, sentence, outcome.contact)

    def _settle(self, connection: Connection, attempt: Attempt, outcome: Outcome) -> None:
        if outcome.state is Ending.ENDED:
            return
        try:
            delivery = deliveries.load(connection, attempt.delivery_id)
        except LookupError:  # its study was forgotten meanwhile
            return
        self._note_contact(connection, delivery, outcome)
        match outcome.state:
            case Ending.STORED:
                if deliveries.mark_stored(connection, delivery.id):
                    commitments.end(connection, delivery.id)
                self.queue.enqueue_delivery(connection, attempt.after_sending())
            case Ending.DELIVERED:
                deliveries.mark_delivered(connection, delivery.id)
            case Ending.REFUSED:
                deliveries.mark_refused(connection, delivery.id, outcome.sentence)
            case Ending.AGAIN | Ending.UNPROVEN | Ending.LOST:
                self._try_later(connection, attempt, outcome)
            case Ending.PARKED:
                self._park(connection, attempt, delivery, outcome.sentence)
        if outcome.state in _ON_RECORD:
            detail = {"destination": delivery.destination, "sentence": outcome.sentence}
            event, uid = _ON_RECORD[outcome.state], delivery.segmentation.sop_instance_uid
            audit.append(connection, event, uid, detail)

    def _note_dialect(self, connection: Connection, name: str, taken: str) -> None:
        now = datetime.now(UTC)
        if taken != dialects.recall(connection, name, now):
            dialects.remember(connection, name, taken, now)

    def _try_later(self, connection: Connection, attempt: Attempt, outcome: Outcome) -> None:
        is_lost = outcome.state is Ending.LOST
        later = (attempt.after_loss if is_lost else attempt.next)(self.settings.delivery)
        at = datetime.now(UTC) + timedelta(seconds=later.wait_seconds)
        if is_lost:
            log.error("a destination did not keep a SEG: %s", outcome.sentence)
            deliveries.mark_lost(connection, attempt.delivery_id, outcome.sentence, at)
        else:
            deliveries.mark_failed(connection, attempt.delivery_id, outcome.sentence, at)
        self.queue.enqueue_delivery(connection, later)

    def _park(self, connection: Connection, attempt: Attempt, delivery: Delivery, why: str) -> None:
        """It goes on, after its turn, as if it had not been tried yet."""
        waits = replace(attempt, number=attempt.number + 1, delay_seconds=0.0)
        parked.park(connection, delivery.destination, Parked(**vars(waits)))
        deliveries.mark_parked(connection, delivery.id, why)

    def _note_contact(self, connection: Connection, delivery: Delivery, outcome: Outcome) -> None:
        name = delivery.destination
        if outcome.transfer_syntax is not None:
            self._note_dialect(connection, name, outcome.transfer_syntax)
        if outcome.contact is Contact.AWAY:
            settings, now = self.settings.delivery, datetime.now(UTC)
            if circuits.note_failure(
                connection, name, delivery.id, outcome.sentence, settings, now
            ):
                log.error("a destination is away: %s", outcome.sentence)
        elif outcome.contact is Contact.ANSWERED and circuits.note_answer(connection, name):
            log.warning("a destination is back", extra={"destination": name})


def _check_unchanged(segmentation: SegmentationFile, results: Path) -> None:
    """What is sent is what was verified; raises `DeliveryRefusedError` for another file.

    Where it can't be read now, or all results are away, `DeliveryError`.
    """
    try:
        with segmentation.path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError:
        if not _holds_anything(results):
            raise DeliveryError(
                f"{results} is missing or empty: is its disk mounted? The SEG is sent once it is"
            ) from None
        found = ""
    except OSError as error:
        raise DeliveryError(_unreadable(segmentation, error)) from None
    if found != segmentation.sha256:
        raise DeliveryRefusedError(
            f"{segmentation.path.name} is gone or is not the file that was verified; "
            "examine the series again"
        )


def _unreadable(segmentation: SegmentationFile, error: OSError) -> str:
    return f"{segmentation.path.name} can't be read now: {sentence_of(error)}"


def _holds_anything(folder: Path) -> bool:
    """The place of a mount that is away is missing, or empty."""
    try:
        return any(folder.iterdir())
    except OSError:
        return False
