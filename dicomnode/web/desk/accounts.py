"""Accounts and what their roles may do; they are made on the machine of the node."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from fastapi import APIRouter, Request, Response

from dicomnode.domain import Role
from dicomnode.tracking import accounts
from dicomnode.tracking.accounts import Account
from dicomnode.web.desk.access import AccountReader
from dicomnode.web.desk.desk import DeskOf
from dicomnode.web.permissions import Permission, may

ROUTER = APIRouter()


@dataclass(frozen=True)
class ShownAccount:
    name: str
    role: str
    state: str
    way: str
    created_at: datetime


@dataclass(frozen=True)
class PermissionRow:
    """Whether each role has it, in the order of the roles."""

    label: str
    allowed: tuple[bool, ...]


@dataclass(frozen=True)
class AccountsPage:
    accounts: Sequence[ShownAccount]
    roles: Sequence[str]
    permissions: Sequence[PermissionRow]


@ROUTER.get("/accounts")
def every_account(request: Request, desk: DeskOf, principal: AccountReader) -> Response:
    with desk.database.read() as connection:
        found = accounts.every(connection)
    now = datetime.now(UTC)
    page = AccountsPage(
        accounts=tuple(_shown(account, now) for account in found),
        roles=tuple(role.value for role in Role),
        permissions=tuple(
            PermissionRow(permission.value, tuple(may(role, permission) for role in Role))
            for permission in Permission
        ),
    )
    return desk.page(request, principal, "accounts.html", page)


def _shown(account: Account, now: datetime) -> ShownAccount:
    ways = ("password" if account.has_password else "", "site" if account.oidc_subject else "")
    way = " and ".join(way for way in ways if way) or "nothing yet"
    return ShownAccount(
        account.name, account.role.value, _state(account, now), way, account.created_at
    )


def _state(account: Account, now: datetime) -> str:
    if not account.is_enabled:
        return "disabled"
    paused = account.locked_until is not None and account.locked_until > now
    return "paused after wrong passwords" if paused else "may log in"
