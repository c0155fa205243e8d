"""The listening socket that several processes accept from."""

from __future__ import annotations

import socket

import pytest
from pynetdicom.ae import ApplicationEntity
from pynetdicom.sop_class import Verification

from dicomnode.config import SCPSettings
from dicomnode.dimse.listener import Door, ReceivingServer


def test_a_connection_that_a_sibling_took_is_not_waited_for() -> None:
    """Who was woken for it goes back to look whether to stop."""
    entity = ApplicationEntity("NODE")
    entity.add_supported_context(Verification)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        first, second = (
            ReceivingServer(entity, Door(listener.dup(), "scp"), SCPSettings(), []) for _ in "ab"
        )
        with socket.create_connection(listener.getsockname()):
            taken, _ = first.get_request()
            assert taken.gettimeout() == SCPSettings().network_timeout_seconds
            with pytest.raises(BlockingIOError):
                second.get_request()
            taken.close()
        for server in (first, second):
            server.server_close()
