"""What happens on the events of an association; the only place that answers a C-STORE.

Success is answered after the intake has the object, and only then.
"""

from __future__ import annotations

import logging
import time

from pydicom.dataset import Dataset
from pynetdicom import evt

from dicomnode.config import Settings
from dicomnode.dimse.accepted import AcceptedAssociations
from dicomnode.dimse.admission import NO_SPACE, AssociationRequest, Rejection, decide
from dicomnode.dimse.received import association_request, peer_of
from dicomnode.dimse.store import SUCCESS as SUCCESS
from dicomnode.dimse.store import answer_store
from dicomnode.intake.intake import Intake
from dicomnode.intake.received import Peer
from dicomnode.log_context import about
from dicomnode.meters import OTHER, Meters

LOGGER = logging.getLogger("dicomnode.scp")


class Receiver:
    """The handlers of one receiving process; called from the threads of its associations."""

    def __init__(self, settings: Settings, intake: Intake, meters: Meters) -> None:
        self._settings = settings.scp
        self._intake = intake
        self._meters = meters
        # A peer chooses its AE title; only those that somebody configured become a label.
        self._named = {
            *settings.scp.allowed_calling_ae_titles,
            *(source.ae_title for source in settings.sources),
        }
        self._associations = AcceptedAssociations(
            settings.scp,
            admit=self._admit,
            rejected=self._note_rejected,
            opened=self._begin,
            closed=self._end,
        )

    def handlers(self) -> list[evt.EventHandlerType]:
        return [*self._associations.handlers(), (evt.EVT_C_STORE, self.on_store)]

    def close_ended(self) -> None:
        self._associations.close_ended()

    def on_store(self, event: evt.Event) -> Dataset | int:
        peer = self._associations.of(event.assoc)
        # The connection may have been closed while its last object was on its way here.
        peer = peer or peer_of(association_request(event.assoc), association_id="")
        timing = self._meters.timing("receive_seconds", way="c-store")
        with about(association=peer.association_id), timing:
            answer = answer_store(event, peer, self._intake.store)
        outcome = "stored" if answer == SUCCESS else "refused"
        self._meters.count("objects_received_total", way="c-store", outcome=outcome)
        return answer

    def _admit(self, request: AssociationRequest) -> Rejection | None:
        unwelcome = decide(self._settings, request)
        if unwelcome is None and request.may_store and self._intake.is_full():
            return NO_SPACE
        return unwelcome

    def _note_rejected(self, request: AssociationRequest, rejection: Rejection) -> None:
        self._meters.count("associations_rejected_total", reason=rejection.sentence)
        self._intake.audit(
            "association rejected",
            request.calling_ae_title,
            reason=rejection.sentence,
            called_ae_title=request.called_ae_title,
            peer=request.peer_address,
        )

    def _begin(self, request: AssociationRequest) -> Peer:
        peer = self._intake.opened(
            calling_ae_title=request.calling_ae_title,
            called_ae_title=request.called_ae_title,
            address=request.peer_address,
        )
        sender = peer.calling_ae_title if peer.calling_ae_title in self._named else OTHER
        self._meters.count("associations_accepted_total", sender=sender)
        self._meters.set("sender_last_seen_timestamp_seconds", time.time(), sender=sender)
        LOGGER.info(
            "association accepted",
            extra={
                "association": peer.association_id,
                "calling_ae_title": peer.calling_ae_title,
                "peer": peer.address,
            },
        )
        return peer

    def _end(self, peer: Peer, outcome: str) -> None:
        self._intake.closed(peer, outcome)
        LOGGER.info(
            "association closed", extra={"association": peer.association_id, "outcome": outcome}
        )
