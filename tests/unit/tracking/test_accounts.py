from __future__ import annotations

import sqlite3
import threading
import time

import pytest

from dicomnode.errors import AccountError
from dicomnode.tracking import accounts, audit, authentication, passwords
from dicomnode.tracking.accounts import Account, Role
from dicomnode.tracking.authentication import FAILURES_UNTIL_PAUSE
from dicomnode.tracking.database import Database
from tests.unit.tracking.rows import START, at

PASSWORD = "a long pass phrase"
# Hashing takes a while: once is enough for all tests.
HASH = passwords.hashed(PASSWORD)


@pytest.fixture
def anna(database: Database) -> Account:
    with database.begin() as c:
        return accounts.create(c, "Anna", Role.REVIEWER, password_hash=HASH, now=START)


def attempt(database: Database, password: str, seconds: float = 0, name: str = "anna") -> bool:
    answer = authentication.authenticate(
        database, name, password, at(seconds), lambda c, account: account.name, "192.0.2.1"
    )
    return answer is not None


def events(database: Database) -> list[tuple[str, str]]:
    with database.read() as c:
        return [(one.event, one.subject) for one in reversed(audit.newest(c))]


def test_each_role_includes_those_below_it() -> None:
    ordered = [Role.VIEWER, Role.REVIEWER, Role.STEWARD, Role.ADMINISTRATOR]
    assert list(Role) == ordered
    for number, role in enumerate(ordered):
        assert [role.includes(other) for other in ordered] == [n <= number for n in range(4)]


@pytest.mark.parametrize("name", ["", "two words", "../anna", "a" * 65, "an\nna", "ann\u0430"])
def test_a_name_that_is_none_is_refused(database: Database, name: str) -> None:
    with database.begin() as c, pytest.raises(AccountError, match="is no account"):
        accounts.create(c, name, Role.VIEWER)


def test_a_name_is_taken_once(database: Database, anna: Account) -> None:
    with database.begin() as c, pytest.raises(AccountError, match="already"):
        accounts.create(c, "ANNA", Role.ADMINISTRATOR)


def test_what_changes_an_account_is_on_record(database: Database, anna: Account) -> None:
    with database.begin() as c:
        accounts.set_role(c, "anna", Role.STEWARD, by="root")
        accounts.set_password(c, "anna", HASH)
        accounts.set_enabled(c, "anna", False)
        changed = accounts.set_enabled(c, "anna", True)
    assert (changed.role, changed.is_enabled, changed.has_password) == (Role.STEWARD, True, True)
    assert [event for event, _ in events(database)] == [
        "account created",
        "role changed",
        "password changed",
        "account disabled",
        "account enabled",
    ]


def test_nobody_can_be_changed(database: Database) -> None:
    with database.begin() as c, pytest.raises(AccountError, match="no such account"):
        accounts.set_role(c, "nobody", Role.STEWARD)


@pytest.mark.parametrize(
    ("password", "message"), [("elevenchars", "12 characters"), ("x" * 1025, "1024 bytes")]
)
def test_a_password_of_a_wrong_length_is_refused(password: str, message: str) -> None:
    with pytest.raises(AccountError, match=message):
        passwords.hashed(password)


def test_a_password_is_the_same_from_every_keyboard() -> None:
    made = passwords.hashed("passwo\u0308rter 123")
    assert passwords.is_right("passw\u00f6rter 123", made)
    assert not passwords.is_right("passworter 123", made)


def test_the_hash_of_nobody_is_as_costly_as_that_of_anybody() -> None:
    assert not passwords.is_outdated(passwords._NOBODY)
    assert passwords._NOBODY.startswith("$argon2id$")


@pytest.mark.parametrize("password", [PASSWORD[:-1], "", "x" * 2000, "\ud800" * 12])
def test_only_the_password_opens(database: Database, anna: Account, password: str) -> None:
    assert attempt(database, PASSWORD)
    assert not attempt(database, password)


def test_a_name_in_capitals_is_the_same_account(database: Database, anna: Account) -> None:
    assert attempt(database, PASSWORD, name=" ANNA ")


def test_an_account_without_a_password_has_none(database: Database) -> None:
    with database.begin() as c:
        accounts.create(c, "robot", Role.VIEWER)
    assert not attempt(database, "", name="robot")
    assert not attempt(database, PASSWORD, name="robot")


def test_a_disabled_account_is_refused(database: Database, anna: Account) -> None:
    with database.begin() as c:
        accounts.set_enabled(c, "anna", False)
    assert not attempt(database, PASSWORD)


def test_after_some_wrong_passwords_the_right_one_has_to_wait(
    database: Database, anna: Account
) -> None:
    for number in range(FAILURES_UNTIL_PAUSE):
        assert not attempt(database, "wrong", number)
    assert not attempt(database, PASSWORD, 10)
    assert attempt(database, PASSWORD, 10 + 30)


def test_each_further_failure_takes_longer_and_success_ends_it(
    database: Database, anna: Account
) -> None:
    now, pauses = 0.0, []
    for _ in range(FAILURES_UNTIL_PAUSE + 7):
        assert not attempt(database, "wrong", now)
        with database.read() as c:
            locked_until = getattr(accounts.by_name(c, "anna"), "locked_until", None)
        if locked_until is not None:
            pauses.append((locked_until - at(now)).total_seconds())
            now = (locked_until - START).total_seconds()
        now += 1
    assert pauses == [30, 60, 120, 240, 480, 900, 900, 900]
    assert attempt(database, PASSWORD, now)
    assert not attempt(database, "wrong", now)
    assert attempt(database, PASSWORD, now)


def test_asking_during_a_pause_does_not_make_it_longer(database: Database, anna: Account) -> None:
    for _ in range(FAILURES_UNTIL_PAUSE + 3):
        attempt(database, "wrong")
    assert attempt(database, PASSWORD, 31)


def test_a_new_password_ends_the_pause(database: Database, anna: Account) -> None:
    for _ in range(FAILURES_UNTIL_PAUSE):
        attempt(database, "wrong")
    with database.begin() as c:
        accounts.set_password(c, "anna", HASH)
    assert attempt(database, PASSWORD)


def test_guesses_made_side_by_side_count_each(database: Database, anna: Account) -> None:
    guesses = [threading.Thread(target=attempt, args=(database, f"wrong {n}")) for n in range(6)]
    for guess in guesses:
        guess.start()
    for guess in guesses:
        guess.join(60)
    assert not attempt(database, PASSWORD)


def test_a_password_changed_meanwhile_is_the_one_that_counts(
    database: Database, anna: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = passwords.hashed("another pass phrase")
    is_right = passwords.is_right

    def changed_meanwhile(password: str, password_hash: str) -> bool:
        found = is_right(password, password_hash)
        with database.begin() as c:
            accounts.set_password(c, "anna", other)
        return found

    monkeypatch.setattr(passwords, "is_right", changed_meanwhile)
    assert not attempt(database, PASSWORD)


def test_a_hash_of_other_parameters_is_made_anew_at_the_login(database: Database) -> None:
    from argon2 import PasswordHasher

    weak = PasswordHasher(time_cost=1, memory_cost=1024, parallelism=1).hash(PASSWORD)
    with database.begin() as c:
        accounts.create(c, "anna", Role.VIEWER, password_hash=weak)
    assert attempt(database, PASSWORD)
    from dicomnode.tracking.gate_schema import accounts as table

    with database.read() as c:
        (kept,) = c.scalars(table.select().with_only_columns(table.c.password_hash))
    assert kept != weak
    assert not passwords.is_outdated(kept)
    assert attempt(database, PASSWORD)


def test_no_hash_is_checked_while_the_database_is_locked(
    database: Database, anna: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    is_right = passwords.is_right

    def writes_meanwhile(password: str, password_hash: str) -> bool:
        with database.begin() as c:
            audit.append(c, "another writer", "")
        return is_right(password, password_hash)

    monkeypatch.setattr(passwords, "is_right", writes_meanwhile)
    assert attempt(database, PASSWORD)


def test_why_a_login_was_refused_is_in_the_log_and_no_unknown_name(
    database: Database, anna: Account
) -> None:
    attempt(database, "wrong")
    attempt(database, "whatever", name="my-secret-pass-phrase")
    with database.read() as c:
        unknown, wrong = audit.newest(c, event="login refused")
    assert (wrong.subject, wrong.detail["why"]) == ("anna", "wrong password")
    assert (unknown.subject, unknown.detail["why"]) == ("", "unknown account")
    assert "secret" not in str(unknown)


def test_an_unknown_name_takes_as_long_as_a_known_one(database: Database, anna: Account) -> None:
    def seconds(name: str) -> float:
        fastest = 9.9
        for _ in range(4):
            start = time.process_time()
            attempt(database, "wrong", name=name)
            fastest = min(fastest, time.process_time() - start)
        return fastest

    known, unknown, none = seconds("anna"), seconds("nobody"), seconds("no name at all")
    assert max(known, unknown, none) < 2.5 * min(known, unknown, none)


def test_the_database_file_holds_no_password(database: Database, anna: Account) -> None:
    if not database.is_sqlite:
        pytest.skip("the file of SQLite is looked at")
    with sqlite3.connect(str(database.url.database)) as c:
        assert PASSWORD not in "\n".join(c.iterdump())
