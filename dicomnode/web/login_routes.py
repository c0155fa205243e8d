"""What the form of the login page, and the button that ends a login, lead to."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated
from urllib.parse import urlencode

from fastapi import APIRouter, Depends, Request
from fastapi.responses import RedirectResponse

from dicomnode.domain import Role
from dicomnode.web.identity import Principal, log_in, log_out, own_form, require
from dicomnode.web.origin import local_path

router = APIRouter(include_in_schema=False)


@router.post("/login")
async def post_login(request: Request) -> RedirectResponse:
    """Fields: name, password, next. What was wrong is not told: `/login?refused=1`."""
    form = await own_form(request)
    path = local_path(str(form.get("next", "")))
    answer = RedirectResponse(path, HTTPStatus.SEE_OTHER)
    name, password = str(form.get("name", "")), str(form.get("password", ""))
    if await log_in(request, name, password, answer):
        return answer
    query = urlencode({"refused": "1", "next": path})
    return RedirectResponse(f"/login?{query}", HTTPStatus.SEE_OTHER)


@router.post("/logout")
async def post_logout(
    request: Request, principal: Annotated[Principal, Depends(require(Role.VIEWER))]
) -> RedirectResponse:
    answer = RedirectResponse("/login", HTTPStatus.SEE_OTHER)
    await log_out(request, principal, answer)
    return answer
