"""The page to log in, and what stands where somebody is refused."""

from __future__ import annotations

from dataclasses import dataclass
from http import HTTPStatus
from typing import Annotated
from urllib.parse import quote

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import RedirectResponse

from dicomnode.tracking import accounts
from dicomnode.web.desk.desk import DeskOf
from dicomnode.web.identity import identity_of
from dicomnode.web.origin import local_path

ROUTER = APIRouter(include_in_schema=False)


@dataclass(frozen=True)
class LoginPage:
    """`oidc_href` is empty where people log in here alone."""

    next: str
    error: str
    has_accounts: bool
    oidc_href: str
    add_command: str = "dicomnode accounts add NAME --role administrator"


@ROUTER.get("/")
@ROUTER.get("/desk")
def root() -> Response:
    return RedirectResponse("/desk/queue", HTTPStatus.SEE_OTHER)


@ROUTER.get("/login")
def login(
    request: Request,
    desk: DeskOf,
    next_: Annotated[str, Query(alias="next", max_length=500)] = "/",
    refused: str = "",
) -> Response:
    path = local_path(next_)
    with desk.database.read() as connection:
        has_accounts = accounts.exist(connection)
    oidc = identity_of(request).settings.oidc is not None
    error = "The account or the password is wrong, or the account is paused or disabled."
    page = LoginPage(
        next=path,
        error=error if refused else "",
        has_accounts=has_accounts,
        oidc_href=f"/login/oidc?next={quote(path, safe='')}" if oidc else "",
    )
    return desk.page(request, None, "login.html", page)
