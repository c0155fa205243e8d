"""Bodies of a bounded length that come in bounded time; STOW-RS has bounds of its own."""

from __future__ import annotations

from http import HTTPStatus

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from dicomnode.web.pace import Pace
from dicomnode.web.refused import RequestRefusedError


class BoundedBodies:
    """Raises in whoever reads the body; stands inside of what answers exceptions."""

    def __init__(self, app: ASGIApp, maximum_bytes: int, seconds: float) -> None:
        """`seconds`: from one piece of the body to the next, and `Pace` for all of them."""
        self._app = app
        self._maximum_bytes = maximum_bytes
        self._seconds = seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        announced = Headers(scope=scope).get("content-length", "0")
        left, is_whole, pace = self._maximum_bytes, False, Pace(self._seconds)
        if announced.isdecimal() and int(announced) > left:
            left = -1  # nothing is read; whoever tries is told

        async def receive_bounded() -> Message:
            nonlocal left, is_whole
            if left < 0:
                raise self._too_long()
            if is_whole:  # what comes now is that the client left
                return await receive()
            try:
                message = await pace.wait_for(receive())
            except TimeoutError:
                raise RequestRefusedError(HTTPStatus.REQUEST_TIMEOUT, str(pace)) from None
            left -= len(message.get("body", b""))
            pace.came(len(message.get("body", b"")))
            is_whole = not message.get("more_body", False)
            if left < 0:
                raise self._too_long()
            return message

        await self._app(scope, receive_bounded, send)

    def _too_long(self) -> RequestRefusedError:
        return RequestRefusedError(
            HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
            f"the request is longer than {self._maximum_bytes} bytes",
        )
