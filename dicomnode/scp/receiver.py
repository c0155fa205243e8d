"""What happens on the events of an association; the only place that answers a C-STORE.

Success is answered after the intake has the object, and only then.
"""

from __future__ import annotations

import logging
import time

from pydicom.dataset import Dataset
from pynetdicom import evt
from pynetdicom.association import Association

from dicomnode.config import Settings
from dicomnode.dimse.accepted import AcceptedAssociations
from dicomnode.dimse.admission import NO_SPACE, AssociationRequest, Rejection, decide
from dicomnode.dimse.command_set import StoreRequest
from dicomnode.dimse.direct import Context
from dicomnode.dimse.received import association_request, peer_of
from dicomnode.dimse.store import SUCCESS as SUCCESS
from dicomnode.dimse.store import answer, received_object, status_response
from dicomnode.intake.intake import Intake
from dicomnode.intake.received import Peer, ReceivedObject
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
            store=self.on_direct_store if settings.scp.read_directly else None,
        )

    def handlers(self) -> list[evt.EventHandlerType]:
        return [*self._associations.handlers(), (evt.EVT_C_STORE, self.on_store)]

    def close_ended(self) -> None:
        self._associations.close_ended()

    def on_store(self, event: evt.Event) -> Dataset | int:
        """The way by pynetdicom."""
        status, comment = self._answer(received_object(event, self._peer(event.assoc)))
        return status_response(status, comment) if comment else status

    def on_direct_store(
        self, association: Association, request: StoreRequest, context: Context, data: memoryview
    ) -> tuple[int, str]:
        """The way past it (`dimse.direct`)."""
        peer = self._peer(association)
        uids = (request.sop_class_uid, request.sop_instance_uid)
        return self._answer(ReceivedObject(peer, *uids, *context, data))

    def _answer(self, received: ReceivedObject) -> tuple[int, str]:
        timing = self._meters.timing("receive_seconds", way="c-store")
        with about(association=received.peer.association_id), timing:
            status, comment = answer(received, self._intake.store)
        outcome = "stored" if status == SUCCESS else "refused"
        self._meters.count("objects_received_total", way="c-store", outcome=outcome)
        return status, comment

    def _peer(self, association: Association) -> Peer:
        """The connection may have been closed while its last object was on its way here."""
        known = self._associations.of(association)
        return known or peer_of(association_request(association), association_id="")

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
