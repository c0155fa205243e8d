"""The durable path: the only place that makes an object the node's, whatever brought it.

Nothing is decoded here: a walk over the encoded data set finds the UIDs and whether it is whole.
`store` returns after the bytes are durable, and only then; their digests follow with the row,
unless many wait for theirs. Before it touches the spool, gate and retention know that something
comes for their series (`Arrivals`).
"""

from __future__ import annotations

import hashlib
import logging
import uuid
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from typing import Literal

from dicomnode.config import SCPSettings
from dicomnode.dicom.encoded import Scan, claimed_header, peek, scan
from dicomnode.dicom.uid_syntax import is_uid, only_uid
from dicomnode.domain import InstanceHeader, StoredInstance
from dicomnode.errors import DatabaseError, SpoolError, UnreadableObjectError
from dicomnode.intake.received import Peer, ReceivedObject, received_from_file
from dicomnode.intake.refusals import (
    Reason,
    RefusedObjectError,
    malformed_attributes,
    reason_of,
    require_consistent,
    require_uids,
)
from dicomnode.intake.undigested import UndigestedInstance
from dicomnode.tracking.arrivals import Arrivals
from dicomnode.tracking.associations import ClosedAssociation, OpenedAssociation
from dicomnode.tracking.audit import AuditEvent
from dicomnode.tracking.database import Database
from dicomnode.tracking.indexer import Indexer
from dicomnode.tracking.quarantine import QuarantinedObject
from dicomnode.tracking.spool import Spool, StoreOutcome, StoreResult

LOGGER = logging.getLogger("dicomnode.intake")


class Intake:
    """One per process that takes in objects; called from any number of threads."""

    def __init__(
        self, settings: SCPSettings, database: Database, spool: Spool, receiver_id: str
    ) -> None:
        self._malformed_uids: Literal["accept", "refuse"] = settings.malformed_uids
        self._spool = spool
        self._arrivals = Arrivals(database)
        self._indexer = Indexer(database, receiver_id)
        self._receiver_id = receiver_id

    def use(self, settings: SCPSettings) -> None:
        """Take in what comes from now on under these settings."""
        self._malformed_uids = settings.malformed_uids
        self._spool.keep_free(settings.minimum_free_bytes)

    def start(self) -> None:
        self._indexer.start()

    def is_alive(self) -> bool:
        """Whether rows are still written."""
        return self._indexer.is_alive()

    def is_full(self) -> bool:
        """Whether nothing more is taken in; False where the disk can't be asked: each object is
        told then."""
        try:
            return self._spool.is_full()
        except OSError:
            return False

    def stop(self) -> None:
        """Write the rows that wait, for as long as is reasonable."""
        self._indexer.stop()

    def opened(self, *, calling_ae_title: str, called_ae_title: str, address: str) -> Peer:
        """An association begins, or what counts as one: its series are not whole until it ends."""
        peer = Peer(uuid.uuid4().hex, calling_ae_title, called_ae_title, address)
        opened = OpenedAssociation(
            id=peer.association_id,
            receiver_id=self._receiver_id,
            calling_ae_title=calling_ae_title,
            called_ae_title=called_ae_title,
            peer_address=address,
            at=datetime.now(UTC),
        )
        self._arrivals.opened(opened)
        self._indexer.put(opened)
        return peer

    def closed(self, peer: Peer, outcome: str) -> None:
        """`outcome` is released, aborted or lost."""
        self._arrivals.ended(peer.association_id)
        self._indexer.put(ClosedAssociation(peer.association_id, outcome, datetime.now(UTC)))

    def store(self, received: ReceivedObject, *, study_instance_uid: str = "") -> InstanceHeader:
        """Make the object durable; what it says of itself is returned.

        A `study_instance_uid` has to be the object's own. Raises `RefusedObjectError` for an object
        that is in the quarantine now, `OutOfSpaceError`, `DatabaseError` and `SpoolError`: then it
        is the sender's still. One that could not be written is on record like a refused one: a
        sender that doesn't come again leaves a hole.
        """
        try:
            return self._store(received, study_instance_uid)
        except RefusedObjectError as refused:
            self._refuse(received, refused)
            raise
        except (DatabaseError, SpoolError) as error:
            header = claimed_header(received.data_set, received.transfer_syntax_uid)
            self._note_not_kept(received, RefusedObjectError(reason_of(error), header=header))
            raise

    def store_file(
        self, peer: Peer, data: bytes, *, study_instance_uid: str = ""
    ) -> InstanceHeader:
        """`store` for a DICOM file (PS3.10); bytes that are none are refused in the same way."""
        try:
            received = received_from_file(peer, data)
        except UnreadableObjectError as error:
            received = ReceivedObject(peer, "", "", "", "", data)
            refused = RefusedObjectError(
                Reason.UNREADABLE, str(error), header=claimed_header(b"", "")
            )
            self._refuse(received, refused)
            raise refused from error
        return self.store(received, study_instance_uid=study_instance_uid)

    def audit(self, event: str, subject: str, **detail: str) -> None:
        self._indexer.put(AuditEvent(event, subject, detail, datetime.now(UTC)))

    def _store(self, received: ReceivedObject, study_instance_uid: str) -> InstanceHeader:
        found = checked(received, self._malformed_uids)
        header = found.header
        if study_instance_uid not in ("", header.study_instance_uid):
            raise RefusedObjectError(Reason.OTHER_STUDY, header=header)
        # Before a look at what is there: retention and `forget` must not take it away after that.
        self._arrivals.record(received.peer.association_id, header)
        result = self._spool.store(
            header.sop_instance_uid,
            received.file_meta,
            received.data_set,
            digested=self._indexer.is_behind(),
        )
        if result.outcome is StoreOutcome.CONFLICT:
            raise RefusedObjectError(Reason.CONFLICT, header=header)
        self._index(received, found, result)
        return header

    def _index(self, received: ReceivedObject, found: Scan, result: StoreResult) -> None:
        """Also of a duplicate: whoever took it in first may have been killed before its row was
        written, and its sender is still at work on the series."""
        header, peer = found.header, received.peer
        instance = StoredInstance(
            header=header,
            name=result.name,
            size_bytes=result.size_bytes,
            file_sha256=result.file_sha256,
            pixel_sha256="",
            data_set_sha256="",
            received_at=datetime.now(UTC),
            calling_ae_title=peer.calling_ae_title,
            called_ae_title=peer.called_ae_title,
            peer_address=peer.address,
            association_id=peer.association_id,
            was_there=result.outcome is StoreOutcome.DUPLICATE,
        )
        if result.file_sha256:
            known = peek(received.data_set, received.transfer_syntax_uid)
            pixels, around = known.pixel_sha256, known.data_set_sha256
            self._indexer.put(replace(instance, pixel_sha256=pixels, data_set_sha256=around))
        else:
            path, at = self._spool.path(result.name), result.size_bytes - len(received.data_set)
            self._indexer.put(UndigestedInstance(instance, path, at, found))
        if result.outcome is StoreOutcome.STORED and (malformed := malformed_attributes(header)):
            self.audit(
                "malformed uid accepted",
                header.sop_instance_uid,
                attributes=", ".join(malformed),
                peer=peer.address,
            )

    def _refuse(self, received: ReceivedObject, refused: RefusedObjectError) -> None:
        """Keep the bytes for a person, and record why; raises `SpoolError` where it can't."""
        peer, reason = received.peer, refused.reason.value
        try:
            kept = self._spool.quarantine(reason, received.file_meta, received.data_set)
        except SpoolError as error:
            again = RefusedObjectError(reason_of(error), header=refused.header)
            self._note_not_kept(received, again)
            raise
        self._indexer.put(_quarantined(received, refused, kept.name, kept.size_bytes))
        self._record_refused(received, refused)
        self.audit(
            "object refused",
            peer.calling_ae_title,
            reason=reason,
            sentence=str(refused),
            quarantined=kept.name,
            peer=peer.address,
        )
        LOGGER.warning(
            "object refused: %s",
            refused,
            extra={
                "association": peer.association_id,
                "quarantined": kept.name,
                "series": only_uid(refused.header.series_instance_uid),
                "study": only_uid(refused.header.study_instance_uid),
            },
        )

    def _note_not_kept(self, received: ReceivedObject, refused: RefusedObjectError) -> None:
        """The bytes are the sender's still; a row says what is missing until they come again."""
        uid = refused.header.sop_instance_uid or received.sop_instance_uid
        name = f"{refused.reason}/{hashlib.sha256(uid.encode()).hexdigest()}"
        self._indexer.put(_quarantined(received, refused, name, size_bytes=0))
        if refused.reason is not Reason.NOT_RECORDED:  # that would be waited for once more
            self._record_refused(received, refused)

    def _record_refused(self, received: ReceivedObject, refused: RefusedObjectError) -> None:
        """Its series is held from now on, where it names one; the sender gets a failure anyway."""
        header = refused.header
        if is_uid(header.study_instance_uid) and is_uid(header.series_instance_uid):
            with suppress(DatabaseError):
                self._arrivals.record(received.peer.association_id, header)


def checked(received: ReceivedObject, malformed_uids: Literal["accept", "refuse"]) -> Scan:
    """What it says of itself, whole and of one piece; raises `RefusedObjectError`."""
    found = _read(received)
    require_uids(
        found.header,
        received.sop_instance_uid,
        received.sop_class_uid,
        received.transfer_syntax_uid,
        malformed=malformed_uids,
    )
    require_consistent(
        found.header,
        sop_class_uid=received.sop_class_uid,
        sop_instance_uid=received.sop_instance_uid,
        context_sop_class_uid=received.context_sop_class_uid,
    )
    return found


def _read(received: ReceivedObject) -> Scan:
    try:
        return scan(received.data_set, received.transfer_syntax_uid)
    except UnreadableObjectError as error:
        header = claimed_header(received.data_set, received.transfer_syntax_uid)
        raise RefusedObjectError(Reason.UNREADABLE, str(error), header=header) from error


def _quarantined(
    received: ReceivedObject, refused: RefusedObjectError, name: str, size_bytes: int
) -> QuarantinedObject:
    header = refused.header
    return QuarantinedObject(
        at=datetime.now(UTC),
        name=name,
        reason=refused.reason.value,
        sentence=str(refused),
        size_bytes=size_bytes,
        sop_instance_uid=only_uid(header.sop_instance_uid) or only_uid(received.sop_instance_uid),
        series_instance_uid=only_uid(header.series_instance_uid),
        study_instance_uid=only_uid(header.study_instance_uid),
        modality=header.modality,
        calling_ae_title=received.peer.calling_ae_title,
        peer_address=received.peer.address,
    )
