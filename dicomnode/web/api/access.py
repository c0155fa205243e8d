"""Who asks: a program with a token of an account, with the role that it has now."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Annotated

from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from starlette.concurrency import run_in_threadpool
from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Receive, Scope, Send

from dicomnode.config import Settings
from dicomnode.domain import GateDecision
from dicomnode.errors import DatabaseError
from dicomnode.inference.examiner import ExaminerInUse
from dicomnode.meters import Meters
from dicomnode.rates import Rates, address_key
from dicomnode.tracking import api_tokens
from dicomnode.tracking.api_tokens import TokenHolder
from dicomnode.tracking.database import Database
from dicomnode.web.api.problems import answer_to
from dicomnode.web.identity import Identity
from dicomnode.web.origin import client_address
from dicomnode.web.permissions import LEAST_ROLE, Permission
from dicomnode.web.refused import RequestRefusedError, too_many

_BEARER = HTTPBearer(auto_error=False, description="A token: dicomnode tokens add ACCOUNT")
Credentials = Annotated[HTTPAuthorizationCredentials | None, Depends(_BEARER)]


class Door:
    """What the paths of the API share; it is `app.state.door`."""

    def __init__(
        self, settings: Settings, identity: Identity, examiner: ExaminerInUse, meters: Meters
    ) -> None:
        self.meters = meters
        self.settings = settings
        self.examiner = examiner
        self.identity = identity
        self.database: Database = identity.database
        self.busy: set[int] = set()  # tokens with a list under way
        self._rates = Rates(settings.web.api_requests_per_minute)
        self._failures = Rates(settings.web.logins_per_minute)

    def counted(self, decision: GateDecision) -> GateDecision:
        """The same, after it was counted."""
        self.meters.count("gate_decisions_total", door="http", outcome=decision.outcome.value)
        return decision

    async def holder(self, request: HTTPConnection) -> TokenHolder:
        """Raises `RequestRefusedError`: 401, and 429 after too many requests or guesses."""
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        token = given.strip() if scheme.lower() == "bearer" else ""
        found = await run_in_threadpool(self._find, token) if token else None
        if found is None:
            await self._refuse(request, token)
            raise RequestRefusedError(
                HTTPStatus.UNAUTHORIZED,
                "a token is needed: Authorization: Bearer dn_...",
                {"WWW-Authenticate": "Bearer"},
            )
        if wait := self._rates.seconds_to_wait(str(found.token_id)):
            raise too_many(wait)
        return found

    async def _refuse(self, request: HTTPConnection, token: str) -> None:
        """Only so many of an address are written down."""
        address = client_address(request, self.identity.settings)
        if wait := self._failures.seconds_to_wait(address_key(address)):
            raise too_many(wait)
        await self.identity.record(request, "a wrong token" if token else "no token")

    def _find(self, token: str) -> TokenHolder | None:
        with self.database.read() as connection:
            return api_tokens.find(connection, token, datetime.now(UTC))


class TokensOnly:
    """Nothing of a request is read before its token is known to be one; whatever path it is for."""

    def __init__(self, app: ASGIApp, door: Door, open_path: str) -> None:
        self._app = app
        self._door = door
        self._open_path = open_path

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope.get("path", "").removeprefix(scope.get("root_path", ""))
        if scope["type"] == "http" and path != self._open_path:
            try:
                holder = await self._door.holder(HTTPConnection(scope))
            except (RequestRefusedError, DatabaseError) as error:
                await answer_to(error)(scope, receive, send)
                return
            scope.setdefault("state", {})["holder"] = holder
        await self._app(scope, receive, send)


def needs(permission: Permission) -> Callable[[Request, Credentials], Awaitable[TokenHolder]]:
    """A dependency: the token acts with at least the role that pages of the desk ask for."""
    role = LEAST_ROLE[permission]

    async def holder(request: Request, _for_the_document: Credentials) -> TokenHolder:
        found: TokenHolder = request.state.holder
        if not found.role.includes(role):
            sentence = f"this needs the role {role}; the token acts as {found.role}"
            identity = (await door_of(request)).identity
            await identity.record(request, sentence, found.account.name)
            raise RequestRefusedError(HTTPStatus.FORBIDDEN, sentence)
        return found

    return holder


ListReader = Annotated[TokenHolder, Depends(needs(Permission.SEE_LISTS))]
ExportReader = Annotated[TokenHolder, Depends(needs(Permission.SEE_EXPORTS))]
Releaser = Annotated[TokenHolder, Depends(needs(Permission.RELEASE))]


async def door_of(request: Request) -> Door:
    found = request.app.state.door
    assert isinstance(found, Door)
    return found


TheDoor = Annotated[Door, Depends(door_of)]
