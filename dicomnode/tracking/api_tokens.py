"""Tokens for programs. Each acts for its account, with a role that is never more than that one's.

A token is random and shown once; the database keeps its SHA-256.
"""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa

from dicomnode.domain import Role
from dicomnode.errors import AccountError
from dicomnode.tracking import audit
from dicomnode.tracking.accounts import COMMAND_LINE, Account, account_of
from dicomnode.tracking.gate_schema import accounts, api_tokens

PREFIX = "dn_"
_TOKEN_BYTES = 32
_LONGEST_NAME = 64


@dataclass(frozen=True)
class ApiToken:
    """`role` is what it was made for; `name` tells people what uses it."""

    id: int
    name: str
    account: str
    role: Role
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None


@dataclass(frozen=True)
class TokenHolder:
    """For whom a token acts; `role` is the lower one of the token's and the account's."""

    token_id: int
    account: Account
    role: Role


def create(
    c: sa.Connection,
    account: Account,
    name: str,
    role: Role,
    *,
    expires_at: datetime | None = None,
    by: str = COMMAND_LINE,
    now: datetime | None = None,
) -> tuple[ApiToken, str]:
    """The row, and the token itself. Raises `AccountError` where it may not be as asked for."""
    name, at = name.strip(), now or datetime.now(UTC)
    if not name or len(name) > _LONGEST_NAME or not name.isprintable():
        raise AccountError(f"a token has a name of up to {_LONGEST_NAME} characters")
    if not account.role.includes(role):
        raise AccountError(f"{account.name} is {account.role}, so its tokens can't be {role}")
    if expires_at is not None and expires_at <= at:
        raise AccountError("a token has to end in the future")
    token = PREFIX + secrets.token_urlsafe(_TOKEN_BYTES)
    values = {"sha256": _sha256(token), "name": name, "account_id": account.id}
    times = {"created_at": at, "expires_at": expires_at}
    insert = api_tokens.insert().values(values | times | {"role": role.value})
    row = c.execute(insert.returning(api_tokens)).one()
    detail = {"token": row.id, "name": name, "role": role.value, "by": by}
    audit.append(c, "token created", account.name, detail, at)
    return _token(row, account.name), token


def find(c: sa.Connection, token: str, now: datetime) -> TokenHolder | None:
    """None where it is none, has ended or was revoked, or its account is disabled."""
    if not token.startswith(PREFIX):
        return None
    t = api_tokens.c
    query = (
        sa.select(accounts, t.id.label("token_id"), t.role.label("token_role"))
        .join(api_tokens, t.account_id == accounts.c.id)
        .where(
            t.sha256 == _sha256(token),
            t.revoked_at.is_(None),
            sa.or_(t.expires_at.is_(None), t.expires_at > now),
            accounts.c.is_enabled,
        )
    )
    row = c.execute(query).one_or_none()
    if row is None:
        return None
    account = account_of(row)
    role = min(account.role, Role(row.token_role), key=lambda one: one.rank)
    return TokenHolder(row.token_id, account, role)


def revoke(
    c: sa.Connection, token_id: int, *, by: str = COMMAND_LINE, now: datetime | None = None
) -> ApiToken:
    """Raises `AccountError` where there is none, or it was revoked before."""
    t, at = api_tokens.c, now or datetime.now(UTC)
    update = api_tokens.update().where(t.id == token_id, t.revoked_at.is_(None))
    row = c.execute(update.values(revoked_at=at).returning(api_tokens)).one_or_none()
    if row is None:
        raise AccountError(f"token {token_id}: there is none, or it was revoked before")
    name = c.scalar(sa.select(accounts.c.name).where(accounts.c.id == row.account_id)) or ""
    audit.append(c, "token revoked", name, {"token": token_id, "name": row.name, "by": by}, at)
    return _token(row, name)


def every(c: sa.Connection, account: str | None = None) -> tuple[ApiToken, ...]:
    """The oldest first; of one account, where named."""
    t = api_tokens.c
    query = sa.select(api_tokens, accounts.c.name.label("account")).join(
        accounts, t.account_id == accounts.c.id
    )
    if account is not None:
        query = query.where(accounts.c.name == account)
    return tuple(_token(row, row.account) for row in c.execute(query.order_by(t.id)))


def _token(row: sa.Row[Any], account: str) -> ApiToken:
    return ApiToken(
        id=row.id,
        name=row.name,
        account=account,
        role=Role(row.role),
        created_at=row.created_at,
        expires_at=row.expires_at,
        revoked_at=row.revoked_at,
    )


def _sha256(token: str) -> str:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()
