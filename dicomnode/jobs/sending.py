"""One attempt of a delivery: what is tried, and what follows from how it ended.

Both are steps that may run again after a kill. An outcome is a small value, because the engine
keeps it in its database.
"""

from __future__ import annotations

import hashlib
import logging
import time
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING

from dicomnode.config import DestinationSettings, Settings
from dicomnode.delivery.destinations import resolve
from dicomnode.domain import SegmentationFile
from dicomnode.errors import DeliveryError, DeliveryRefusedError, DestinationAwayError
from dicomnode.errors import sentence as sentence_of
from dicomnode.jobs.lanes import Attempt, JobQueue
from dicomnode.jobs.stages import Stages
from dicomnode.tracking import audit, circuits, deliveries, dialects, parked
from dicomnode.tracking.database import Database
from dicomnode.tracking.deliveries import Delivery
from dicomnode.tracking.parked import Parked

if TYPE_CHECKING:
    from sqlalchemy import Connection

log = logging.getLogger("dicomnode.jobs")


class Ending(StrEnum):
    """How an attempt ended; ENDED: there was nothing to do any more."""

    DELIVERED = "delivered"
    REFUSED = "refused"
    AGAIN = "again"
    PARKED = "parked"
    ENDED = "ended"


class Contact(StrEnum):
    """What the attempt says of the destination."""

    NONE = ""
    ANSWERED = "answered"
    AWAY = "away"


@dataclass(frozen=True)
class Outcome:
    state: Ending
    sentence: str = ""
    contact: Contact = Contact.NONE
    transfer_syntax: str = ""  # where it was another than the first of the configuration


@dataclass(frozen=True)
class Sending:
    settings: Settings
    database: Database
    queue: JobQueue
    stages: Stages

    def send(self, attempt: Attempt) -> dict[str, str]:
        """Try once, unless the circuit of the destination is open; the `Outcome` as JSON."""
        return asdict(self._send(attempt))

    def settle(self, attempt: Attempt, given: dict[str, str]) -> str:
        """Record how an attempt ended; the next attempt is a job of its own that waits outside."""
        outcome = _outcome(given)
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
            return Outcome(Ending.ENDED)
        return self._unless_late(attempt, self._deliver(delivery))

    def _deliver(self, delivery: Delivery) -> Outcome:
        """What is not refused for good is tried again."""
        try:
            _check_unchanged(delivery.segmentation)
            destination = self._destination(delivery.destination)
        except DeliveryRefusedError as error:
            return Outcome(Ending.REFUSED, str(error))
        try:
            sent = self.stages.deliver(
                destination, [delivery.segmentation.path], self.settings.scp.ae_title
            )
        except DestinationAwayError as error:
            return Outcome(Ending.AGAIN, str(error), Contact.AWAY)
        except DeliveryRefusedError as error:
            return Outcome(Ending.REFUSED, str(error), Contact.ANSWERED)
        except DeliveryError as error:
            return Outcome(Ending.AGAIN, str(error), Contact.ANSWERED)
        except Exception as error:  # noqa: BLE001  the edge of the worker
            return Outcome(Ending.AGAIN, sentence_of(error))
        sentence = "; ".join(sent.warnings)
        first = resolve(delivery.destination, self.settings).transfer_syntaxes[0]
        other = "" if sent.transfer_syntax == first else sent.transfer_syntax
        return Outcome(Ending.DELIVERED, sentence, Contact.ANSWERED, other)

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
        if outcome.state not in (Ending.AGAIN, Ending.PARKED) or time.time() < attempt.deadline:
            return outcome
        hours = f"{self.settings.delivery.give_up_after_hours:g}"
        sentence = f"gave up after {hours} hours; at last: {outcome.sentence}"
        return Outcome(Ending.REFUSED, sentence, outcome.contact)

    def _settle(self, connection: Connection, attempt: Attempt, outcome: Outcome) -> None:
        key = attempt.delivery_id
        match outcome.state:
            case Ending.DELIVERED:
                deliveries.mark_delivered(connection, key)
                self._note_dialect(connection, key, outcome.transfer_syntax)
            case Ending.REFUSED:
                deliveries.mark_refused(connection, key, outcome.sentence)
            case Ending.AGAIN:
                self._try_later(connection, attempt, outcome.sentence)
            case Ending.PARKED:
                self._park(connection, attempt)
        if outcome.state is Ending.ENDED:
            return
        delivery = deliveries.load(connection, key)
        self._note_contact(connection, delivery, outcome)
        if outcome.state in (Ending.DELIVERED, Ending.REFUSED):
            audit.append(
                connection,
                outcome.state,
                delivery.segmentation.sop_instance_uid,
                {"destination": delivery.destination, "sentence": outcome.sentence},
            )

    def _note_dialect(self, connection: Connection, key: int, taken: str) -> None:
        name, now = deliveries.load(connection, key).destination, datetime.now(UTC)
        if taken != dialects.recall(connection, name, now):
            dialects.remember(connection, name, taken, now)

    def _try_later(self, connection: Connection, attempt: Attempt, sentence: str) -> None:
        later = attempt.next(self.settings.delivery)
        at = datetime.now(UTC) + timedelta(seconds=later.wait_seconds)
        deliveries.mark_failed(connection, attempt.delivery_id, sentence, at)
        self.queue.enqueue_delivery(connection, later)

    def _park(self, connection: Connection, attempt: Attempt) -> None:
        """It goes on, after its turn, as if it had not been tried yet."""
        delivery = deliveries.load(connection, attempt.delivery_id)
        number = attempt.number + 1
        parked.park(connection, Parked(delivery.id, delivery.destination, number, attempt.deadline))
        deliveries.mark_parked(connection, delivery.id)

    def _note_contact(self, connection: Connection, delivery: Delivery, outcome: Outcome) -> None:
        name = delivery.destination
        if outcome.contact is Contact.AWAY:
            settings, now = self.settings.delivery, datetime.now(UTC)
            if circuits.note_failure(
                connection, name, delivery.id, outcome.sentence, settings, now
            ):
                log.error("a destination is away: %s", outcome.sentence)
        elif outcome.contact is Contact.ANSWERED and circuits.note_answer(connection, name):
            log.warning("a destination is back", extra={"destination": name})


def _outcome(given: dict[str, str]) -> Outcome:
    """An attempt that an earlier version began says nothing of the destination."""
    contact = Contact(given.get("contact", ""))
    taken = given.get("transfer_syntax", "")
    return Outcome(Ending(given["state"]), given["sentence"], contact, taken)


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
