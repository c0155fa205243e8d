from __future__ import annotations

from datetime import timedelta

import pytest
import sqlalchemy as sa

from dicomnode.tracking import accounts, audit, logins
from dicomnode.tracking.accounts import Account, Role
from dicomnode.tracking.database import Database
from dicomnode.tracking.gate_schema import logins as table
from dicomnode.tracking.logins import Login, LoginLimits
from tests.unit.tracking.rows import START, at

LIMITS = LoginLimits(idle=timedelta(minutes=30), longest=timedelta(hours=12))


@pytest.fixture
def anna(database: Database) -> Account:
    with database.begin() as c:
        return accounts.create(c, "anna", Role.STEWARD, now=START)


@pytest.fixture
def token(database: Database, anna: Account) -> str:
    with database.begin() as c:
        return logins.open_login(c, anna, LIMITS, START)


def find(database: Database, token: str, seconds: float = 1) -> Login | None:
    with database.read() as c:
        return logins.find_login(c, token, LIMITS, at(seconds))


def test_the_token_leads_to_its_account(database: Database, anna: Account, token: str) -> None:
    found = find(database, token)
    assert found is not None
    assert found.account == anna


@pytest.mark.parametrize("other", ["", "x", "\ud800", "0" * 5000])
def test_another_token_leads_nowhere(database: Database, token: str, other: str) -> None:
    assert find(database, other) is None
    assert find(database, token + "x") is None
    assert find(database, token[:-1]) is None


def test_the_database_does_not_hold_the_token(database: Database, token: str) -> None:
    with database.read() as c:
        (kept,) = c.scalars(sa.select(table.c.sha256))
    assert token not in kept
    assert len(token) == 43  # 256 bits
    assert find(database, kept) is None


def test_it_ends_when_nobody_asks_for_so_long(database: Database, token: str) -> None:
    assert find(database, token, 30 * 60 - 1) is not None
    assert find(database, token, 30 * 60) is None


def test_asking_keeps_it_up_but_not_for_ever(database: Database, token: str) -> None:
    seconds = 0.0
    while seconds < 12 * 3600 - 1500:
        seconds += 1500
        assert find(database, token, seconds) is not None
        with database.begin() as c:
            logins.seen(c, token, at(seconds))
    assert find(database, token, 12 * 3600) is None


def test_it_is_noted_once_a_minute(database: Database, token: str) -> None:
    noted = [find(database, token, seconds) for seconds in (0, 59, 60)]
    assert [one.is_to_be_seen for one in noted if one is not None] == [False, False, True]


def test_a_closed_one_stays_closed(database: Database, token: str) -> None:
    with database.begin() as c:
        logins.close_login(c, token, at(1))
        logins.close_login(c, token, at(2))
    assert find(database, token) is None
    with database.read() as c:
        assert len(audit.newest(c, event="logout", subject="anna")) == 1


@pytest.mark.parametrize("change", ["role", "password", "disabled"])
def test_a_change_of_the_account_closes_all_of_it(
    database: Database, token: str, change: str
) -> None:
    with database.begin() as c:
        other = accounts.create(c, "bob", Role.VIEWER)
        kept = logins.open_login(c, other, LIMITS, START)
        if change == "role":
            accounts.set_role(c, "anna", Role.VIEWER)
        elif change == "password":
            accounts.set_password(c, "anna", "hash")
        else:
            accounts.set_enabled(c, "anna", False)
            accounts.set_enabled(c, "anna", True)
    assert find(database, token) is None
    assert find(database, kept) is not None


def test_one_that_expired_is_removed_when_another_begins(
    database: Database, anna: Account, token: str
) -> None:
    with database.begin() as c:
        logins.open_login(c, anna, LIMITS, at(3600))
        assert c.scalar(sa.select(sa.func.count()).select_from(table)) == 1
