from __future__ import annotations

import pytest
import sqlalchemy as sa

from dicomnode.errors import AccountError
from dicomnode.tracking import accounts, api_tokens, audit
from dicomnode.tracking.accounts import Account, Role
from dicomnode.tracking.api_tokens import TokenHolder
from dicomnode.tracking.database import Database
from dicomnode.tracking.gate_schema import api_tokens as table
from tests.unit.tracking.rows import START, at


@pytest.fixture
def robot(database: Database) -> Account:
    with database.begin() as c:
        return accounts.create(c, "robot", Role.STEWARD, now=START)


def make(database: Database, owner: Account, role: Role, seconds: float | None = None) -> str:
    end = None if seconds is None else at(seconds)
    with database.begin() as c:
        return api_tokens.create(c, owner, "nightly", role, expires_at=end, now=START)[1]


def find(database: Database, token: str, seconds: float = 1) -> TokenHolder | None:
    with database.read() as c:
        return api_tokens.find(c, token, at(seconds))


def test_a_token_acts_for_its_account_with_its_own_role(database: Database, robot: Account) -> None:
    token = make(database, robot, Role.VIEWER)
    found = find(database, token)
    assert found is not None
    assert (found.account, found.role) == (robot, Role.VIEWER)
    assert token.startswith("dn_")


def test_its_role_is_never_more_than_the_accounts(database: Database, robot: Account) -> None:
    with pytest.raises(AccountError, match="can't be administrator"):
        make(database, robot, Role.ADMINISTRATOR)
    token = make(database, robot, Role.STEWARD)
    with database.begin() as c:
        accounts.set_role(c, "robot", Role.VIEWER)
    found = find(database, token)
    assert found is not None
    assert found.role is Role.VIEWER


def test_it_ends_when_it_was_said_to(database: Database, robot: Account) -> None:
    token = make(database, robot, Role.VIEWER, seconds=60)
    assert find(database, token, 59) is not None
    assert find(database, token, 60) is None
    with pytest.raises(AccountError, match="future"):
        make(database, robot, Role.VIEWER, seconds=0)


def test_a_revoked_one_opens_nothing(database: Database, robot: Account) -> None:
    token = make(database, robot, Role.VIEWER)
    with database.begin() as c:
        (kept,) = api_tokens.every(c, "robot")
        api_tokens.revoke(c, kept.id)
        with pytest.raises(AccountError, match="revoked before"):
            api_tokens.revoke(c, kept.id)
    assert find(database, token) is None


def test_that_of_a_disabled_account_opens_nothing(database: Database, robot: Account) -> None:
    token = make(database, robot, Role.VIEWER)
    with database.begin() as c:
        accounts.set_enabled(c, "robot", False)
    assert find(database, token) is None


@pytest.mark.parametrize("given", ["", "dn_", "dn_\ud800", "x" * 9000])
def test_another_text_is_no_token(database: Database, robot: Account, given: str) -> None:
    make(database, robot, Role.VIEWER)
    assert find(database, given) is None


def test_the_database_does_not_hold_it(database: Database, robot: Account) -> None:
    token = make(database, robot, Role.VIEWER)
    with database.read() as c:
        row = c.execute(sa.select(table)).one()
    assert token not in str(row)
    assert find(database, row.sha256) is None
    assert find(database, f"dn_{row.sha256}") is None


@pytest.mark.parametrize("name", ["", " ", "x" * 65, "two\nlines"])
def test_it_has_a_name_for_people(database: Database, robot: Account, name: str) -> None:
    with database.begin() as c, pytest.raises(AccountError, match="has a name"):
        api_tokens.create(c, robot, name, Role.VIEWER)


def test_making_and_revoking_is_on_record(database: Database, robot: Account) -> None:
    make(database, robot, Role.VIEWER)
    with database.begin() as c:
        (kept,) = api_tokens.every(c)
        api_tokens.revoke(c, kept.id, by="anna")
    with database.read() as c:
        revoked, created, _ = audit.newest(c, subject="robot")
    assert (created.event, revoked.event) == ("token created", "token revoked")
    assert revoked.detail["by"] == "anna"
