"""Bounds on what clients hold open, which uvicorn lacks: silent connections, and requests.

A connection carries one request. Until its header is whole it is silent: it has a deadline, and
where too many are silent the oldest is closed, so that they shut nobody out. From then on it is a
request, of which each client, and all together, may have so many at once. With TLS the handshake
is part of the silence, so it is begun here rather than by uvicorn, which would let anybody begin
one and wait a minute for each.
"""

from __future__ import annotations

import asyncio
import logging
import re
import ssl
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from starlette.requests import HTTPConnection
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from dicomnode.config import SCPSettings, Settings, WebSettings
from dicomnode.rates import address_key
from dicomnode.tls import ServerTLS
from dicomnode.web.access import OPEN_PATHS
from dicomnode.web.origin import client_address, is_trusted_proxy

LOGGER = logging.getLogger("dicomnode.web")

# One request, so that the next header has no deadline of its own.
ONE_REQUEST = [("connection", "close")]
_END_OF_HEADER = re.compile(rb"\n\r?\n")
_LONGEST_END = 3


@dataclass(frozen=True)
class Limits:
    """`header_seconds` is the time from the connection to the end of the header."""

    header_seconds: float
    most: int
    most_per_peer: int


def limits_of(scp: SCPSettings) -> Limits:
    """A request is what an association is to a scanner."""
    return Limits(
        scp.acse_timeout_seconds, scp.maximum_associations, scp.maximum_associations_per_peer
    )


def bounded_protocol(
    newest: Callable[[], Settings], tls: ServerTLS | None = None
) -> type[asyncio.Protocol]:
    """For one server: its connections know of each other. Each has the newest settings of when it
    came."""
    silent: dict[asyncio.Transport, str] = {}

    class BoundedProtocol(H11Protocol):
        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            silent[transport] = _peer(transport)
            limits = self._limits = limits_of(newest().scp)
            _close_the_oldest_of_too_many(silent, limits, newest().web)
            self._tail, self._early = b"", b""
            self._wire = transport
            self._late = self.loop.call_later(limits.header_seconds, self._close_late)
            self._is_open = tls is None
            if tls is None:
                super().connection_made(transport)
            else:
                transport.pause_reading()  # until the handshake reads
                self._handshake = self.loop.create_task(self._shake_hands(tls.context()))

        async def _shake_hands(self, context: ssl.SSLContext) -> None:
            if self._wire.is_closing():  # one too many: asyncio would spend 256 KiB on it
                return
            try:
                encrypted = await self.loop.start_tls(
                    self._wire,
                    self,
                    context,
                    server_side=True,
                    ssl_handshake_timeout=self._limits.header_seconds,
                    ssl_shutdown_timeout=self._limits.header_seconds,
                )
            except OSError as error:
                reason = getattr(error, "reason", None) or type(error).__name__
                LOGGER.warning(
                    "connection closed: TLS failed: %s", reason, extra={"peer": _peer(self._wire)}
                )
                self._wire.abort()
                self._is_silent_no_more()
                return
            if encrypted is None or self._wire.is_closing():
                self._is_silent_no_more()
                return
            super().connection_made(encrypted)
            self._is_open = True
            if self._early:  # it came with the end of the handshake
                self.data_received(self._early)

        def data_received(self, data: bytes) -> None:
            if not self._is_open:
                self._early += data
                return
            if self._wire in silent:
                self._tail += data
                if _END_OF_HEADER.search(self._tail):
                    self._is_silent_no_more()
                self._tail = self._tail[-_LONGEST_END:]
            super().data_received(data)

        def connection_lost(self, exc: Exception | None) -> None:
            self._is_silent_no_more()
            if self._is_open:
                super().connection_lost(exc)

        def _is_silent_no_more(self) -> None:
            self._late.cancel()
            silent.pop(self._wire, None)

        def _close_late(self) -> None:
            LOGGER.warning("connection closed: no request came", extra={"peer": _peer(self._wire)})
            self._wire.abort()

    return BoundedProtocol


class BoundedRequests:
    """Answers 503 where too many requests are open; whether the node is well is always told."""

    def __init__(self, app: ASGIApp, limits: Limits, settings: WebSettings) -> None:
        self._app = app
        self._settings = settings
        self._limits = limits
        self._open: Counter[str] = Counter()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] in OPEN_PATHS:
            await self._app(scope, receive, send)
            return
        # Behind a proxy that is trusted each client counts by itself.
        peer = address_key(client_address(HTTPConnection(scope), self._settings))
        if self._is_full(peer):
            LOGGER.warning("request refused: too many are open", extra={"peer": peer})
            answer = PlainTextResponse(
                "too many requests are open; ask again later\n", 503, {"Retry-After": "10"}
            )
            await answer(scope, receive, send)
            return
        self._open[peer] += 1
        try:
            await self._app(scope, receive, send)
        finally:
            self._open[peer] -= 1
            self._open += Counter()  # forgets peers without a request

    def _is_full(self, peer: str) -> bool:
        limits = self._limits
        return self._open[peer] >= limits.most_per_peer or self._open.total() >= limits.most


def _close_the_oldest_of_too_many(
    silent: dict[asyncio.Transport, str], limits: Limits, settings: WebSettings
) -> None:
    """A trusted proxy may have all places: it waits for the header before it connects."""
    newest = silent[next(reversed(silent))]
    most = limits.most if is_trusted_proxy(newest, settings) else limits.most_per_peer
    of_peer = [transport for transport, peer in silent.items() if peer == newest]
    too_many = of_peer[:-most] or list(silent)[: -limits.most]
    for transport in too_many:
        LOGGER.warning("connection closed: too many are silent", extra={"peer": silent[transport]})
        del silent[transport]
        transport.abort()


def _peer(transport: asyncio.Transport) -> str:
    address = transport.get_extra_info("peername")
    return str(address[0]) if address else ""
