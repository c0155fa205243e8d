"""What people and their programs use: guarded as one, and answering nothing until there is one."""

from __future__ import annotations

from http import HTTPStatus

from fastapi import FastAPI
from starlette.concurrency import run_in_threadpool
from starlette.middleware import Middleware
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from dicomnode.config import Settings
from dicomnode.config_values import is_loopback
from dicomnode.errors import ConfigurationError, DatabaseError
from dicomnode.tracking import accounts
from dicomnode.tracking.database import Database
from dicomnode.web import login_routes
from dicomnode.web.bodies import BoundedBodies
from dicomnode.web.headers import SecurityHeaders
from dicomnode.web.identity import Identity
from dicomnode.web.origin import OwnHost
from dicomnode.web.refused import RequestRefusedError, database_away, plain_answer

NO_ACCOUNT = (
    "there is no account, so nobody is answered: dicomnode accounts add NAME --role administrator"
)
_LONGEST_FORM_BYTES = 256 * 1024


def make_pages(settings: Settings, identity: Identity) -> FastAPI:
    """The review desk, and its login."""
    pages = FastAPI(openapi_url=None, middleware=guards(settings, identity, _LONGEST_FORM_BYTES))
    pages.state.identity = identity
    pages.add_exception_handler(RequestRefusedError, plain_answer)
    pages.add_exception_handler(DatabaseError, database_away)
    pages.include_router(login_routes.router)
    if settings.web.oidc is not None:
        # Most sites have none, and it takes a while to import.
        from dicomnode.web.oidc_routes import OidcLogin

        pages.include_router(OidcLogin(settings.web).router)
    return pages


def guards(settings: Settings, identity: Identity, longest_body_bytes: int) -> list[Middleware]:
    """What stands before pages and API alike, the outermost first."""
    idle_seconds = settings.scp.network_timeout_seconds
    return [
        Middleware(SecurityHeaders, is_https=settings.web.is_https),
        Middleware(OwnHost, settings=settings.web),
        Middleware(
            NeedsAnAccount, database=identity.database, is_there=settings.web.oidc is not None
        ),
        Middleware(BoundedBodies, maximum_bytes=longest_body_bytes, seconds=idle_seconds),
    ]


def refuse_without_accounts(settings: Settings, database: Database) -> None:
    """Raises `ConfigurationError`: other machines reach the desk only when somebody may log in."""
    if not settings.web.desk or is_loopback(settings.web.host) or settings.web.oidc is not None:
        return
    with database.read() as connection:
        if not accounts.exist(connection):
            raise ConfigurationError(f"web.host: {settings.web.host}, but {NO_ACCOUNT}")


class NeedsAnAccount:
    """On loopback too: a machine has many users. Accounts aren't deleted, so one look is enough.

    `is_there`: an OpenID provider says who people are, and accounts are made as they come.
    """

    def __init__(self, app: ASGIApp, database: Database, is_there: bool = False) -> None:
        self._app = app
        self._database = database
        self._is_there = is_there

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and not self._is_there:
            sentence = NO_ACCOUNT
            try:
                self._is_there = await run_in_threadpool(self._look)
            except DatabaseError:
                sentence = "the database is away: try again"
            if not self._is_there:
                answer = PlainTextResponse(f"{sentence}\n", HTTPStatus.SERVICE_UNAVAILABLE)
                await answer(scope, receive, send)
                return
        await self._app(scope, receive, send)

    def _look(self) -> bool:
        with self._database.read() as connection:
            return accounts.exist(connection)
