"""A request that is refused: a status, a sentence for whoever asked, and headers.

The pages draw it, the API answers it as problem+json; by itself it is plain text.
"""

from __future__ import annotations

import math
from http import HTTPStatus

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response

from dicomnode.errors import DatabaseError, ModelError, ReceiptError

_FAILURES: dict[type[Exception], str] = {
    DatabaseError: "the database is away",
    ModelError: "the networks are not as installed, so nothing can be decided",
    ReceiptError: "no receipt can be issued; the log of the node says why",
}


class RequestRefusedError(HTTPException):
    """`detail` tells nothing that the one who asks may not know."""


def failure_sentence(error: Exception) -> str:
    """For whoever asked: the sentences of our own errors name files of the node, for its log."""
    return _FAILURES.get(type(error), "it could not be done; the log of the node says why")


def too_many(seconds: float) -> RequestRefusedError:
    wait = str(max(1, math.ceil(seconds)))
    return RequestRefusedError(
        HTTPStatus.TOO_MANY_REQUESTS,
        f"too many requests; ask again in {wait} s",
        {"Retry-After": wait},
    )


def see_other(path: str) -> RequestRefusedError:
    """`path` is one of our own."""
    return RequestRefusedError(HTTPStatus.SEE_OTHER, "look there", {"Location": path})


async def database_away(_request: Request, _error: Exception) -> Response:
    return PlainTextResponse("the database is away: try again\n", HTTPStatus.SERVICE_UNAVAILABLE)


async def plain_answer(_request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    headers = dict(error.headers or {})
    if error.status_code == HTTPStatus.SEE_OTHER:
        return RedirectResponse(headers["Location"], HTTPStatus.SEE_OTHER)
    return PlainTextResponse(f"{error.detail}\n", error.status_code, headers)
