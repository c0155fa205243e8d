from __future__ import annotations

import threading

from pynetdicom import AE, evt
from pynetdicom.sop_class import Verification  # type: ignore[attr-defined]

from dicomnode.delivery.ending import abort_open_associations


def test_a_peer_is_told_when_the_process_ends_in_the_middle_of_a_delivery() -> None:
    aborted = threading.Event()
    peer = AE("PACS")
    peer.add_supported_context(Verification)
    handlers = [(evt.EVT_ABORTED, lambda _event: aborted.set())]
    server = peer.start_server(("127.0.0.1", 0), block=False, evt_handlers=handlers)
    entity = AE("NODE")
    entity.add_requested_context(Verification)
    association = entity.associate("127.0.0.1", server.server_address[1])
    assert association.is_established
    assert abort_open_associations() >= 1
    assert aborted.wait(20)
    assert not association.is_established
    server.shutdown()
