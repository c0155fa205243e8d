"""Connections to the receiver that come in masses, crawl, or fall silent: with the figure that
bounds each of them."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.factories import make_series
from tests.hostile.raw_sender import associated, send
from tests.hostile.test_receive import is_alive, memory_mib
from tests.integration.scp.receiving import Node, running, shared_settings, wait_until

ACSE_SECONDS, NETWORK_SECONDS = 2.0, 3.0
CONNECTS = 1000


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    folder = tmp_path_factory.mktemp("connections")
    settings = shared_settings(
        folder,
        acse_timeout_seconds=ACSE_SECONDS,
        dimse_timeout_seconds=NETWORK_SECONDS,
        network_timeout_seconds=NETWORK_SECONDS,
    )
    with running(settings, folder / "node") as started:
        yield started


@pytest.fixture
def image(tmp_path: Path) -> Path:
    return make_series(tmp_path / "made", slices=1, study=tmp_path.name, series=tmp_path.name)[0]


def handles(node: Node) -> tuple[int, int]:
    """Open files and threads of the receiver."""
    process = Path(f"/proc/{node.process.pid}")
    return len(list((process / "fd").iterdir())), len(list((process / "task").iterdir()))


def connect(node: Node) -> socket.socket:
    """From another address of this machine than the senders that have to be served meanwhile."""
    address = ("127.0.0.1", node.settings.scp.port)
    return socket.create_connection(address, timeout=30, source_address=("127.0.0.2", 0))


def churn(node: Node, count: int, said: bytes) -> None:
    for _ in range(count):
        with connect(node) as peer, suppress(ConnectionError):
            peer.sendall(said)


def test_a_thousand_connects_leave_nothing_behind(node: Node, image: Path) -> None:
    """Half of them say nothing, half send rubbish; from four threads at once."""
    churn(node, 50, b"\x09")
    assert is_alive(node, image)
    wait_until(lambda: handles(node)[1] < 10, 60)
    files, before = handles(node)[0], memory_mib(node)
    said = (b"", b"\x09" * 6)
    threads = [
        threading.Thread(target=churn, args=(node, CONNECTS // 4, said[number % 2]))
        for number in range(4)
    ]
    for thread in threads:
        thread.start()
    assert is_alive(node, image)
    for thread in threads:
        thread.join()
    assert is_alive(node, image)
    wait_until(lambda: handles(node)[1] < 10, 60)
    assert handles(node)[0] <= files + 2
    assert memory_mib(node) - before < 30


def test_a_request_that_crawls_has_to_be_whole_in_time(node: Node) -> None:
    """A byte now and then is no progress: the request has one deadline for all of it."""
    with connect(node) as peer:
        peer.sendall(b"\x01\x00\x00\x00\x01\x00")
        began = time.monotonic()
        with suppress(ConnectionError):
            while time.monotonic() - began < 200:
                peer.sendall(b"\x00")
                peer.settimeout(0.2)
                with suppress(TimeoutError):
                    if peer.recv(100) == b"":
                        break
        assert time.monotonic() - began < 100


def test_an_association_that_falls_silent_is_ended(node: Node) -> None:
    with associated(node.settings.scp.port) as silent:
        assert silent.is_established
        wait_until(lambda: not silent.is_established)


def test_an_object_that_stops_in_the_middle_is_ended(node: Node, image: Path) -> None:
    with associated(node.settings.scp.port) as association:
        wire = association.dul.socket
        assert wire is not None
        assert wire.socket is not None
        # P-DATA with one fragment of a data set, of which the command set never comes whole.
        wire.socket.sendall(b"\x04\x00\x00\x00\x00\x40\x00\x00\x00\x3c\x01\x00" + bytes(20))
        wait_until(lambda: not association.is_established)
    with associated(node.settings.scp.port) as association:
        assert send(association, b"\0\0", sop_instance_uid="1.2.3").status == 0xC000
    assert is_alive(node, image)
