"""Which programs may store and watch: a bearer token (RFC 6750), compared in constant time."""

from __future__ import annotations

import hmac
import logging
from collections.abc import Callable

from starlette.datastructures import Headers
from starlette.requests import HTTPConnection
from starlette.responses import PlainTextResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from dicomnode.config import WebSettings, token_in
from dicomnode.rates import Rates, address_key
from dicomnode.web.origin import client_address
from dicomnode.web.refused import too_many

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
    """Lets requests with the right token pass; without a configured one, everyone.

    A client that guessed wrong `web.logins_per_minute` times in a minute has to wait, whatever it
    sends then: the token is the site's choice, so it may be one that can be guessed.
    """

    def __init__(
        self,
        app: ASGIApp,
        token: bytes,
        audit: Callable[..., None],
        settings: WebSettings,
        guesses: Rates,
    ) -> None:
        """`audit` takes the event, its subject, and details by name: `Intake.audit`. `guesses` is
        one for all paths that have this token."""
        self._app = app
        self._token = token
        self._audit = audit
        self._settings = settings
        self._guesses = guesses

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        answer = self._refusal(scope) if scope["type"] == "http" and self._token else None
        await (answer or self._app)(scope, receive, send)

    def _refusal(self, scope: Scope) -> Response | None:
        """None where the request may pass."""
        client = client_address(HTTPConnection(scope), self._settings)
        if wait := self._guesses.seconds_left(address_key(client)):
            refused = too_many(wait)
            return PlainTextResponse(f"{refused.detail}\n", refused.status_code, refused.headers)
        if self._is_right(scope):
            return None
        self._guesses.seconds_to_wait(address_key(client))
        self._record(scope, client)
        return PlainTextResponse(
            "a bearer token is needed\n", 401, headers={"WWW-Authenticate": "Bearer"}
        )

    def _record(self, scope: Scope, peer: str) -> None:
        """Who was turned away; never what was given as a token."""
        given = "authorization" in Headers(scope=scope)
        sentence = "a wrong token" if given else "no token"
        LOGGER.warning("request refused: %s", sentence, extra={"peer": peer})
        self._audit("request refused", peer, sentence=sentence, status="401")

    def _is_right(self, scope: Scope) -> bool:
        scheme, _, given = Headers(scope=scope).get("authorization", "").partition(" ")
        is_token = hmac.compare_digest(given.encode("latin-1"), self._token)
        return is_token and scheme.lower() == "bearer"
