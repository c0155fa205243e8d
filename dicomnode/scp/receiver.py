"""What happens on the events of an association; the only place that answers a C-STORE.

Success is answered after the intake has the object, and only then.
"""

from __future__ import annotations

import logging
import threading

from pydicom.dataset import Dataset
from pynetdicom import evt
from pynetdicom.association import Association

from dicomnode.config import SCPSettings
from dicomnode.delivery.guard import Limits, guard
from dicomnode.dimse.store import SUCCESS, answer_store
from dicomnode.intake.intake import Intake
from dicomnode.intake.received import Peer
from dicomnode.scp.admission import decide
from dicomnode.scp.received import (
    association_request,
    peer_of,
)

LOGGER = logging.getLogger("dicomnode.scp")


class Receiver:
    """The handlers of one receiving process; called from the threads of its associations."""

    def __init__(self, settings: SCPSettings, intake: Intake) -> None:
        self._settings = settings
        self._intake = intake
        self._limits = Limits(settings.network_timeout_seconds, settings.maximum_object_bytes)
        self._peers: dict[Association, Peer] = {}
        self._lock = threading.Lock()

    def handlers(self) -> list[evt.EventHandlerType]:
        return [
            (evt.EVT_CONN_OPEN, self.on_connection),
            (evt.EVT_REQUESTED, self.on_request),
            (evt.EVT_ACCEPTED, self.on_accepted),
            (evt.EVT_C_ECHO, lambda _event: SUCCESS),
            (evt.EVT_C_STORE, self.on_store),
            (evt.EVT_RELEASED, lambda event: self.close(event.assoc, "released")),
            (evt.EVT_ABORTED, lambda event: self.close(event.assoc, "aborted")),
            (evt.EVT_CONN_CLOSE, lambda event: self.close(event.assoc, "lost")),
        ]

    def on_connection(self, event: evt.Event) -> None:
        guard(event.assoc, self._limits)

    def on_request(self, event: evt.Event) -> None:
        """PS3.8 7.1.1: answer an A-ASSOCIATE-RQ that isn't welcome with a reason."""
        association = event.assoc
        request = association_request(association)
        rejection = decide(self._settings, request)
        if rejection is None:
            return
        LOGGER.warning(
            "association rejected: %s",
            rejection.sentence,
            extra={
                "calling_ae_title": request.calling_ae_title,
                "called_ae_title": request.called_ae_title,
                "peer": request.peer_address,
            },
        )
        self._intake.audit(
            "association rejected",
            request.calling_ae_title,
            reason=rejection.sentence,
            called_ae_title=request.called_ae_title,
            peer=request.peer_address,
        )
        association.acse.send_reject(rejection.result, rejection.source, rejection.diagnostic)
        # Waits until the rejection is out, as pynetdicom does after its own rejections.
        association.kill()

    def on_accepted(self, event: evt.Event) -> None:
        request = association_request(event.assoc)
        peer = self._intake.opened(
            calling_ae_title=request.calling_ae_title,
            called_ae_title=request.called_ae_title,
            address=request.peer_address,
        )
        with self._lock:
            self._peers[event.assoc] = peer
        LOGGER.info(
            "association accepted",
            extra={
                "association": peer.association_id,
                "calling_ae_title": peer.calling_ae_title,
                "peer": peer.address,
            },
        )

    def close(self, association: Association, outcome: str) -> None:
        """The first event that ends an association counts."""
        with self._lock:
            peer = self._peers.pop(association, None)
        if peer is None:
            return
        self._intake.closed(peer, outcome)
        LOGGER.info(
            "association closed", extra={"association": peer.association_id, "outcome": outcome}
        )

    def close_ended(self) -> None:
        """A thread that ended without an event must not leave its association open."""
        with self._lock:
            ended = [association for association in self._peers if not association.is_alive()]
        for association in ended:
            self.close(association, "lost")

    def on_store(self, event: evt.Event) -> Dataset | int:
        return answer_store(event, self._peer(event.assoc), self._intake.store)

    def _peer(self, association: Association) -> Peer:
        with self._lock:
            peer = self._peers.get(association)
        # The connection may have been closed while its last object was on its way here.
        return peer or peer_of(association_request(association), association_id="")
