"""The associations that a process accepts: who is let in, and what is kept of each until it ends.

Both SCPs of the node, the receiver and the gate, put their own services on top of it.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Generic, TypeVar

from pynetdicom import evt
from pynetdicom.association import Association

from dicomnode.config import SCPSettings
from dicomnode.delivery.guard import Limits, guard
from dicomnode.dimse.admission import AssociationRequest, Rejection
from dicomnode.dimse.direct import Store, read_directly
from dicomnode.dimse.received import association_request
from dicomnode.dimse.store import SUCCESS
from dicomnode.rates import Rates, address_key

LOGGER = logging.getLogger("dicomnode.scp")
State = TypeVar("State")
# Rejected associations of an address that are told: a flood must not grow the audit log, which is
# never shortened. The log has each of them.
_RECORDS_PER_MINUTE = 60


class AcceptedAssociations(Generic[State]):
    """Called from the threads of the associations; the first event that ends one counts.

    `admit` says who is not welcome, `rejected` is told of it, 60 times a minute for each address
    at most. `opened` makes what is kept of an
    association, `closed` is given it with how it ended: released, aborted or lost. `store` is given
    C-STORE requests past pynetdicom; None: they all come by its events.
    """

    def __init__(
        self,
        settings: SCPSettings,
        *,
        admit: Callable[[AssociationRequest], Rejection | None],
        rejected: Callable[[AssociationRequest, Rejection], None],
        opened: Callable[[AssociationRequest], State],
        closed: Callable[[State, str], None],
        store: Store | None = None,
    ) -> None:
        self._limits = Limits(
            settings.network_timeout_seconds,
            settings.maximum_object_bytes,
            opening_seconds=settings.acse_timeout_seconds,
        )
        self._admit = admit
        self._rejected = rejected
        self._opened = opened
        self._closed = closed
        self._store = store
        self._open: dict[Association, State] = {}
        self._recording = Rates(_RECORDS_PER_MINUTE)
        self._lock = threading.Lock()

    def handlers(self) -> list[evt.EventHandlerType]:
        return [
            (evt.EVT_CONN_OPEN, self._on_connection),
            (evt.EVT_REQUESTED, self._on_request),
            (evt.EVT_ACCEPTED, self._on_accepted),
            (evt.EVT_C_ECHO, lambda _event: SUCCESS),
            (evt.EVT_RELEASED, lambda event: self._close(event.assoc, "released")),
            (evt.EVT_ABORTED, lambda event: self._close(event.assoc, "aborted")),
            (evt.EVT_CONN_CLOSE, lambda event: self._close(event.assoc, "lost")),
        ]

    def of(self, association: Association) -> State | None:
        """None where it has ended, while its last message was on its way here."""
        with self._lock:
            return self._open.get(association)

    def close_ended(self) -> None:
        """A thread that ended without an event must not leave its association open."""
        with self._lock:
            ended = [association for association in self._open if not association.is_alive()]
        for association in ended:
            self._close(association, "lost")

    def _on_connection(self, event: evt.Event) -> None:
        reader = guard(event.assoc, self._limits)
        if reader is not None and self._store is not None:
            read_directly(event.assoc, reader, self._store)

    def _on_request(self, event: evt.Event) -> None:
        """PS3.8 7.1.1: answer an A-ASSOCIATE-RQ that isn't welcome with a reason."""
        association = event.assoc
        request = association_request(association)
        rejection = self._admit(request)
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
        if not self._recording.seconds_to_wait(address_key(request.peer_address)):
            self._rejected(request, rejection)
        association.acse.send_reject(rejection.result, rejection.source, rejection.diagnostic)
        # Waits until the rejection is out, as pynetdicom does after its own rejections.
        association.kill()

    def _on_accepted(self, event: evt.Event) -> None:
        request = association_request(event.assoc)
        state = self._opened(request)
        with self._lock:
            self._open[event.assoc] = state

    def _close(self, association: Association, outcome: str) -> None:
        with self._lock:
            state = self._open.pop(association, None)
        if state is not None:
            self._closed(state, outcome)
