"""What happens on the events of an association; the only place that answers a C-STORE.

Success is answered after the intake has the object, and only then.
"""

from __future__ import annotations

import logging

from pydicom.dataset import Dataset
from pynetdicom import evt

from dicomnode.config import SCPSettings
from dicomnode.dimse.accepted import AcceptedAssociations
from dicomnode.dimse.admission import NO_SPACE, AssociationRequest, Rejection, decide
from dicomnode.dimse.received import association_request, peer_of
from dicomnode.dimse.store import SUCCESS as SUCCESS
from dicomnode.dimse.store import answer_store
from dicomnode.intake.intake import Intake
from dicomnode.intake.received import Peer

LOGGER = logging.getLogger("dicomnode.scp")


class Receiver:
    """The handlers of one receiving process; called from the threads of its associations."""

    def __init__(self, settings: SCPSettings, intake: Intake) -> None:
        self._settings = settings
        self._intake = intake
        self._associations = AcceptedAssociations(
            settings,
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
        return answer_store(event, peer, self._intake.store)

    def _admit(self, request: AssociationRequest) -> Rejection | None:
        unwelcome = decide(self._settings, request)
        if unwelcome is None and request.may_store and self._intake.is_full():
            return NO_SPACE
        return unwelcome

    def _note_rejected(self, request: AssociationRequest, rejection: Rejection) -> None:
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
