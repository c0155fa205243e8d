"""What `dicomnode.delivery.association` relies on in pynetdicom, as it is installed."""

from __future__ import annotations

import threading
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


def test_a_requestor_that_waits_on_takes_an_answer_that_comes_late() -> None:
    late, asked = threading.Event(), []

    def answer(_event: evt.Event) -> int:
        late.wait(30)
        return 0x0000

    def wait_on() -> bool:
        asked.append(True)
        if len(asked) == 3:
            late.set()
        return True

    entity = AE()
    entity.dimse_timeout = 0.2
    entity.add_supported_context(VERIFICATION_SOP_CLASS)
    entity.add_requested_context(VERIFICATION_SOP_CLASS)
    server = entity.start_server(
        ("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_C_ECHO, answer)]
    )
    try:
        association = entity.associate(*server.server_address)
        keep_messages_for_the_requestor(association, wait_on)
        assert association.send_c_echo().Status == 0x0000
        assert len(asked) >= 3
        association.release()
    finally:
        late.set()
        server.shutdown()


def test_a_requestor_does_not_wait_on_for_a_peer_that_is_gone() -> None:
    entity = AE()
    entity.add_supported_context(VERIFICATION_SOP_CLASS)
    entity.add_requested_context(VERIFICATION_SOP_CLASS)

    def abort(event: evt.Event) -> int:
        event.assoc.abort()
        return 0x0000

    server = entity.start_server(
        ("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_C_ECHO, abort)]
    )
    try:
        association = entity.associate(*server.server_address)
        keep_messages_for_the_requestor(association, lambda: True)
        assert "Status" not in association.send_c_echo()
    finally:
        server.shutdown()
