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
from tests.integration.web.desk import behind_a_proxy
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


@pytest.mark.parametrize(
    "request_line",
    [f"GET /{'x' * 200_000} HTTP/1.1", "GET /health HTTP/1.1\r\nX: " + "x" * 200_000],
)
def test_headers_and_addresses_beyond_any_measure_are_refused(
    node: Node, request_line: str
) -> None:
    with suppress(ConnectionError), connect(node, request_line.encode()) as connection:
        connection.sendall(b"\r\nHost: node\r\n\r\n")
        answer = connection.recv(1000)
        assert answer == b"" or answer.startswith(b"HTTP/1.1 400")
    assert httpx.get(url(node, "/health"), timeout=30).status_code == 200


def test_a_connection_carries_one_request(node: Node) -> None:
    with connect(node, b"GET /health HTTP/1.1\r\nHost: node\r\n\r\n") as connection:
        answer = b"".join(iter(lambda: connection.recv(1000), b""))
    assert answer.startswith(b"HTTP/1.1 200")


BEGUN = (
    "POST /dicom-web/studies HTTP/1.1\r\nHost: node\r\nContent-Length: 1000\r\n"
    f"Content-Type: {RELATED}\r\n%s\r\n--{BOUNDARY}\r\n"
)


def test_a_peer_has_so_many_requests_open_and_health_is_told_beside_them(node: Node) -> None:
    with ExitStack() as held:
        for _ in range(MOST_PER_PEER):
            held.enter_context(connect(node, (BEGUN % "").encode()))
        refused = [0]
        while refused[-1] != 503:  # until the node has seen all of them
            refused.append(httpx.get(url(node, "/metrics"), timeout=30).status_code)
        assert httpx.get(url(node, "/health"), timeout=30).status_code == 200
    served = [0]
    while served[-1] != 200:  # until it has seen them go
        served.append(httpx.get(url(node, "/metrics"), timeout=30).status_code)


@pytest.fixture(scope="module")
def proxied(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    """A node behind a proxy on this machine."""
    folder = tmp_path_factory.mktemp("proxied")
    scp = {"maximum_associations_per_peer": MOST_PER_PEER}
    settings = web_settings(folder, scp=scp, **behind_a_proxy(folder))
    with running_web(settings, folder / "node") as started:
        yield started


def asked(node: Node, client: str) -> int:
    told = {"X-Forwarded-For": client, "Authorization": "Bearer a-token"}
    return httpx.get(url(node, "/metrics"), headers=told, timeout=30).status_code


def test_behind_a_proxy_each_client_has_its_own_requests(proxied: Node) -> None:
    """The proxy may have more open than one client, and one client not all of the proxy's."""
    told = "X-Forwarded-For: 203.0.113.1, 192.0.2.1\r\nAuthorization: Bearer a-token\r\n"
    with ExitStack() as held:
        for _ in range(MOST_PER_PEER):
            held.enter_context(connect(proxied, (BEGUN % told).encode()))
        while asked(proxied, "203.0.113.9, 192.0.2.1") != 503:
            pass  # until the node has seen all of them
        assert asked(proxied, "192.0.2.2") == 200
        assert asked(proxied, "192.0.2.1, 192.0.2.3") == 200


def test_who_is_no_proxy_can_not_borrow_the_share_of_others(node: Node) -> None:
    with ExitStack() as held:
        for number in range(MOST_PER_PEER):
            told = f"X-Forwarded-For: 192.0.2.{number}\r\n"
            held.enter_context(connect(node, (BEGUN % told).encode()))
        while asked(node, "192.0.2.99") != 503:
            pass
