"""Who is logged in: the browser holds a random token, the database its SHA-256.

A login ends when nothing was asked for so long, and after a whole working day in any case. It also
ends when its account gets another role or password, or is disabled (`accounts`).
"""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa

from dicomnode.tracking import audit
from dicomnode.tracking.accounts import Account, account_of
from dicomnode.tracking.gate_schema import accounts, logins

_TOKEN_BYTES = 32
_SEEN_AGAIN = timedelta(minutes=1)


@dataclass(frozen=True)
class LoginLimits:
    """How long a login lasts without a request, and at most."""

    idle: timedelta
    longest: timedelta


@dataclass(frozen=True)
class Login:
    """`is_to_be_seen`: its last request is so long ago that this one should be noted (`seen`)."""

    account: Account
    is_to_be_seen: bool


def open_login(
    c: sa.Connection, account: Account, limits: LoginLimits, now: datetime, address: str = ""
) -> str:
    """The token, which is never told again. Those that have expired are removed."""
    c.execute(logins.delete().where(sa.not_(_lasts(limits, now))))
    token = secrets.token_urlsafe(_TOKEN_BYTES)
    values = {"sha256": _sha256(token), "account_id": account.id}
    c.execute(logins.insert().values(values | {"created_at": now, "last_seen_at": now}))
    audit.append(c, "login", account.name, {"address": address}, now)
    return token


def find_login(c: sa.Connection, token: str, limits: LoginLimits, now: datetime) -> Login | None:
    """None where the token is none, has expired, or its account is disabled."""
    query = (
        sa.select(accounts, logins.c.last_seen_at)
        .join(logins, logins.c.account_id == accounts.c.id)
        .where(logins.c.sha256 == _sha256(token), accounts.c.is_enabled, _lasts(limits, now))
    )
    row = c.execute(query).one_or_none()
    if row is None:
        return None
    return Login(account_of(row), now - row.last_seen_at >= _SEEN_AGAIN)


def seen(c: sa.Connection, token: str, now: datetime) -> None:
    c.execute(logins.update().where(logins.c.sha256 == _sha256(token)).values(last_seen_at=now))


def close_login(c: sa.Connection, token: str, now: datetime) -> None:
    """Nothing happens where it is closed already."""
    row = c.execute(
        logins.delete().where(logins.c.sha256 == _sha256(token)).returning(logins.c.account_id)
    ).one_or_none()
    if row is not None:
        name = c.scalar(sa.select(accounts.c.name).where(accounts.c.id == row.account_id))
        audit.append(c, "logout", name or "", at=now)


def _lasts(limits: LoginLimits, now: datetime) -> sa.ColumnElement[bool]:
    return sa.and_(
        logins.c.last_seen_at > now - limits.idle, logins.c.created_at > now - limits.longest
    )


def _sha256(token: str) -> str:
    """The token is random: a digest that takes long would keep nothing safer."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()
