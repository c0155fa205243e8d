"""The audit log only grows, and whoever changes it by hand is found out."""

from __future__ import annotations

import multiprocessing
import threading
from collections.abc import Callable

import pytest
import sqlalchemy as sa
from alembic import command
from sqlalchemy.exc import DBAPIError, IntegrityError

from dicomnode.errors import DatabaseError
from dicomnode.tracking import audit
from dicomnode.tracking.audit_chain import START, AuditCheck, AuditHead, verify
from dicomnode.tracking.database import Database, _alembic_config
from tests.unit.tracking.rows import at

ROWS = 6


@pytest.fixture
def written(database: Database) -> Database:
    """A log of six rows, whose triggers somebody with the database's password dropped."""
    append(database, ROWS)
    with database.begin() as connection:
        drop_triggers(connection)
    return database


def append(database: Database, count: int, subject: str = "1.2.3") -> None:
    for number in range(count):
        with database.begin() as connection:
            audit.append(connection, "tested", subject, {"n": number, "share": 0.1}, at(number))


def drop_triggers(connection: sa.Connection) -> None:
    if connection.dialect.name == "sqlite":
        for verb in ("update", "delete"):
            connection.execute(sa.text(f"DROP TRIGGER audit_events_no_{verb}"))
    else:
        connection.execute(sa.text("DROP TRIGGER audit_events_append_only ON audit_events"))


def check(database: Database, *witnesses: AuditHead) -> AuditCheck:
    with database.read() as connection:
        return verify(connection, witnesses)


def head_of(database: Database) -> AuditHead:
    with database.begin() as connection:
        return audit.locked_head(connection)


def by_hand(database: Database, *statements: str) -> None:
    with database.begin() as connection:
        for statement in statements:
            connection.execute(sa.text(statement))


def test_an_untouched_log_is_whole(written: Database) -> None:
    found, head = check(written), head_of(written)
    assert (found.rows, found.first_wrong, found.fault) == (ROWS, None, "")
    assert head == AuditHead(ROWS, found.sha256)
    assert check(written, head) == found


def test_an_empty_log_is_whole(database: Database) -> None:
    assert check(database) == AuditCheck(0, START)


@pytest.mark.parametrize(
    ("statements", "first_wrong", "says"),
    [
        (["UPDATE audit_events SET subject = '9.9' WHERE id = 3"], 3, "row 3 was edited"),
        (["UPDATE audit_events SET event = 'other' WHERE id = 1"], 1, "row 1 was edited"),
        (["UPDATE audit_events SET detail = '{}' WHERE id = 6"], 6, "row 6 was edited"),
        (["UPDATE audit_events SET at = '2020-01-01 00:00:00' WHERE id = 2"], 2, "row 2 was"),
        (["DELETE FROM audit_events WHERE id = 4"], 4, "row 4 was removed"),
        (["DELETE FROM audit_events WHERE id = 1"], 1, "row 1 was removed"),
        (["DELETE FROM audit_events WHERE id >= 5"], 5, "rows 5 to 6 were removed from the end"),
        (["DELETE FROM audit_events"], 1, "rows 1 to 6 were removed"),
        (
            [
                "DELETE FROM audit_events WHERE id = 4",
                "UPDATE audit_events SET id = 4 WHERE id = 5",
                "UPDATE audit_events SET id = 5 WHERE id = 6",
                "UPDATE audit_head SET row_count = 5",
            ],
            4,
            "row 4 was edited, or isn't the one that followed row 3",
        ),
        (
            [
                "UPDATE audit_events SET id = 99 WHERE id = 2",
                "UPDATE audit_events SET id = 2 WHERE id = 3",
                "UPDATE audit_events SET id = 3 WHERE id = 99",
            ],
            2,
            "row 2 was edited, or isn't the one that followed row 1",
        ),
        (
            [
                "INSERT INTO audit_events (id, at, event, subject, detail, sha256) "
                "SELECT 7, at, event, subject, detail, sha256 FROM audit_events WHERE id = 6"
            ],
            7,
            "row 7 was inserted",
        ),
        (
            [
                "INSERT INTO audit_events (id, at, event, subject, detail, sha256) "
                "SELECT 0, at, event, subject, detail, sha256 FROM audit_events WHERE id = 6"
            ],
            1,
            "row 0 was inserted before the first one",
        ),
        (
            [
                "UPDATE audit_events SET id = 7 WHERE id = 6",
                "INSERT INTO audit_events (id, at, event, subject, detail, sha256) "
                "SELECT 6, at, event, subject, detail, sha256 FROM audit_events WHERE id = 5",
                "UPDATE audit_head SET row_count = 7",
            ],
            6,
            "row 6 was edited, or isn't the one that followed row 5",
        ),
        (["UPDATE audit_head SET sha256 = 'ab'"], 7, "the head was edited"),
        (["DELETE FROM audit_head"], 1, "the head of the chain was removed"),
    ],
)
def test_what_was_changed_by_hand_is_named(
    written: Database, statements: list[str], first_wrong: int, says: str
) -> None:
    by_hand(written, *statements)
    found = check(written)
    assert (found.first_wrong, found.rows) == (first_wrong, first_wrong - 1)
    assert found.fault.startswith(says)


def cut_the_end_with_its_head(database: Database) -> None:
    with database.read() as connection:
        (fourth,) = (row for row in audit.newest(connection) if row.number == 4)
    by_hand(
        database,
        "DELETE FROM audit_events WHERE id > 4",
        f"UPDATE audit_head SET row_count = 4, sha256 = '{fourth.sha256}'",
    )


def write_all_anew(database: Database) -> None:
    by_hand(
        database,
        "DELETE FROM audit_events",
        f"UPDATE audit_head SET row_count = 0, sha256 = '{START}'",
    )
    append(database, ROWS, "9.9")


@pytest.mark.parametrize(
    ("forge", "first_wrong"), [(cut_the_end_with_its_head, 5), (write_all_anew, 6)]
)
def test_a_consistent_forgery_is_told_by_a_head_that_was_kept_elsewhere(
    written: Database, forge: Callable[[Database], None], first_wrong: int
) -> None:
    kept = head_of(written)
    forge(written)
    assert check(written).fault == ""
    found = check(written, kept)
    assert found.first_wrong == first_wrong
    assert "a receipt" in found.fault


@pytest.mark.parametrize(
    "statement", ["UPDATE audit_events SET subject = 'x'", "DELETE FROM audit_events"]
)
def test_the_database_refuses_to_change_a_row(database: Database, statement: str) -> None:
    append(database, 2)
    with pytest.raises((DBAPIError, DatabaseError), match="can only be appended to"):
        by_hand(database, statement)
    assert check(database).rows == 2


def test_a_table_can_not_be_emptied_at_once(database: Database) -> None:
    if database.is_sqlite:
        pytest.skip("SQLite has no TRUNCATE")
    append(database, 2)
    with pytest.raises((DBAPIError, DatabaseError), match="can only be appended to"):
        by_hand(database, "TRUNCATE audit_events")
    assert check(database).rows == 2


def test_a_process_of_an_earlier_version_can_not_break_the_chain(database: Database) -> None:
    append(database, 2)
    with pytest.raises(IntegrityError):
        by_hand(
            database,
            "INSERT INTO audit_events (id, at, event, subject, detail) "
            "SELECT 3, at, event, subject, detail FROM audit_events WHERE id = 2",
        )
    append(database, 1)
    assert check(database).rows == 3


def test_without_its_head_nothing_is_appended(written: Database) -> None:
    by_hand(written, "DELETE FROM audit_head")
    with pytest.raises(DatabaseError, match="head of the audit log is gone"):
        append(written, 1)


def test_a_transaction_that_fails_leaves_no_event(database: Database) -> None:
    def fail() -> None:
        with database.begin() as connection:
            audit.append(connection, "tested", "1.2.3")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    append(database, 1)
    assert check(database).rows == 1


def test_an_event_of_a_foreign_transaction_is_chained_too(database: Database) -> None:
    """The job engine opens the one that records an examination."""
    append(database, 1)
    with database.engine.begin() as connection:
        audit.append(connection, "tested", "1.2.3")
    assert check(database).rows == 2


def test_an_event_is_written_after_everything_else_of_its_transaction(database: Database) -> None:
    """So whoever holds the head's lock waits for no other one, and holds it briefly."""
    with database.begin() as connection:
        audit.append(connection, "tested", "1.2.3")
        assert audit.newest(connection) == []
        if not database.is_sqlite:
            append(database, 1)  # another connection isn't kept waiting
    assert check(database).fault == ""


def _process(url: str, name: str, count: int) -> None:
    opened = Database(url)
    append(opened, count, name)
    opened.close()


def test_processes_that_append_at_once_make_one_chain(
    database: Database, database_url: str
) -> None:
    context = multiprocessing.get_context("spawn")
    others = [
        context.Process(target=_process, args=(database_url, f"p{number}", 25))
        for number in range(3)
    ]
    for process in others:
        process.start()
    threads = [threading.Thread(target=append, args=(database, 25, f"t{n}")) for n in range(3)]
    for thread in threads:
        thread.start()
    for worker in (*others, *threads):
        worker.join(60)
    assert check(database) == AuditCheck(150, head_of(database).sha256)
    with database.read() as connection:
        assert len(audit.newest(connection, 200, "tested", "p0")) == 25


def test_rows_of_an_earlier_version_are_chained_without_gaps(database_url: str) -> None:
    database = Database(database_url)
    with database.begin() as connection:
        command.upgrade(_alembic_config(connection), "0007")
    insert = sa.text(
        "INSERT INTO audit_events (id, at, event, subject, detail) VALUES "
        "(:id, '2026-03-01 12:00:00.250000', 'refused', 'PACS', :detail)"
    )
    with database.begin() as connection:
        # Transactions that were undone left gaps.
        for number in (2, 3, 7, *range(1000, 2200)):
            detail = '{"b": 1.50, "a": "\\u00e9", "none": null}'
            connection.execute(insert, {"id": number, "detail": detail})
    database.migrate()
    append(database, 1)
    assert check(database) == AuditCheck(1204, head_of(database).sha256)
    with database.read() as connection:
        assert [event.number for event in audit.newest(connection, 2)] == [1204, 1203]


def test_there_is_a_way_back_to_the_version_before(database: Database) -> None:
    append(database, 2)
    with database.begin() as connection:
        command.downgrade(_alembic_config(connection), "0007")
    database.migrate()
    assert check(database).rows == 2
