"""Which programs may store and watch: a bearer token (RFC 6750), compared in constant time."""

from __future__ import annotations

import hmac
import logging
from collections.abc import Callable

from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from dicomnode.config import WebSettings, token_in

LOGGER = logging.getLogger("dicomnode.web")

HEALTH_PATH, ALIVE_PATH, READY_PATH = "/health", "/healthz", "/readyz"
# Answered however many requests are open.
OPEN_PATHS = frozenset({HEALTH_PATH, ALIVE_PATH})


def read_token(settings: WebSettings) -> bytes:
    """Empty where none is configured. Raises `ConfigurationError`."""
    file = settings.token_file
    if file is None:
        return b""
    return token_in(file, "web.token_file").encode("ascii")


class BearerToken:
    """Lets requests with the right token pass; without a configured one, everyone."""

    def __init__(self, app: ASGIApp, token: bytes, audit: Callable[..., None]) -> None:
        """`audit` takes the event, its subject, and details by name: `Intake.audit`."""
        self._app = app
        self._token = token
        self._audit = audit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and not self._may_pass(scope):
            self._record(scope)
            answer = PlainTextResponse(
                "a bearer token is needed\n", 401, headers={"WWW-Authenticate": "Bearer"}
            )
            await answer(scope, receive, send)
            return
        await self._app(scope, receive, send)

    def _record(self, scope: Scope) -> None:
        """Who was turned away; never what was given as a token."""
        peer = scope["client"][0] if scope.get("client") else ""
        given = "authorization" in Headers(scope=scope)
        sentence = "a wrong token" if given else "no token"
        LOGGER.warning("request refused: %s", sentence, extra={"peer": peer})
        self._audit("request refused", peer, sentence=sentence, status="401")

    def _may_pass(self, scope: Scope) -> bool:
        if not self._token:
            return True
        scheme, _, given = Headers(scope=scope).get("authorization", "").partition(" ")
        is_token = hmac.compare_digest(given.encode("latin-1"), self._token)
        return is_token and scheme.lower() == "bearer"
