"""The pages of the desk as routes, their files, and what is drawn where one can't be shown."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from http import HTTPStatus

from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import FileResponse
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

from dicomnode.errors import DicomnodeError
from dicomnode.web.desk import (
    accounts,
    audit_log,
    copies,
    exports,
    login,
    pictures,
    projects,
    queue,
    series,
    studies,
    study,
    system,
)
from dicomnode.web.desk.desk import Desk, desk_of
from dicomnode.web.desk.templating import FOLDER
from dicomnode.web.identity import identity_of
from dicomnode.web.refused import RequestRefusedError, failure_sentence, plain_answer

LOGGER = logging.getLogger("dicomnode.web")

# Their addresses have a digest of what they hold.
_KEPT = "public, max-age=31536000, immutable"
_MODULES = (
    accounts,
    audit_log,
    copies,
    exports,
    pictures,
    projects,
    queue,
    series,
    studies,
    study,
    system,
)


@dataclass(frozen=True)
class Message:
    """What stands in place of a page; `href` may be empty."""

    title: str
    sentence: str
    tone: str = "bad"
    icon: str = "cross"
    href: str = "/desk/queue"
    link: str = "To the queue"


_TITLES = {
    HTTPStatus.NOT_FOUND: "There is no such page",
    HTTPStatus.FORBIDDEN: "You may not do this",
    HTTPStatus.TOO_MANY_REQUESTS: "Too many attempts",
    HTTPStatus.SERVICE_UNAVAILABLE: "This can’t be shown now",
}


def mount_desk(pages: FastAPI, desk: Desk) -> None:
    pages.state.desk = desk
    pages.include_router(login.ROUTER)
    of_desk = APIRouter(prefix="/desk", include_in_schema=False)
    for module in _MODULES:
        of_desk.include_router(module.ROUTER)
    pages.include_router(of_desk)
    pages.mount("/desk/static", _KeptFiles(directory=FOLDER / "static"))
    for refused in (HTTPException, RequestRefusedError):
        pages.add_exception_handler(refused, _refused)
    pages.add_exception_handler(RequestValidationError, _malformed)
    pages.add_exception_handler(DicomnodeError, _failed)


class _KeptFiles(StaticFiles):
    async def get_response(self, path: str, scope: Scope) -> Response:
        found = await super().get_response(path, scope)
        if isinstance(found, FileResponse):
            found.headers["Cache-Control"] = _KEPT
        return found


async def _refused(request: Request, error: Exception) -> Response:
    """A page for whoever navigates, a plain line for scripts and for the way to the login."""
    assert isinstance(error, HTTPException)
    navigates = request.headers.get("sec-fetch-mode", "navigate") == "navigate"
    if error.status_code == HTTPStatus.SEE_OTHER or not navigates:
        return await plain_answer(request, error)
    sentence = str(error.detail)
    if sentence == HTTPStatus(error.status_code).phrase:  # nobody wrote one
        sentence = "the address is wrong, or what it named is gone"
    return await _message(request, error.status_code, _said(sentence), error.headers)


async def _malformed(request: Request, _error: Exception) -> Response:
    return await _message(request, HTTPStatus.BAD_REQUEST, "This address can’t be understood.")


async def _failed(request: Request, error: Exception) -> Response:
    """What went wrong is in the log."""
    LOGGER.error("page not shown: %s", error, extra={"path": request.url.path[:200]})
    said = _said(failure_sentence(error))
    return await _message(request, HTTPStatus.SERVICE_UNAVAILABLE, said)


def _said(sentence: str) -> str:
    return f"{sentence[:1].upper()}{sentence[1:]}."


async def _message(
    request: Request, status: int, sentence: str, headers: object = None
) -> Response:
    try:
        principal = await identity_of(request).principal(request)
    except DicomnodeError:
        principal = None
    title = _TITLES.get(HTTPStatus(status), "This was refused")
    said = Message(title, sentence)
    answer = desk_of(request).page(request, principal, "message.html", said, status)
    if isinstance(headers, dict):
        answer.headers.update(headers)
    return answer
