"""Bounds on what clients hold open, which uvicorn lacks: silent connections, and requests.

A connection carries one request. Until its header is whole it is silent: it has a deadline, and
where too many are silent the oldest is closed, so that they shut nobody out. From then on it is a
request, of which each peer, and all together, may have so many at once.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections import Counter
from dataclasses import dataclass

from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from dicomnode.config import SCPSettings
from dicomnode.web.access import OPEN_PATHS

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


def bounded_protocol(limits: Limits) -> type[asyncio.Protocol]:
    """For one server: its connections know of each other."""
    silent: dict[asyncio.Transport, str] = {}

    class BoundedProtocol(H11Protocol):
        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            silent[transport] = _peer(transport)
            _close_the_oldest_of_too_many(silent, limits)
            self._tail = b""
            self._wire = transport
            self._late = self.loop.call_later(limits.header_seconds, self._close_late)

        def data_received(self, data: bytes) -> None:
            if self._wire in silent:
                self._tail += data
                if _END_OF_HEADER.search(self._tail):
                    self._is_silent_no_more()
                self._tail = self._tail[-_LONGEST_END:]
            super().data_received(data)

        def connection_lost(self, exc: Exception | None) -> None:
            self._is_silent_no_more()
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

    def __init__(self, app: ASGIApp, limits: Limits) -> None:
        self._app = app
        self._limits = limits
        self._open: Counter[str] = Counter()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] in OPEN_PATHS:
            await self._app(scope, receive, send)
            return
        peer = scope["client"][0] if scope.get("client") else ""
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


def _close_the_oldest_of_too_many(silent: dict[asyncio.Transport, str], limits: Limits) -> None:
    newest = next(reversed(silent))
    of_peer = [transport for transport, peer in silent.items() if peer == silent[newest]]
    too_many = of_peer[: -limits.most_per_peer] or list(silent)[: -limits.most]
    for transport in too_many:
        LOGGER.warning("connection closed: too many are silent", extra={"peer": silent[transport]})
        del silent[transport]
        transport.abort()


def _peer(transport: asyncio.Transport) -> str:
    address = transport.get_extra_info("peername")
    return str(address[0]) if address else ""
