"""The database is copied while it is written to, and comes back as it was."""

from __future__ import annotations

import os
import shutil
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
import sqlalchemy as sa

from dicomnode.errors import DatabaseError
from dicomnode.jobs import lanes
from dicomnode.tracking import audit, instances
from dicomnode.tracking.audit_chain import verify
from dicomnode.tracking.backup import back_up, restore
from dicomnode.tracking.database import Database
from dicomnode.tracking.schema import instances as instance_rows
from tests import postgres
from tests.unit.tracking.rows import instance
from tests.unit.tracking.test_migrations import upgrade


@pytest.fixture(autouse=True)
def _programs_of_the_server(monkeypatch: pytest.MonkeyPatch) -> None:
    """Debian's pg_dump asks for the newest cluster; tests have a server of their own."""
    if (programs := postgres._programs()) is not None:
        monkeypatch.setenv("PATH", f"{programs}:/usr/bin:/bin")


def count(database: Database) -> int:
    with database.read() as connection:
        return int(connection.scalar(sa.select(sa.func.count()).select_from(instance_rows)) or 0)


def put(database: Database, number: int) -> None:
    with database.begin() as connection:
        instances.add(connection, [instance(number)])
        audit.append(connection, "test", str(number))


@contextmanager
def writing(database: Database) -> Iterator[None]:
    """Meanwhile somebody writes, one row after the other."""
    stop = threading.Event()

    def write() -> None:
        number = 0
        while not stop.is_set():
            number += 1
            put(database, number)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        yield
    finally:
        stop.set()
        writer.join(60)


def test_a_backup_of_a_database_that_is_written_to_is_of_one_moment_and_comes_back(
    database: Database, tmp_path: Path
) -> None:
    lanes.migrate(database)
    file = tmp_path / "backup"
    put(database, 0)
    with writing(database):
        before = count(database)
        back_up(database, file)
        after = count(database)
    assert file.stat().st_mode & 0o777 == 0o600
    put(database, 1_000_000)
    with pytest.raises(DatabaseError, match="not empty"):
        restore(database, file, replace=False, account="anna")
    for _ in range(2):  # what was restored can be restored
        restore(database, file, replace=True, account="anna")
        assert before <= count(database) <= after
        file.unlink()
        back_up(database, file)
    with database.read() as connection:
        assert verify(connection).first_wrong is None
        events = audit.newest(connection, limit=1_000_000)
    assert [one.event for one in events].count("test") == count(database)
    assert [one.detail for one in events if one.event != "test"] == [{"account": "anna"}] * 2
    lanes.migrate(database)
    put(database, 1_000_000)


def test_an_empty_place_takes_it_and_a_used_one_keeps_what_it_has(
    database_url: str, tmp_path: Path
) -> None:
    source, file = Database(f"sqlite:///{tmp_path}/source.sqlite"), tmp_path / "backup"
    upgrade(source, "0012")
    back_up(source, file)
    with pytest.raises(DatabaseError, match="there already"):
        back_up(source, file)
    place = Database(database_url)
    if not place.is_sqlite:
        with pytest.raises(DatabaseError, match="no backup of a PostgreSQL"):
            restore(place, file, replace=True, account="anna")
        return
    restore(place, file, replace=False, account="anna")
    assert place.check().is_current
    put(place, 1)
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
        connection.commit()
    with pytest.raises(DatabaseError, match="9999"):
        restore(place, file, replace=True, account="anna")
    assert count(place) == 1


def test_a_database_in_use_is_not_replaced(database: Database, tmp_path: Path) -> None:
    file, other = tmp_path / "backup", Database(database.url.render_as_string(hide_password=False))
    back_up(database, file)
    put(other, 1)
    with pytest.raises(DatabaseError, match="stop every role"):
        restore(database, file, replace=True, account="anna")
    other.close()
    assert count(database) == 1


def test_a_backup_that_is_cut_off_changes_nothing(database: Database, tmp_path: Path) -> None:
    file = tmp_path / "backup"
    put(database, 1)
    back_up(database, file)
    with file.open("r+b") as stream:
        stream.truncate(file.stat().st_size // 2)
    with pytest.raises(DatabaseError):
        restore(database, file, replace=True, account="anna")
    assert count(database) == 1
    put(database, 2)


def test_no_password_stands_on_the_command_line_of_the_programs(
    postgres_server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor does that of the client's key, of which libpq knows no environment variable."""
    real, ours = shutil.which("pg_dump"), tmp_path / "bin" / "pg_dump"
    ours.parent.mkdir()
    ours.write_text(
        f'#!/bin/sh\necho "$@" >{tmp_path}/arguments\n'
        f'cat "$PGSERVICEFILE" >{tmp_path}/service\nexec {real} "$@"\n'
    )
    ours.chmod(0o700)
    monkeypatch.setenv("PATH", f"{ours.parent}:{os.environ['PATH']}")
    url = sa.make_url(postgres_server).update_query_dict({"sslpassword": "of the key"})
    database = Database(url.render_as_string(hide_password=False))
    database.migrate()
    back_up(database, tmp_path / "backup")
    arguments = (tmp_path / "arguments").read_text()
    assert "service=dicomnode" in arguments
    assert "of the key" not in arguments
    assert "sslpassword" not in arguments
    assert (tmp_path / "service").read_text() == "[dicomnode]\nsslpassword=of the key\n"
    database.close()
