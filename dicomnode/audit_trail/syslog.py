"""Syslog messages (RFC 5424) over TLS (RFC 5425), TCP (RFC 6587) or UDP (RFC 5426)."""

from __future__ import annotations

import os
import socket
import ssl
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime

from dicomnode.config_notices import AuditMessageSettings
from dicomnode.errors import NoticeError

# authpriv.notice, and the identifier that PS3.15 A.6 wants.
_PRIORITY = 10 * 8 + 5
_MESSAGE_ID = "DICOM+RFC3881"
_UTF8_BOM = b"\xef\xbb\xbf"
_LONGEST_DATAGRAM = 65_000


def frame(at: datetime, host: str, xml: bytes) -> bytes:
    """One message, without the length before it."""
    time = at.isoformat(timespec="milliseconds")
    head = f"<{_PRIORITY}>1 {time} {host} dicomnode {os.getpid()} {_MESSAGE_ID} - "
    return head.encode("ascii") + _UTF8_BOM + xml


def send(settings: AuditMessageSettings, frames: Sequence[bytes]) -> None:
    """All of them over one connection; raises `NoticeError` where they may not have arrived.

    Syslog acknowledges nothing. So we close our side and wait for the collector to close its own:
    a collector that went away before it read everything resets the connection instead.
    """
    try:
        if settings.protocol == "udp":
            _send_datagrams(settings, frames)
        else:
            _send_stream(settings, frames)
    except (OSError, ssl.SSLError) as error:
        why = error.strerror or type(error).__name__
        raise NoticeError(f"audit collector {settings.host}:{settings.port}: {why}") from error


def _send_datagrams(settings: AuditMessageSettings, frames: Sequence[bytes]) -> None:
    family, kind, proto, _, address = socket.getaddrinfo(
        settings.host, settings.port, type=socket.SOCK_DGRAM
    )[0]
    with socket.socket(family, kind, proto) as channel:
        channel.connect(address)
        for each in frames:
            channel.send(each[:_LONGEST_DATAGRAM])


def _send_stream(settings: AuditMessageSettings, frames: Sequence[bytes]) -> None:
    where = (settings.host, settings.port)
    with socket.create_connection(where, timeout=settings.timeout_seconds) as plain:
        channel = _encrypted(plain, settings) if settings.protocol == "tls" else plain
        for each in frames:
            channel.sendall(f"{len(each)} ".encode("ascii") + each)
        if isinstance(channel, ssl.SSLSocket):
            _close_tls(channel)
            return
        channel.shutdown(socket.SHUT_WR)
        while channel.recv(1024):
            """What it says does not matter, that it ends does."""


def _encrypted(plain: socket.socket, settings: AuditMessageSettings) -> ssl.SSLSocket:
    trust = ssl.create_default_context(cafile=settings.ca_file)
    if settings.certificate_file is not None:
        trust.load_cert_chain(settings.certificate_file)
    return trust.wrap_socket(plain, server_hostname=settings.host)


def _close_tls(channel: ssl.SSLSocket) -> None:
    """Wait for the collector's close_notify (RFC 5425 4.4), or its mere end: some send none."""
    with channel, suppress(ssl.SSLEOFError, ssl.SSLZeroReturnError):
        channel.unwrap()
