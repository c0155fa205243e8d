"""Who may use the review desk and the HTTP door of the gate.

Accounts are disabled, never deleted: what a person decided goes on naming who it was. A new role, a
new password and disabling close what is logged in.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from dicomnode.domain import Role as Role
from dicomnode.errors import AccountError
from dicomnode.tracking import audit
from dicomnode.tracking.account_names import account_name
from dicomnode.tracking.audit_chain import JsonValue
from dicomnode.tracking.gate_schema import accounts, logins

# Who changes accounts from a terminal of the node's own machine.
COMMAND_LINE = "command line"


@dataclass(frozen=True)
class Account:
    """`oidc_subject` is the issuer and its name for the person, where they log in elsewhere."""

    id: int
    name: str
    role: Role
    is_enabled: bool
    has_password: bool
    oidc_subject: str | None
    locked_until: datetime | None
    created_at: datetime


def create(
    c: sa.Connection,
    name: str,
    role: Role,
    *,
    password_hash: str = "",
    oidc_subject: str | None = None,
    by: str = COMMAND_LINE,
    now: datetime | None = None,
) -> Account:
    """Raises `AccountError` where the name is none or taken; `password_hash`: `passwords`."""
    name, at = account_name(name), now or datetime.now(UTC)
    if by_name(c, name) is not None:
        raise AccountError(f"{name}: there is such an account already")
    values = {
        "name": name,
        "role": role.value,
        "password_hash": password_hash,
        "oidc_subject": oidc_subject,
        "is_enabled": True,
        "created_at": at,
    }
    try:
        row = c.execute(accounts.insert().values(values).returning(accounts)).one()
    except IntegrityError:  # made by another one meanwhile
        raise AccountError(f"{name}: there is such an account already") from None
    audit.append(c, "account created", name, {"role": role.value, "by": by}, at)
    return account_of(row)


def set_role(
    c: sa.Connection, name: str, role: Role, *, by: str = COMMAND_LINE, now: datetime | None = None
) -> Account:
    return _change(c, name, "role changed", {"role": role.value}, by, now, {"role": role.value})


def set_enabled(
    c: sa.Connection,
    name: str,
    is_enabled: bool,
    *,
    by: str = COMMAND_LINE,
    now: datetime | None = None,
) -> Account:
    event = "account enabled" if is_enabled else "account disabled"
    return _change(c, name, event, {"is_enabled": is_enabled} | _UNLOCKED, by, now)


def set_password(
    c: sa.Connection,
    name: str,
    password_hash: str,
    *,
    by: str = COMMAND_LINE,
    now: datetime | None = None,
) -> Account:
    """Also ends the pause after wrong ones. `password_hash`: `passwords.hashed`."""
    values = {"password_hash": password_hash} | _UNLOCKED
    return _change(c, name, "password changed", values, by, now)


def by_name(c: sa.Connection, name: str) -> Account | None:
    row = c.execute(sa.select(accounts).where(accounts.c.name == name)).one_or_none()
    return None if row is None else account_of(row)


def by_oidc_subject(c: sa.Connection, oidc_subject: str) -> Account | None:
    query = sa.select(accounts).where(accounts.c.oidc_subject == oidc_subject)
    row = c.execute(query).one_or_none()
    return None if row is None else account_of(row)


def every(c: sa.Connection) -> tuple[Account, ...]:
    """By name."""
    return tuple(map(account_of, c.execute(sa.select(accounts).order_by(accounts.c.name))))


def exist(c: sa.Connection) -> bool:
    """Whether there is one that may log in."""
    query = sa.select(accounts.c.id).where(accounts.c.is_enabled).limit(1)
    return c.execute(query).first() is not None


def why_not(c: sa.Connection, name: str, role: Role) -> str:
    """What keeps this name from acting with the role, and what to do; empty: it may.

    A node that never had an account knows nobody, so every name may.
    """
    account = by_name(c, name)
    if account is None:
        last = c.scalar(sa.select(accounts.c.id).order_by(accounts.c.id.desc()).limit(1))
        return "" if last is None else f"there is no such account (dicomnode accounts add {name})"
    if not account.is_enabled:
        return f"the account is disabled (dicomnode accounts enable {name})"
    if not account.role.includes(role):
        return f"a {account.role} may not (dicomnode accounts role {name} {role})"
    return ""


def close_logins(c: sa.Connection, account_id: int) -> int:
    """How many there were."""
    return c.execute(logins.delete().where(logins.c.account_id == account_id)).rowcount


def account_of(row: sa.Row[Any]) -> Account:
    """Of a row with the columns of `accounts`."""
    return Account(
        id=row.id,
        name=row.name,
        role=Role(row.role),
        is_enabled=row.is_enabled,
        has_password=bool(row.password_hash),
        oidc_subject=row.oidc_subject,
        locked_until=row.locked_until,
        created_at=row.created_at,
    )


_UNLOCKED: dict[str, Any] = {"failed_logins": 0, "locked_until": None}


def _change(
    c: sa.Connection,
    name: str,
    event: str,
    values: dict[str, Any],
    by: str,
    now: datetime | None,
    told: dict[str, JsonValue] | None = None,
) -> Account:
    name = account_name(name)
    update = accounts.update().where(accounts.c.name == name).values(values)
    row = c.execute(update.returning(accounts)).one_or_none()
    if row is None:
        raise AccountError(f"{name}: there is no such account (dicomnode accounts list)")
    close_logins(c, row.id)
    audit.append(c, event, name, {**(told or {}), "by": by}, now)
    return account_of(row)
