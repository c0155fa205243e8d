"""What happens on the events of an association with the gate."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Callable, Iterator
from contextlib import suppress

from pydicom.dataset import Dataset
from pynetdicom import evt
from pynetdicom.association import Association
from pynetdicom.sop_class import (  # type: ignore[attr-defined]
    StudyRootQueryRetrieveInformationModelFind,
    Verification,
)

from dicomnode.config import Settings
from dicomnode.dimse.accepted import AcceptedAssociations
from dicomnode.dimse.admission import AssociationRequest, Rejection, decide
from dicomnode.dimse.received import peer_of
from dicomnode.dimse.store import SUCCESS, received_object, status_response
from dicomnode.errors import (
    DatabaseError,
    DeliveryError,
    DeliveryRefusedError,
    DicomnodeError,
    SpoolError,
)
from dicomnode.gate_scp.door import HeldError, Passage, Ways
from dicomnode.gate_scp.find import (
    BadQuestionError,
    Question,
    Released,
    TooManyStudiesError,
    read_question,
)
from dicomnode.gate_scp.waiting import WaitingRoom
from dicomnode.intake.intake import checked
from dicomnode.intake.refusals import REFUSALS, RefusedObjectError, reason_of
from dicomnode.tracking import audit
from dicomnode.tracking.held import HeldState

LOGGER = logging.getLogger("dicomnode.gate")

# The Status of a C-STORE response (PS3.4 B.2.3) beside those of `intake.refusals`, and its Error
# Comment. A warning says that the object was stored, and of the warnings of the Storage Service
# this is the one about the object as such; a failure leaves the object with its sender.
HELD = {
    HeldState.WAITING: (0xB007, "Not forwarded: it waits at the gate until it may leave"),
    HeldState.CHANGED: (0xB007, "Not forwarded: it is not what was examined, and waits"),
}
ARCHIVE_AWAY = (0xA700, "The archive does not take it now, send again later")
ARCHIVE_REFUSES = (0xC010, "The archive does not take this object")
# Statuses of C-FIND (PS3.4 Table C.4-1).
PENDING, CANCELLED = 0xFF00, 0xFE00
TOO_MANY = (0xA700, "More than the gate answers at once: ask for fewer studies")
BAD_QUESTION = 0xA900
NOT_ANSWERED = (0xC001, "The gate can't answer now")

_NO_STORAGE = (str(Verification), str(StudyRootQueryRetrieveInformationModelFind))


class Caller:
    """One association: who is there, and the way out for what is sent."""

    def __init__(self, ways: Ways, request: AssociationRequest) -> None:
        self.title = ways.titles[request.called_ae_title]
        self.peer = peer_of(request, association_id=uuid.uuid4().hex)
        self._ways = ways
        self._passage: Passage | None = None

    def passage(self, association: Association) -> Passage:
        """Made for the first object: only then it is known what the association may bring."""
        if self._passage is None:
            encodings = [
                (str(context.abstract_syntax), str(context.transfer_syntax[0]))
                for context in association.accepted_contexts
                if context.abstract_syntax not in _NO_STORAGE
            ]
            caller = self.peer.calling_ae_title
            self._passage = Passage(self._ways, self.title, caller, encodings)
        return self._passage

    def end(self) -> None:
        if self._passage is not None:
            self._passage.close()


class GateHandlers:
    """Called from the threads of the associations; `released` answers for a project."""

    def __init__(
        self,
        settings: Settings,
        ways: Ways,
        room: WaitingRoom,
        released: Callable[[str], Released],
    ) -> None:
        self._settings = settings
        self._ways = ways
        self._room = room
        self._released = released
        self._associations = AcceptedAssociations(
            settings.scp,
            admit=self._admit,
            rejected=self._note_rejected,
            opened=self._begin,
            closed=_end,
        )

    def handlers(self) -> list[evt.EventHandlerType]:
        services = [(evt.EVT_C_STORE, self.on_store), (evt.EVT_C_FIND, self.on_find)]
        return [*self._associations.handlers(), *services]

    def close_ended(self) -> None:
        self._associations.close_ended()

    def on_store(self, event: evt.Event) -> Dataset | int:
        """PS3.4 B.2.3: success when the archive has it, a warning when it is kept here."""
        caller = self._associations.of(event.assoc)
        if caller is None:  # it ended while its last object was on its way here
            return status_response(*ARCHIVE_AWAY)
        try:
            return self._store(caller, caller.passage(event.assoc), event)
        except RefusedObjectError as refused:
            LOGGER.warning("object refused: %s", refused)
            return status_response(*REFUSALS[refused.reason])
        except (DatabaseError, SpoolError) as error:
            LOGGER.error("an object could not be taken in", extra={"error": str(error)})
            return status_response(*REFUSALS[reason_of(error)])

    def on_find(self, event: evt.Event) -> Iterator[tuple[int | Dataset, Dataset | None]]:
        """PS3.4 C.4.1: a response for each match, then how it ended."""
        caller = self._associations.of(event.assoc)
        if caller is None:
            return
        count = 0
        try:
            question = _question(event)
            for answer in self._released(caller.title.project).answers(question):
                if event.is_cancelled:
                    yield CANCELLED, None
                    return
                if not _is_waiting(event.assoc):
                    return
                if answer is None:
                    continue
                if count == self._settings.gate_ae.maximum_answers:
                    yield status_response(*TOO_MANY), None
                    return
                count += 1
                yield PENDING, answer
        except BadQuestionError as bad:
            yield status_response(BAD_QUESTION, str(bad)), None
        except TooManyStudiesError:
            yield status_response(*TOO_MANY), None
        except DicomnodeError as error:
            LOGGER.error("a question can't be answered", extra={"error": str(error)})
            yield status_response(*NOT_ANSWERED), None
        LOGGER.info("answered", extra={"answers": count})

    def _store(self, caller: Caller, passage: Passage, event: evt.Event) -> Dataset | int:
        """Raises what leaves the object with its sender."""
        received = received_object(event, caller.peer)
        header = checked(received, self._settings.scp.malformed_uids).header
        try:
            passage.let_pass(header, received)
        except HeldError as held:
            self._room.keep(passage.project, header, received, held)
            LOGGER.warning("held", extra={"instance": header.sop_instance_uid})
            return status_response(*HELD[held.state])
        except DeliveryRefusedError as refused:
            LOGGER.warning("not forwarded: %s", refused)
            return status_response(*ARCHIVE_REFUSES)
        except DeliveryError as error:
            LOGGER.warning("not forwarded: %s", error)
            return status_response(*ARCHIVE_AWAY)
        return SUCCESS

    def _admit(self, request: AssociationRequest) -> Rejection | None:
        """By the allow-lists of `[gate_ae]`, its AE titles, and the limits of `[scp]`."""
        own, titles = self._settings.gate_ae, self._ways.titles
        called = request.called_ae_title
        here = {
            "ae_title": called if called in titles else next(iter(titles)),
            "require_called_ae_title": True,
            "allowed_calling_ae_titles": own.allowed_calling_ae_titles,
            "allowed_networks": own.allowed_networks,
            "tls": own.tls,
        }
        return decide(self._settings.scp.model_copy(update=here), request, "gate_ae")

    def _note_rejected(self, request: AssociationRequest, rejection: Rejection) -> None:
        detail = {
            "reason": rejection.sentence,
            "called_ae_title": request.called_ae_title,
            "peer": request.peer_address,
        }
        with (
            suppress(DatabaseError),  # it is rejected all the same
            self._ways.database.begin() as connection,
        ):
            audit.append(connection, "association rejected", request.calling_ae_title, detail)

    def _begin(self, request: AssociationRequest) -> Caller:
        caller = Caller(self._ways, request)
        LOGGER.info(
            "association accepted",
            extra={
                "association": caller.peer.association_id,
                "calling_ae_title": request.calling_ae_title,
                "called_ae_title": request.called_ae_title,
                "peer": request.peer_address,
            },
        )
        return caller


def _is_waiting(association: Association) -> bool:
    """Whether the peer is still there; an abort lies in a queue until this thread looks."""
    return association.is_established and not association.acse.is_aborted()


def _question(event: evt.Event) -> Question:
    try:
        return read_question(event.identifier)
    except BadQuestionError:
        raise
    except Exception as error:  # noqa: BLE001  the edge: pydicom decodes what a peer sent
        # Its message could quote what the peer wrote.
        LOGGER.warning("a question can't be read", extra={"error": type(error).__name__})
        raise BadQuestionError("the identifier can't be read") from None


def _end(caller: Caller, outcome: str) -> None:
    caller.end()
    known = {"association": caller.peer.association_id, "outcome": outcome}
    LOGGER.info("association closed", extra=known)
