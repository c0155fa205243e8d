"""A storage peer on the loopback interface that can be told how to answer; pynetdicom's SCP."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from pydicom.dataset import Dataset
from pydicom.uid import UID, ExplicitVRLittleEndian, ImplicitVRLittleEndian, SegmentationStorage
from pynetdicom import AE, evt
from pynetdicom.association import Association
from pynetdicom.presentation import build_role
from pynetdicom.sop_class import Verification

from dicomnode.delivery.proof import STUDY_ROOT_FIND
from dicomnode.dicom.storage_commitment import (
    NO_SUCH_INSTANCE,
    STORAGE_COMMITMENT,
    WELL_KNOWN_INSTANCE,
    Report,
    read_request,
    report_data_set,
    report_of,
)

UNCOMPRESSED = (ExplicitVRLittleEndian, ImplicitVRLittleEndian)


@dataclass
class StoragePeer:
    """What the peer got, and the statuses of its next answers (0x0000 when there are none)."""

    port: int = 0
    received: Counter[str] = field(default_factory=Counter)
    callers: set[str] = field(default_factory=set)
    syntaxes: set[UID] = field(default_factory=set)
    statuses: list[int] = field(default_factory=list)
    aborts: int = 0
    associations: int = 0
    # The status of every object that comes in this transfer syntax.
    status_in: dict[UID, int] = field(default_factory=dict)
    # What it still has; the next `loses` objects are accepted and not kept.
    kept: set[str] = field(default_factory=set)
    loses: int = 0
    # Answers while it is set; slow as it is, it is alive.
    answers_now: threading.Event = field(default_factory=threading.Event)
    # How it reports on Storage Commitment: over the same association, a new one to this port, or
    # not at all (None).
    reports_to: int | None = 0
    asked: list[str] = field(default_factory=list)
    answers: list[int] = field(default_factory=list)

    def _store(self, event: evt.Event) -> int:
        if self.aborts:
            self.aborts -= 1
            event.assoc.abort()
            return 0xC000
        self.answers_now.wait(60)
        status = self.statuses.pop(0) if self.statuses else 0x0000
        status = self.status_in.get(event.context.transfer_syntax, status)
        if status == 0x0000 or 0xB000 <= status < 0xC000:
            uid = str(event.request.AffectedSOPInstanceUID)
            self.received[uid] += 1
            self.loses -= 1
            if self.loses < 0:
                self.kept.add(uid)
        self.callers.add(event.assoc.requestor.ae_title)
        self.syntaxes.add(event.context.transfer_syntax)
        return status

    def _find(self, event: evt.Event) -> Iterator[tuple[int, Dataset | None]]:
        self.asked.append(uid := str(event.identifier.SOPInstanceUID))
        if uid in self.kept:
            match = Dataset()
            match.QueryRetrieveLevel, match.SOPInstanceUID = "IMAGE", uid
            yield 0xFF00, match

    def _commit(self, event: evt.Event) -> tuple[int, None]:
        request = read_request(event.action_information)
        self.asked += [each.sop_instance_uid for each in request.references]
        lost = {
            each: NO_SUCH_INSTANCE
            for each in request.references
            if each.sop_instance_uid not in self.kept
        }
        if self.reports_to is not None:
            given = (event.assoc, report_of(request, lost))
            threading.Thread(target=self._report, args=given, daemon=True).start()
        return 0x0000, None

    def _report(self, association: Association, report: Report) -> None:
        entity = AE(ae_title="PACS")
        entity.add_requested_context(STORAGE_COMMITMENT)
        role = build_role(STORAGE_COMMITMENT, scp_role=True)
        if self.reports_to:
            called = association.requestor.ae_title
            association = entity.associate(
                "127.0.0.1", self.reports_to, ae_title=called, ext_neg=[role]
            )
        answer, _ = association.send_n_event_report(
            report_data_set(report), report.event_type, STORAGE_COMMITMENT, WELL_KNOWN_INSTANCE
        )
        self.answers.append(int(answer.Status))
        if self.reports_to:
            association.release()

    def _requested(self, event: evt.Event) -> None:
        self.associations += 1


@contextmanager
def storage_peer(
    port: int = 0,
    *,
    ae_title: str = "PACS",
    strict: bool = False,
    sop_classes: Sequence[str] = (SegmentationStorage, Verification),
    syntaxes: Sequence[str] = UNCOMPRESSED,
    statuses: Sequence[int] = (),
    services: Sequence[str] = (STORAGE_COMMITMENT, STUDY_ROOT_FIND),
) -> Iterator[StoragePeer]:
    """`strict`: the called AE title has to be right. Port 0: any free one."""
    entity = AE(ae_title=ae_title)
    entity.require_called_aet = strict
    entity.maximum_associations = 50
    for sop_class in sop_classes:
        entity.add_supported_context(sop_class, list(syntaxes))
    for service in services:
        entity.add_supported_context(service)
    peer = StoragePeer(statuses=list(statuses))
    peer.answers_now.set()
    server = entity.start_server(
        ("127.0.0.1", port),
        block=False,
        evt_handlers=[
            (evt.EVT_C_STORE, peer._store),
            (evt.EVT_REQUESTED, peer._requested),
            (evt.EVT_C_FIND, peer._find),
            (evt.EVT_N_ACTION, peer._commit),
        ],
    )
    assert server is not None
    peer.port = server.server_address[1]
    try:
        yield peer
    finally:
        peer.answers_now.set()
        server.shutdown()
