"""What the receiver relies on in pynetdicom beyond its documentation; run for each version."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
from pynetdicom import AE, evt
from pynetdicom.association import Association
from pynetdicom.dimse_messages import C_ECHO_RQ
from pynetdicom.sop_class import Verification  # type: ignore[attr-defined]

from dicomnode.delivery.guard import Limits, guard


class Watched:
    """A server whose connections record what the upper layer asks their sockets for."""

    def __init__(self, *, short: bool = False) -> None:
        self.asked: list[int] = []
        self.order: list[str] = []
        self.ended = threading.Event()
        self._short = short
        entity = AE("WATCHED")
        entity.add_supported_context(Verification)
        handlers: list[evt.EventHandlerType] = [
            (evt.EVT_CONN_OPEN, self._on_open),
            (evt.EVT_REQUESTED, lambda _: self.order.append("requested")),
            (evt.EVT_ABORTED, lambda _: self.ended.set()),
        ]
        self.server = entity.start_server(("127.0.0.1", 0), block=False, evt_handlers=handlers)
        assert self.server is not None
        self.port = int(self.server.server_address[1])

    def _on_open(self, event: evt.Event) -> None:
        self.order.append("open")
        wire = event.assoc.dul.socket
        assert wire is not None
        read = wire.recv

        def recv(count: int) -> bytearray:
            self.asked.append(count)
            if self._short and len(self.asked) > 4:
                return bytearray()
            return read(count)

        setattr(wire, "recv", recv)  # noqa: B010


@pytest.fixture
def peer() -> AE:
    made = AE("PEER")
    made.add_requested_context(Verification)
    return made


@pytest.fixture
def watched() -> Iterator[Watched]:
    made = Watched()
    yield made
    assert made.server is not None
    made.server.shutdown()


def test_a_connection_is_announced_before_it_is_read(watched: Watched, peer: AE) -> None:
    association = peer.associate("127.0.0.1", watched.port)
    association.release()
    assert watched.order == ["open", "requested"]


def test_a_pdu_is_read_as_six_bytes_and_then_its_length(watched: Watched, peer: AE) -> None:
    association = peer.associate("127.0.0.1", watched.port)
    assert association.send_c_echo().Status == 0x0000
    association.release()
    assert watched.asked[::2] == [6] * len(watched.asked[::2])
    assert all(length != 6 for length in watched.asked[1::2])
    assert len(watched.asked) >= 6


def test_fewer_bytes_than_asked_for_end_the_association(peer: AE) -> None:
    short = Watched(short=True)
    association = peer.associate("127.0.0.1", short.port)
    association.send_c_echo()
    association.send_c_echo()
    assert short.ended.wait(10)
    association.kill()
    assert short.server is not None
    short.server.shutdown()


def test_the_guard_finds_what_it_bounds(peer: AE) -> None:
    """The attributes that it reads: the message under way and the waiting requests."""
    association = Association(peer, "acceptor")
    assert association.dimse.message is None
    assert association.dimse.msg_queue.qsize() == 0
    assert association.dul.to_provider_queue.empty()
    assert C_ECHO_RQ().encoded_command_set.tell() == 0
    assert association.dul.socket is None
    guard(association, Limits(pdu_seconds=1, object_bytes=1))


def test_the_command_line_applications_are_not_imported() -> None:
    """pynetdicom.apps builds paths from attributes (CVE-2026-56445)."""
    import subprocess
    import sys

    code = (
        "import sys, dicomnode.scp.server\n"
        "bad = [m for m in sys.modules if m.split('.')[0] in ('torch', 'dbos', 'nnunetv2')"
        " or m.startswith('pynetdicom.apps')]\n"
        "assert not bad, bad\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
