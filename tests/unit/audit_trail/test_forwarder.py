"""The audit log reaches a real collector in order; nothing is lost while it is away."""

from __future__ import annotations

import re
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import fromstring

import pytest

from dicomnode.audit_trail import forwarder
from dicomnode.audit_trail.forwarder import Forwarder, forwarding
from dicomnode.config import Settings
from dicomnode.errors import NoticeError
from dicomnode.tracking import audit
from dicomnode.tracking.database import Database
from tests.certificates import self_signed

HEAD = re.compile(rb"<85>1 \S+T\S+ \S+ dicomnode \d+ DICOM\+RFC3881 - \xef\xbb\xbf")


@dataclass
class Collector:
    """What came, a message each, over how many connections."""

    port: int = 0
    messages: list[bytes] = field(default_factory=list)
    connections: int = 0
    breaks_off: bool = False

    @property
    def events(self) -> list[str]:
        found = []
        for each in self.messages:
            head = HEAD.match(each)
            assert head, each
            root = fromstring(each[head.end() :])
            found.append([code.attrib["originalText"] for code in root.iter("EventTypeCode")][-1])
        return found


@contextmanager
def collector(certificate: Path | None = None) -> Iterator[Collector]:
    """RFC 5425 with a certificate, RFC 6587 without."""
    found = Collector()
    trust = None
    if certificate is not None:
        trust = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        trust.load_cert_chain(certificate)
    server = socket.create_server(("127.0.0.1", 0))
    server.settimeout(0.1)
    found.port = server.getsockname()[1]
    stop = threading.Event()

    def serve() -> None:
        while not stop.is_set():
            try:
                plain, _ = server.accept()
            except TimeoutError:
                continue
            found.connections += 1
            try:
                with plain:
                    plain.settimeout(5.0)
                    channel = trust.wrap_socket(plain, server_side=True) if trust else plain
                    _read(channel, found)
            except OSError:
                continue

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield found
    finally:
        stop.set()
        thread.join(5.0)
        server.close()


def _read(channel: socket.socket, found: Collector) -> None:
    if found.breaks_off:
        linger = b"\x01\x00\x00\x00\x00\x00\x00\x00"
        channel.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        return
    with channel.makefile("rb") as stream:
        while length := _length(stream):
            found.messages.append(stream.read(length))
    if isinstance(channel, ssl.SSLSocket):
        channel.unwrap()


def _length(stream: Any) -> int:
    digits = b""
    while (byte := stream.read(1)) not in (b" ", b""):
        digits += byte
    return int(digits or 0)


def settings(port: int, **changes: Any) -> Settings:
    given = {"host": "127.0.0.1", "port": port, "protocol": "tcp", "poll_seconds": 0.05}
    return Settings.model_validate({"audit_messages": given | {"timeout_seconds": 5.0} | changes})


def happen(database: Database, *events: str) -> None:
    with database.begin() as connection:
        for event in events:
            audit.append(connection, event, "1.2.3")


def test_events_arrive_over_tls_in_their_order(database: Database, tmp_path: Path) -> None:
    certificate = self_signed(tmp_path)
    happen(database, "delivered", "human decision", "receipt issued")
    with collector(certificate) as found:
        wanted = settings(found.port, protocol="tls", ca_file=certificate)
        assert Forwarder(wanted, database).forward() == 3
        assert Forwarder(wanted, database).forward() == 0
    assert found.events == ["delivered", "human decision", "receipt issued"]
    assert found.connections == 1


def test_a_collector_that_nobody_vouches_for_gets_nothing(
    database: Database, tmp_path: Path
) -> None:
    happen(database, "delivered")
    with collector(self_signed(tmp_path)) as found:
        with pytest.raises(NoticeError, match="audit collector 127"):
            Forwarder(settings(found.port, protocol="tls"), database).forward()
        assert not found.messages


def test_nothing_is_lost_while_the_collector_is_away(database: Database, free_port: int) -> None:
    happen(database, "delivered")
    with pytest.raises(NoticeError):
        Forwarder(settings(free_port), database).forward()
    happen(database, "login")
    with collector() as found:
        Forwarder(settings(found.port), database).forward()
        happen(database, "logout")
        Forwarder(settings(found.port), database).forward()
    assert found.events == ["delivered", "login", "logout"]


def test_a_collector_that_breaks_off_gets_the_same_again(database: Database) -> None:
    happen(database, *["delivered"] * 50)
    with collector() as found:
        found.breaks_off = True
        with pytest.raises(NoticeError):
            Forwarder(settings(found.port), database).forward()
        found.breaks_off = False
        assert Forwarder(settings(found.port), database).forward() == 50
    assert len(found.messages) == 50


def test_a_datagram_holds_one_message(database: Database) -> None:
    happen(database, "delivered", "login")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        server.settimeout(5.0)
        wanted = settings(server.getsockname()[1], protocol="udp")
        assert Forwarder(wanted, database).forward() == 2
        messages = [server.recv(65_535) for _ in range(2)]
    assert Collector(messages=messages).events == ["delivered", "login"]


def test_a_long_log_is_sent_in_batches_with_start_and_stop_of_the_application(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(forwarder, "BATCH", 3)
    happen(database, *["delivered"] * 8)
    with collector() as found:
        with forwarding(settings(found.port), database):
            waited = threading.Event()
            for _ in range(200):
                if len(found.messages) == 9:
                    break
                waited.wait(0.05)
        assert found.events[8:] == ["application started", "application stopped"]


def test_without_a_collector_nothing_is_done(database: Database) -> None:
    with forwarding(Settings(), database):
        happen(database, "login")
    with database.read() as connection:
        assert [each.event for each in audit.newest(connection)] == ["login"]
