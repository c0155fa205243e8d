"""Is this the account's password? The answer tells nothing else, and takes as long for any name.

The hash is checked between two transactions, since it takes long and SQLite has one writer. What
comes of it is written, and only then told, by the row as it stands then: guesses made side by side
count one after the other.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, TypeVar

import sqlalchemy as sa

from dicomnode.errors import AccountError
from dicomnode.tracking import audit, passwords
from dicomnode.tracking.account_names import account_name
from dicomnode.tracking.accounts import Account, account_of
from dicomnode.tracking.database import Database
from dicomnode.tracking.gate_schema import accounts

FAILURES_UNTIL_PAUSE = 5
_FIRST_PAUSE = timedelta(seconds=30)
_LONGEST_PAUSE = timedelta(minutes=15)

T = TypeVar("T")


@dataclass(frozen=True)
class _Checked:
    """What was found out between the transactions; `new_hash` where the old one is outdated."""

    name: str
    password_hash: str
    is_right: bool
    new_hash: str


def authenticate(
    database: Database,
    name: str,
    password: str,
    now: datetime,
    then: Callable[[sa.Connection, Account], T],
    address: str = "",
) -> T | None:
    """What `then` gives for the account, in the transaction that found it right; else None.

    None for an unknown, disabled or paused account and for a wrong password alike.
    """
    checked = _checked(database, name, password)
    with database.begin() as c:
        row = c.execute(
            sa.select(accounts).where(accounts.c.name == checked.name).with_for_update()
        ).one_or_none()
        if why_not := _why_not(row, checked, now):
            _refuse(c, row, why_not, now, address)
            return None
        assert row is not None
        values: dict[str, Any] = {"failed_logins": 0, "locked_until": None}
        if checked.new_hash:
            values["password_hash"] = checked.new_hash
        c.execute(accounts.update().where(accounts.c.id == row.id).values(values))
        return then(c, account_of(row))


def _checked(database: Database, given: str, password: str) -> _Checked:
    try:
        name = account_name(given)
    except AccountError:
        name = ""
    query = sa.select(accounts.c.password_hash).where(accounts.c.name == name)
    with database.read() as c:
        password_hash = c.scalar(query) or ""
    is_right = passwords.is_right(password, password_hash)
    is_outdated = is_right and passwords.is_outdated(password_hash)
    new_hash = passwords.hashed(password) if is_outdated else ""
    return _Checked(name, password_hash, is_right, new_hash)


_WRONG_PASSWORD = "wrong password"


def _why_not(row: sa.Row[Any] | None, checked: _Checked, now: datetime) -> str:
    """For the audit log only."""
    if row is None:
        return "unknown account"
    if not row.is_enabled:
        return "disabled account"
    if row.locked_until is not None and row.locked_until > now:
        return "pause after wrong passwords"
    if not checked.is_right or row.password_hash != checked.password_hash:
        return _WRONG_PASSWORD
    return ""


def _refuse(
    c: sa.Connection, row: sa.Row[Any] | None, why: str, now: datetime, address: str
) -> None:
    """An unknown name is not written down: it may be a password in the wrong field."""
    if row is not None and why == _WRONG_PASSWORD:
        failures = row.failed_logins + 1
        values = {"failed_logins": failures, "locked_until": _locked_until(failures, now)}
        c.execute(accounts.update().where(accounts.c.id == row.id).values(values))
    subject = row.name if row is not None else ""
    audit.append(c, "login refused", subject, {"why": why, "address": address}, now)


def _locked_until(failures: int, now: datetime) -> datetime | None:
    """Longer with every further failure."""
    beyond = failures - FAILURES_UNTIL_PAUSE
    if beyond < 0:
        return None
    return now + min(_FIRST_PAUSE * (1 << min(beyond, 10)), _LONGEST_PAUSE)
