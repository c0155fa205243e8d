"""Who may ask: a bearer token (RFC 6750), compared in constant time."""

from __future__ import annotations

import hmac

from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from dicomnode.config import WebSettings
from dicomnode.errors import ConfigurationError

HEALTH_PATH = "/health"


def read_token(settings: WebSettings) -> bytes:
    """Empty where none is configured. Raises `ConfigurationError`."""
    file = settings.token_file
    if file is None:
        return b""
    try:
        token = file.read_bytes().strip()
    except OSError as error:
        raise ConfigurationError(f"web.token_file: {file}: {error.strerror}") from None
    if not token:
        raise ConfigurationError(f"web.token_file: {file} is empty: write a long random text there")
    return token


class BearerToken:
    """Lets requests with the right token pass; without a configured one, everyone."""

    def __init__(self, app: ASGIApp, token: bytes) -> None:
        self._app = app
        self._token = token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and not self._may_pass(scope):
            answer = PlainTextResponse(
                "a bearer token is needed\n", 401, headers={"WWW-Authenticate": "Bearer"}
            )
            await answer(scope, receive, send)
            return
        await self._app(scope, receive, send)

    def _may_pass(self, scope: Scope) -> bool:
        if not self._token or scope["path"] == HEALTH_PATH:
            return True
        scheme, _, given = Headers(scope=scope).get("authorization", "").partition(" ")
        is_token = hmac.compare_digest(given.encode("latin-1"), self._token)
        return is_token and scheme.lower() == "bearer"
