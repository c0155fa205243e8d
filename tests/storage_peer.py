"""A storage peer on the loopback interface that can be told how to answer; pynetdicom's SCP."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from pydicom.uid import UID, ExplicitVRLittleEndian, ImplicitVRLittleEndian, SegmentationStorage
from pynetdicom import AE, evt
from pynetdicom.sop_class import Verification

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

    def _store(self, event: evt.Event) -> int:
        if self.aborts:
            self.aborts -= 1
            event.assoc.abort()
            return 0xC000
        status = self.statuses.pop(0) if self.statuses else 0x0000
        status = self.status_in.get(event.context.transfer_syntax, status)
        if status == 0x0000 or 0xB000 <= status < 0xC000:
            self.received[str(event.request.AffectedSOPInstanceUID)] += 1
        self.callers.add(event.assoc.requestor.ae_title)
        self.syntaxes.add(event.context.transfer_syntax)
        return status

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
) -> Iterator[StoragePeer]:
    """`strict`: the called AE title has to be right. Port 0: any free one."""
    entity = AE(ae_title=ae_title)
    entity.require_called_aet = strict
    entity.maximum_associations = 50
    for sop_class in sop_classes:
        entity.add_supported_context(sop_class, list(syntaxes))
    peer = StoragePeer(statuses=list(statuses))
    server = entity.start_server(
        ("127.0.0.1", port),
        block=False,
        evt_handlers=[(evt.EVT_C_STORE, peer._store), (evt.EVT_REQUESTED, peer._requested)],
    )
    assert server is not None
    peer.port = server.server_address[1]
    try:
        yield peer
    finally:
        server.shutdown()
