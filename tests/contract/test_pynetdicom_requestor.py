"""What `dicomnode.delivery.association` relies on in pynetdicom, as it is installed."""

from __future__ import annotations

import time

from pynetdicom import AE, evt
from pynetdicom.dimse_primitives import C_ECHO

from dicomnode.delivery.association import keep_messages_for_the_requestor
from dicomnode.delivery.store import VERIFICATION_SOP_CLASS


def test_the_reactor_thread_leaves_answers_to_the_requestor() -> None:
    entity = AE()
    entity.add_supported_context(VERIFICATION_SOP_CLASS)
    entity.add_requested_context(VERIFICATION_SOP_CLASS)
    server = entity.start_server(
        ("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_C_ECHO, lambda event: 0x0000)]
    )
    try:
        association = entity.associate(*server.server_address)
        keep_messages_for_the_requestor(association)
        answer = C_ECHO()
        association.dimse.msg_queue.put((1, answer))
        time.sleep(0.2)  # the reactor asks every millisecond
        assert association.dimse.get_msg(block=True) == (1, answer)
        assert association.send_c_echo().Status == 0x0000
        association.release()
        assert association.is_released
    finally:
        server.shutdown()
