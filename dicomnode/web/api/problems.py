"""Errors as problem details (RFC 9457). No problem is ever a release."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from dicomnode.errors import DicomnodeError
from dicomnode.web.refused import failure_sentence

LOGGER = logging.getLogger("dicomnode.web")

MEDIA_TYPE = "application/problem+json"
_NOT_AS_DOCUMENTED = "what was sent is not as the document /api/v1/openapi.json says"


class WrongInput(BaseModel):
    """Where it stands, and what is wrong; what was sent is not repeated."""

    where: str
    what: str


class Problem(BaseModel):
    """RFC 9457: `detail` is a sentence for people."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str
    wrong: list[WrongInput] = Field(default_factory=list)


def responses(*statuses: HTTPStatus) -> dict[int | str, dict[str, Any]]:
    """For the document: what a path may answer beside its result."""
    content = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    return {int(each): {"description": each.phrase, "content": content} for each in statuses}


def add_handlers(app: FastAPI) -> None:
    app.add_exception_handler(HTTPException, _refused_or_failed)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(DicomnodeError, _refused_or_failed)
    app.add_exception_handler(Exception, _unforeseen)


def _answer(
    status: int,
    detail: str,
    headers: dict[str, str] | None = None,
    wrong: Sequence[WrongInput] = (),
) -> Response:
    title = HTTPStatus(status).phrase
    problem = Problem(title=title, status=status, detail=detail, wrong=list(wrong))
    return JSONResponse(problem.model_dump(), status, headers, media_type=MEDIA_TYPE)


def answer_to(error: Exception) -> Response:
    """Of a refusal, or of what a person has to mend at the node."""
    if isinstance(error, HTTPException):
        return _answer(error.status_code, error.detail, dict(error.headers or {}))
    LOGGER.error("the gate can't answer", extra={"error": str(error)})
    status = HTTPStatus.SERVICE_UNAVAILABLE
    return _answer(status, failure_sentence(error), {"Retry-After": "60"})


async def _refused_or_failed(_request: Request, error: Exception) -> Response:
    return answer_to(error)


async def _invalid(_request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    wrong = [
        WrongInput(where=".".join(str(part) for part in one["loc"])[:200], what=one["msg"][:200])
        for one in error.errors()[:20]
    ]
    return _answer(HTTPStatus.UNPROCESSABLE_ENTITY, _NOT_AS_DOCUMENTED, wrong=wrong)


async def _unforeseen(_request: Request, _error: Exception) -> Response:
    """The server logs it after this."""
    return _answer(HTTPStatus.INTERNAL_SERVER_ERROR, "it failed; the log of the node says why")
