"""Many HTTP connections that say nothing, little, or too much at once: the others are served."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import httpx
import pytest

from tests.factories import make_series
from tests.integration.scp.receiving import Node
from tests.integration.web.stow import BOUNDARY, RELATED, post, running_web, url, web_settings
from tests.integration.web.stow import multipart as body_of

MOST_PER_PEER = 4


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    folder = tmp_path_factory.mktemp("web")
    scp = {"acse_timeout_seconds": 3.0, "maximum_associations_per_peer": MOST_PER_PEER}
    with running_web(web_settings(folder, scp=scp), folder / "node") as started:
        yield started


def connect(node: Node, words: bytes = b"") -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", node.settings.web.port), timeout=30)
    connection.sendall(words)
    return connection


def test_silent_connections_shut_nobody_out(node: Node, tmp_path: Path) -> None:
    (image,) = make_series(tmp_path / "made", slices=1)
    with ExitStack() as held:
        for _ in range(100):
            held.enter_context(connect(node))
        assert httpx.get(url(node, "/health"), timeout=30).status_code == 200
        assert post(node, body_of([image.read_bytes()])).status_code == 200


@pytest.mark.parametrize("words", [b"", b"GET /health HT", b"GET /health HTTP/1.1\r\nA: b\r\n"])
def test_a_header_that_never_ends_is_not_waited_for(node: Node, words: bytes) -> None:
    with connect(node, words) as connection, suppress(ConnectionResetError):
        assert connection.recv(1000) == b""


def test_a_connection_carries_one_request(node: Node) -> None:
    with connect(node, b"GET /health HTTP/1.1\r\nHost: node\r\n\r\n") as connection:
        answer = b"".join(iter(lambda: connection.recv(1000), b""))
    assert answer.startswith(b"HTTP/1.1 200")


def test_a_peer_has_so_many_requests_open_and_health_is_told_beside_them(node: Node) -> None:
    begun = (
        "POST /dicom-web/studies HTTP/1.1\r\nHost: node\r\nContent-Length: 1000\r\n"
        f"Content-Type: {RELATED}\r\n\r\n--{BOUNDARY}\r\n"
    )
    with ExitStack() as held:
        for _ in range(MOST_PER_PEER):
            held.enter_context(connect(node, begun.encode()))
        refused = [0]
        while refused[-1] != 503:  # until the node has seen all of them
            refused.append(httpx.get(url(node, "/metrics"), timeout=30).status_code)
        assert httpx.get(url(node, "/health"), timeout=30).status_code == 200
    served = [0]
    while served[-1] != 200:  # until it has seen them go
        served.append(httpx.get(url(node, "/metrics"), timeout=30).status_code)
