"""What happens on the events of an association; the only place that answers a C-STORE.

Nothing is decoded here: a walk over the encoded data set finds the UIDs and whether it is whole.
Success is answered after the bytes are durable and the gate knows that something came for their
series (`Arrivals`), and only then.
"""

from __future__ import annotations

import logging
import threading
import uuid
from contextlib import suppress
from datetime import UTC, datetime

from pydicom.dataset import Dataset
from pynetdicom import evt
from pynetdicom.association import Association

from dicomnode.config import SCPSettings
from dicomnode.dicom.encoded import Peek, claimed_header, peek
from dicomnode.dicom.uid_syntax import has_leading_zero, is_uid, only_uid
from dicomnode.domain import StoredInstance
from dicomnode.errors import DatabaseError, OutOfSpaceError, SpoolError, UnreadableObjectError
from dicomnode.scp.admission import decide
from dicomnode.scp.guard import Limits, guard
from dicomnode.scp.received import (
    Peer,
    ReceivedObject,
    association_request,
    peer_of,
    received_object,
    status_response,
)
from dicomnode.scp.refusals import REFUSALS, Reason, RefusedObjectError, require_consistent
from dicomnode.tracking.arrivals import Arrivals
from dicomnode.tracking.associations import ClosedAssociation, OpenedAssociation
from dicomnode.tracking.audit import AuditEvent
from dicomnode.tracking.indexer import Indexer
from dicomnode.tracking.instances import RepeatedInstance
from dicomnode.tracking.quarantine import QuarantinedObject
from dicomnode.tracking.spool import Spool, StoreOutcome, StoreResult

LOGGER = logging.getLogger("dicomnode.scp")
SUCCESS = 0x0000


class Receiver:
    """The handlers of one receiving process; called from the threads of its associations."""

    def __init__(
        self,
        settings: SCPSettings,
        spool: Spool,
        arrivals: Arrivals,
        indexer: Indexer,
        receiver_id: str,
    ) -> None:
        self._settings = settings
        self._spool = spool
        self._arrivals = arrivals
        self._indexer = indexer
        self._receiver_id = receiver_id
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
        self._audit(
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
        peer = peer_of(association_request(event.assoc), association_id=uuid.uuid4().hex)
        with self._lock:
            self._peers[event.assoc] = peer
        opened = OpenedAssociation(
            id=peer.association_id,
            receiver_id=self._receiver_id,
            calling_ae_title=peer.calling_ae_title,
            called_ae_title=peer.called_ae_title,
            peer_address=peer.address,
            at=datetime.now(UTC),
        )
        self._arrivals.opened(opened)
        self._indexer.put(opened)
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
        self._arrivals.ended(peer.association_id)
        self._indexer.put(ClosedAssociation(peer.association_id, outcome, datetime.now(UTC)))
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
        """PS3.4 B.2.3 and PS3.7 9.1.1: the C-STORE response status, 0x0000 when durable."""
        received = received_object(event, self._peer(event.assoc))
        try:
            return self._store(received)
        except RefusedObjectError as refused:
            return self._refuse(received, refused)
        except OutOfSpaceError as error:
            LOGGER.error("no space for an object", extra={"error": str(error)})
            return status_response(*REFUSALS[Reason.OUT_OF_SPACE])
        except DatabaseError as error:
            LOGGER.error("an object could not be recorded", extra={"error": str(error)})
            return status_response(*REFUSALS[Reason.NOT_RECORDED])
        except SpoolError as error:
            LOGGER.error("an object could not be stored", extra={"error": str(error)})
            return status_response(*REFUSALS[Reason.NOT_STORED])

    def _store(self, received: ReceivedObject) -> int:
        found = _read(received)
        require_consistent(
            found.header,
            sop_class_uid=received.sop_class_uid,
            sop_instance_uid=received.sop_instance_uid,
            context_sop_class_uid=received.context_sop_class_uid,
        )
        result = self._spool.store(
            found.header.sop_instance_uid, received.file_meta, received.data_set
        )
        if result.outcome is StoreOutcome.CONFLICT:
            raise RefusedObjectError(Reason.CONFLICT, header=found.header)
        self._index(received.peer, found, result)
        self._arrivals.record(received.peer.association_id, found.header)
        return SUCCESS

    def _index(self, peer: Peer, found: Peek, result: StoreResult) -> None:
        now = datetime.now(UTC)
        header = found.header
        if result.outcome is StoreOutcome.DUPLICATE:
            self._indexer.put(RepeatedInstance(header, peer.association_id, now))
            return
        self._indexer.put(
            StoredInstance(
                header=header,
                name=result.name,
                size_bytes=result.size_bytes,
                file_sha256=result.file_sha256,
                pixel_sha256=found.pixel_sha256,
                received_at=now,
                calling_ae_title=peer.calling_ae_title,
                called_ae_title=peer.called_ae_title,
                peer_address=peer.address,
                association_id=peer.association_id,
            )
        )
        if has_leading_zero(header.sop_instance_uid):
            self._audit("uid with a leading zero", header.sop_instance_uid, peer=peer.address)

    def _refuse(self, received: ReceivedObject, refused: RefusedObjectError) -> Dataset:
        """Keep the bytes for a person, record why, and tell the sender."""
        peer = received.peer
        try:
            kept = self._spool.quarantine(
                refused.reason.value, received.file_meta, received.data_set
            )
        except OutOfSpaceError:
            return status_response(*REFUSALS[Reason.OUT_OF_SPACE])
        self._indexer.put(_quarantined(received, refused, kept))
        self._record_refused(received, refused)
        self._audit(
            "object refused",
            peer.calling_ae_title,
            reason=refused.reason.value,
            sentence=str(refused),
            quarantined=kept.name,
            peer=peer.address,
        )
        LOGGER.warning(
            "object refused: %s",
            refused,
            extra={"association": peer.association_id, "quarantined": kept.name},
        )
        return status_response(*REFUSALS[refused.reason])

    def _record_refused(self, received: ReceivedObject, refused: RefusedObjectError) -> None:
        """Its series is held from now on, where it names one; the sender gets a failure anyway."""
        header = refused.header
        if is_uid(header.study_instance_uid) and is_uid(header.series_instance_uid):
            with suppress(DatabaseError):
                self._arrivals.record(received.peer.association_id, header)

    def _peer(self, association: Association) -> Peer:
        with self._lock:
            peer = self._peers.get(association)
        # The connection may have been closed while its last object was on its way here.
        return peer or peer_of(association_request(association), association_id="")

    def _audit(self, event: str, subject: str, **detail: str) -> None:
        self._indexer.put(AuditEvent(event, subject, detail, datetime.now(UTC)))


def _read(received: ReceivedObject) -> Peek:
    try:
        return peek(received.data_set, received.transfer_syntax_uid)
    except UnreadableObjectError as error:
        header = claimed_header(received.data_set, received.transfer_syntax_uid)
        raise RefusedObjectError(Reason.UNREADABLE, str(error), header=header) from error


def _quarantined(
    received: ReceivedObject, refused: RefusedObjectError, kept: StoreResult
) -> QuarantinedObject:
    header = refused.header
    return QuarantinedObject(
        at=datetime.now(UTC),
        name=kept.name,
        reason=refused.reason.value,
        sentence=str(refused),
        size_bytes=kept.size_bytes,
        sop_instance_uid=only_uid(header.sop_instance_uid) or only_uid(received.sop_instance_uid),
        series_instance_uid=only_uid(header.series_instance_uid),
        study_instance_uid=only_uid(header.study_instance_uid),
        modality=header.modality,
        calling_ae_title=received.peer.calling_ae_title,
        peer_address=received.peer.address,
    )
