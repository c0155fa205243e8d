"""Who asks: a person with a login, found by the cookie, with the role that it has now.

Every form carries a token that only its own login can have, beside what the browser says of where
the form came from (`origin`). A login is a new random token each time, so nobody can be led to use
one that a stranger knows.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http import HTTPStatus
from typing import TYPE_CHECKING
from urllib.parse import quote

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import FormData
from starlette.requests import HTTPConnection, Request
from starlette.responses import Response

from dicomnode.config import WebSettings
from dicomnode.domain import Role
from dicomnode.rates import Rates, address_key
from dicomnode.tracking import audit, logins
from dicomnode.tracking.accounts import Account
from dicomnode.tracking.authentication import authenticate
from dicomnode.tracking.database import Database
from dicomnode.tracking.logins import LoginLimits
from dicomnode.web.origin import client_address, is_of_our_pages
from dicomnode.web.refused import RequestRefusedError, see_other, too_many

if TYPE_CHECKING:
    from sqlalchemy import Connection

LOGGER = logging.getLogger("dicomnode.web")

CSRF_FIELD, CSRF_HEADER = "csrf_token", "X-CSRF-Token"
_SAFE_METHODS = ("GET", "HEAD")
# Each takes 64 MiB and a processor for a while.
_HASHES_AT_ONCE = 2
# Refused requests of an address that are written down.
_RECORDS_PER_MINUTE = 60
_MOST_FIELDS = 1000


@dataclass(frozen=True)
class Principal:
    """`csrf_token` goes into every form, as the field `csrf_token`."""

    account: Account
    role: Role
    csrf_token: str
    login_token: str = field(repr=False, default="")


class Identity:
    """Logins of one HTTP role; it is `app.state.identity`."""

    def __init__(self, settings: WebSettings, database: Database) -> None:
        self.settings = settings
        self.database = database
        self.limits = LoginLimits(settings.login_idle, settings.login_longest)
        self.cookie = "__Host-dicomnode" if settings.is_https else "dicomnode"
        self._rates = Rates(settings.logins_per_minute)
        self._recording = Rates(_RECORDS_PER_MINUTE)
        self._hashing = asyncio.Semaphore(_HASHES_AT_ONCE)

    async def principal(self, request: HTTPConnection) -> Principal | None:
        token = request.cookies.get(self.cookie, "")
        if not token:
            return None
        return await run_in_threadpool(self._find, token, _is_of_a_person(request))

    async def log_in(self, request: Request, name: str, password: str) -> str | None:
        """The token of a new login; None where it is refused, whatever the reason."""
        address = client_address(request, self.settings)
        self.count_attempt_from(request)
        self._count_attempt(f"account {name.strip().lower()[:64]}")
        earlier = request.cookies.get(self.cookie, "")
        async with self._hashing:
            return await run_in_threadpool(self._log_in, name, password, address, earlier)

    def count_attempt_from(self, request: HTTPConnection) -> None:
        """Raises `RequestRefusedError` (429) where there were too many of this address."""
        self._count_attempt(f"address {address_key(client_address(request, self.settings))}")

    def _count_attempt(self, key: str) -> None:
        if wait := self._rates.seconds_to_wait(key):
            raise too_many(wait)

    def open_login(self, c: Connection, account: Account, address: str, earlier: str) -> str:
        """A new token; the earlier login of this browser ends."""
        now = datetime.now(UTC)
        logins.close_login(c, earlier, now)
        return logins.open_login(c, account, self.limits, now, address)

    async def log_out(self, principal: Principal) -> None:
        await run_in_threadpool(self._log_out, principal.login_token)

    def set_cookie(self, response: Response, token: str) -> None:
        """Gone with the browser; not for scripts, and not for requests of other sites' forms."""
        is_https = self.settings.is_https
        response.set_cookie(
            self.cookie, token, path="/", httponly=True, samesite="lax", secure=is_https
        )

    def delete_cookie(self, response: Response) -> None:
        is_https = self.settings.is_https
        response.delete_cookie(
            self.cookie, path="/", httponly=True, samesite="lax", secure=is_https
        )

    async def record(self, request: HTTPConnection, sentence: str, account: str = "") -> None:
        """What was refused, and to whom."""
        detail = {"sentence": sentence, "account": account, "path": request.url.path[:200]}
        address = client_address(request, self.settings)
        LOGGER.warning("request refused: %s", sentence, extra={"peer": address})
        # A flood must not grow the audit log, which is never shortened.
        if not self._recording.seconds_to_wait(address_key(address)):
            await run_in_threadpool(self._record, address, detail)

    def _find(self, token: str, is_of_a_person: bool) -> Principal | None:
        now = datetime.now(UTC)
        with self.database.read() as c:
            login = logins.find_login(c, token, self.limits, now)
        if login is None:
            return None
        if login.is_to_be_seen and is_of_a_person:
            with self.database.begin() as c:
                logins.seen(c, token, now)
        return Principal(login.account, login.account.role, csrf_token(token), token)

    def _log_in(self, name: str, password: str, address: str, earlier: str) -> str | None:
        def then(c: Connection, account: Account) -> str:
            return self.open_login(c, account, address, earlier)

        now = datetime.now(UTC)
        return authenticate(self.database, name, password, now, then, address)

    def _log_out(self, token: str) -> None:
        with self.database.begin() as c:
            logins.close_login(c, token, datetime.now(UTC))

    def _record(self, address: str, detail: dict[str, str]) -> None:
        with self.database.begin() as c:
            audit.append(c, "request refused", address, detail)


def require(role: Role) -> Callable[[Request], Awaitable[Principal]]:
    """A dependency of a page: who asks has a login and at least this role.

    It also checks that a form is one of our own. Raises `RequestRefusedError`.
    """

    async def principal(request: Request) -> Principal:
        identity = identity_of(request)
        found = await identity.principal(request)
        if found is None:
            raise _log_in_first(request)
        if request.method not in _SAFE_METHODS:
            await _check_form(request, found)
        if not found.role.includes(role):
            sentence = f"this needs the role {role}; {found.account.name} is {found.role}"
            await identity.record(request, sentence, found.account.name)
            raise RequestRefusedError(HTTPStatus.FORBIDDEN, sentence)
        return found

    return principal


async def own_form(request: Request) -> FormData:
    """The fields of a form that one of our pages sent; for those without a login.

    Raises `RequestRefusedError` where another site sent it.
    """
    identity = identity_of(request)
    if not is_of_our_pages(request, identity.settings):
        await identity.record(request, "the form is not of our pages")
        raise RequestRefusedError(HTTPStatus.FORBIDDEN, "this form is not of our pages")
    return await request.form(max_files=0, max_fields=_MOST_FIELDS)


async def log_in(request: Request, name: str, password: str, response: Response) -> bool:
    """Whether it was right; then `response` brings the cookie.

    Raises `RequestRefusedError` (429) after too many attempts.
    """
    identity = identity_of(request)
    token = await identity.log_in(request, name, password)
    if token is None:
        return False
    identity.set_cookie(response, token)
    return True


async def log_out(request: Request, principal: Principal, response: Response) -> None:
    identity = identity_of(request)
    await identity.log_out(principal)
    identity.delete_cookie(response)


def identity_of(request: HTTPConnection) -> Identity:
    found = request.app.state.identity
    assert isinstance(found, Identity)
    return found


def _is_of_a_person(request: HTTPConnection) -> bool:
    """A page that was left open asks for its live part by itself: that keeps no login alive."""
    is_safe = request.scope.get("method") in _SAFE_METHODS
    return not is_safe or request.headers.get("sec-fetch-mode", "navigate") == "navigate"


def csrf_token(login_token: str) -> str:
    """What only this login's pages know; the login can't be found from it."""
    return hmac.new(login_token.encode(), b"dicomnode csrf", hashlib.sha256).hexdigest()


async def _check_form(request: Request, principal: Principal) -> None:
    form = await own_form(request)
    given = request.headers.get(CSRF_HEADER) or form.get(CSRF_FIELD)
    is_ours = isinstance(given, str) and hmac.compare_digest(
        given.encode(), principal.csrf_token.encode()
    )
    if not is_ours:
        account = principal.account.name
        await identity_of(request).record(request, "the form has no right token", account)
        raise RequestRefusedError(
            HTTPStatus.FORBIDDEN, "this page is too old, or not ours: load it again"
        )


def _log_in_first(request: Request) -> RequestRefusedError:
    """A page leads to the login and back; what a script asks for is only refused."""
    if request.method == "GET" and request.headers.get("sec-fetch-mode", "navigate") == "navigate":
        here = request.url.path + (f"?{request.url.query}" if request.url.query else "")
        return see_other(f"/login?next={quote(here, safe='')}")
    return RequestRefusedError(HTTPStatus.UNAUTHORIZED, "log in first")
