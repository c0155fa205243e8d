"""To the OpenID provider and back."""

from __future__ import annotations

import hmac
import logging
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi.responses import RedirectResponse
from starlette.concurrency import run_in_threadpool

from dicomnode.config import WebSettings
from dicomnode.domain import Role
from dicomnode.errors import AccountError
from dicomnode.tracking.oidc_accounts import account_for
from dicomnode.web.identity import Identity, identity_of
from dicomnode.web.oidc import OidcError, PendingLogins, Person, Provider
from dicomnode.web.origin import client_address, local_path
from dicomnode.web.refused import RequestRefusedError

LOGGER = logging.getLogger("dicomnode.web")

CALLBACK_PATH = "/login/oidc/callback"
_COOKIE_SECONDS = 600


class OidcLogin:
    """The two paths of the login elsewhere."""

    def __init__(self, settings: WebSettings) -> None:
        """Raises `ConfigurationError` where the client's secret can't be read."""
        assert settings.oidc is not None
        origin = settings.origin or f"{settings.scheme}://{settings.host}:{settings.port}"
        self._provider = Provider(settings.oidc, f"{origin}{CALLBACK_PATH}")
        self._pending = PendingLogins()
        self._is_https = settings.is_https
        self._cookie = "__Host-dicomnode-oidc" if settings.is_https else "dicomnode-oidc"
        self.router = APIRouter(include_in_schema=False)
        self.router.get("/login/oidc")(self.begin)
        self.router.get(CALLBACK_PATH)(self.come_back)

    async def begin(
        self, request: Request, next_: Annotated[str, Query(alias="next")] = "/"
    ) -> RedirectResponse:
        identity = identity_of(request)
        identity.count_attempt_from(request)
        pending = self._pending.begin(local_path(next_))
        try:
            url = await self._provider.authorization_url(pending)
        except OidcError as error:
            raise self._away(error) from None
        answer = RedirectResponse(url, HTTPStatus.SEE_OTHER)
        answer.set_cookie(
            self._cookie,
            pending.state,
            max_age=_COOKIE_SECONDS,
            path="/",
            httponly=True,
            samesite="lax",
            secure=self._is_https,
        )
        return answer

    async def come_back(
        self, request: Request, state: str = "", code: str = ""
    ) -> RedirectResponse:
        """The browser that left, with the state that it was given, once."""
        identity = identity_of(request)
        identity.count_attempt_from(request)
        is_same = hmac.compare_digest(
            request.cookies.get(self._cookie, "").encode(), state.encode()
        )
        pending = self._pending.take(state) if is_same else None
        if pending is None or not code:
            await identity.record(request, "no login elsewhere was begun by this browser")
            raise _refused("this login was not begun here, or took too long: log in again")
        try:
            person = await self._provider.person(pending, code)
        except OidcError as error:
            raise self._away(error) from None
        token = await self._log_in(request, identity, person)
        answer = RedirectResponse(pending.path, HTTPStatus.SEE_OTHER)
        answer.delete_cookie(self._cookie, path="/", secure=self._is_https, httponly=True)
        identity.set_cookie(answer, token)
        return answer

    async def _log_in(self, request: Request, identity: Identity, person: Person) -> str:
        if person.role is None:
            await identity.record(request, "no group of this person has a role")
            raise _refused("no group of yours has a role here: ask the administrator")
        address = client_address(request, identity.settings)
        earlier = request.cookies.get(identity.cookie, "")
        try:
            return await run_in_threadpool(_open, identity, person, person.role, address, earlier)
        except AccountError as error:
            await identity.record(request, str(error))
            raise _refused("this account can't be used here: ask the administrator") from None

    def _away(self, error: OidcError) -> RequestRefusedError:
        LOGGER.error("the OpenID provider can't be used", extra={"error": str(error)})
        return RequestRefusedError(
            HTTPStatus.BAD_GATEWAY, "the OpenID provider can't be used now: try again"
        )


def _open(identity: Identity, person: Person, role: Role, address: str, earlier: str) -> str:
    now = datetime.now(UTC)
    with identity.database.begin() as c:
        account = account_for(c, person.subject, person.names, role, now)
        return identity.open_login(c, account, address, earlier)


def _refused(sentence: str) -> RequestRefusedError:
    return RequestRefusedError(HTTPStatus.FORBIDDEN, sentence)
