"""Both databases: migrations, transactions, and what goes wrong."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy.exc import IntegrityError

from dicomnode.errors import DatabaseError
from dicomnode.tracking import audit
from dicomnode.tracking import database as database_module
from dicomnode.tracking.database import Database, SchemaState, newest_version
from dicomnode.tracking.gate_schema import METADATA
from dicomnode.tracking.schema import studies
from tests.unit.tracking.rows import START


def test_the_migrations_make_exactly_the_tables_of_the_schema(database: Database) -> None:
    with database.read() as connection:
        context = MigrationContext.configure(connection, opts={"target_metadata": METADATA})
        assert compare_metadata(context, METADATA) == []


def test_migrating_twice_changes_nothing(database: Database) -> None:
    before = database.check()
    database.migrate()
    assert before.is_current
    assert database.check() == before


def test_a_database_of_the_newest_version_is_left_alone(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert database.check() == SchemaState(newest_version(), newest_version())
    monkeypatch.setattr(database, "_migrating_engine", lambda: pytest.fail("it is migrated"))
    database.migrate()


def test_two_processes_may_migrate_at_once(database_url: str) -> None:
    databases = [Database(database_url) for _ in range(2)]
    threads = [threading.Thread(target=each.migrate) for each in databases]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert all(each.check().is_current for each in databases)


def test_migrations_go_back_to_an_empty_database(database: Database) -> None:
    from alembic import command

    from dicomnode.tracking.database import _alembic_config

    with database.begin() as connection:
        command.downgrade(_alembic_config(connection), "base")
    with database.read() as connection:
        assert set(sa.inspect(connection).get_table_names()) <= {"alembic_version"}


def test_a_failed_transaction_leaves_nothing(database: Database) -> None:
    row = {"study_instance_uid": "1.2", "first_received_at": START}
    with pytest.raises(IntegrityError), database.begin() as connection:
        connection.execute(studies.insert(), [row, row])
    with database.read() as connection:
        assert connection.execute(sa.select(studies)).all() == []


def test_times_come_back_aware_and_in_utc(database: Database) -> None:
    with database.begin() as connection:
        connection.execute(
            studies.insert(), {"study_instance_uid": "1.2", "first_received_at": START}
        )
        stored = connection.scalar(sa.select(studies.c.first_received_at))
    assert stored == START
    assert stored is not None
    assert stored.utcoffset() is not None


def test_sqlite_readers_do_not_wait_for_a_writer(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path}/tracking.sqlite")
    database.migrate()
    with database.begin() as writer:
        writer.execute(studies.insert(), {"study_instance_uid": "1", "first_received_at": START})
        began = time.monotonic()
        with database.read() as reader:
            assert reader.execute(sa.select(studies)).all() == []
        assert time.monotonic() - began < 5
    database.close()


def test_sqlite_writers_take_turns(tmp_path: Path) -> None:
    """Read, then write: with SQLAlchemy's own BEGIN two of them would both read the old value."""
    database = Database(f"sqlite:///{tmp_path}/tracking.sqlite")
    database.migrate()

    def add_one() -> None:
        for _ in range(20):
            with database.begin() as connection:
                count = connection.scalar(sa.select(sa.func.count()).select_from(studies))
                row = {"study_instance_uid": str(count), "first_received_at": START}
                connection.execute(studies.insert(), row)

    threads = [threading.Thread(target=add_one) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    with database.read() as connection:
        assert connection.scalar(sa.select(sa.func.count()).select_from(studies)) == 80
    database.close()


def test_a_missing_database_is_named(tmp_path: Path) -> None:
    with pytest.raises(DatabaseError, match="no such database yet"):
        Database(f"sqlite:///{tmp_path}/nothing.sqlite").check()


def test_tables_that_are_missing_are_a_database_error(database_url: str) -> None:
    empty = Database(database_url)
    with pytest.raises(DatabaseError), empty.begin() as connection:
        connection.execute(sa.select(studies))
    empty.close()


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://node:secret@127.0.0.1:1/tracking",
        "postgresql://127.0.0.1:1/tracking?user=node&password=secret",
        "postgresql://127.0.0.1:1/tracking?sslpassword=secret",
    ],
)
def test_a_server_that_is_down_is_a_database_error_without_its_password(url: str) -> None:
    database = Database(url)
    with pytest.raises(DatabaseError, match=r"127\.0\.0\.1:1/tracking") as caught, database.read():
        pass
    assert "secret" not in str(caught.value)
    given = database.url.set(password=None).render_as_string(hide_password=False)
    assert "password=secret" not in given.replace("sslpassword", "")


@pytest.mark.parametrize("url", ["", "nonsense", "mysql://localhost/x", "sqlite://"])
def test_another_kind_of_url_is_refused(url: str) -> None:
    with pytest.raises(DatabaseError, match="database URL"):
        Database(url)


def test_a_view_for_reading_stays_as_it_began_and_writes_nothing(database: Database) -> None:
    def write(connection: sa.Connection, uid: str) -> None:
        row = {"study_instance_uid": uid, "first_received_at": START}
        connection.execute(studies.insert().values(row))

    count = sa.text("SELECT count(*) FROM studies")
    with database.read() as reader:
        assert reader.scalar(count) == 0
        with database.begin() as writer:
            write(writer, "1.2")
        assert reader.scalar(count) == 0
    with database.read() as reader:
        assert reader.scalar(count) == 1
        if not database.is_sqlite:
            with pytest.raises(sa.exc.InternalError, match="read-only"):
                write(reader, "1.3")


def test_the_server_does_not_compile_queries_and_keeps_other_options(database: Database) -> None:
    if database.is_sqlite:
        pytest.skip("of PostgreSQL")
    url = f"{database.url.render_as_string(hide_password=False)}?options=-c%20work_mem%3D5MB"
    other = Database(url)
    for each in (database, other):
        with each.read() as connection:
            assert connection.scalar(sa.text("SHOW jit")) == "off"
    with other.read() as connection:
        assert connection.scalar(sa.text("SHOW work_mem")) == "5MB"
    other.close()


def test_writers_of_one_process_take_turns_rather_than_find_sqlite_locked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database_module, "BUSY_TIMEOUT_SECONDS", 0.0)  # SQLite itself never waits
    url = f"sqlite:///{tmp_path}/tracking.sqlite"
    opened = [Database(url) for _ in range(3)]
    opened[0].migrate()

    def write(number: int) -> None:
        for _ in range(5):
            with opened[number % 3].begin() as connection:
                audit.append(connection, "login", f"writer {number}")

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(write, range(8)))
    with opened[0].read() as connection:
        assert len(audit.newest(connection, limit=100)) == 40
    for database in opened:
        database.close()


def test_a_failing_writer_gives_its_turn_back(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path}/tracking.sqlite")
    database.migrate()
    with pytest.raises(ZeroDivisionError), database.begin():
        _ = 1 / 0
    with database.begin() as connection:
        audit.append(connection, "login", "anna")
    database.close()
