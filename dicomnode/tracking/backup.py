"""A copy of the whole database while the node runs, and the way back.

SQLite by its online backup, PostgreSQL by pg_dump's custom format. The job engine's tables are in
the same database, so rows and jobs are of one moment. What a backup is of is told by its content.
"""

from __future__ import annotations

import os
import sqlite3
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError

from dicomnode.durable import sync
from dicomnode.errors import DatabaseError
from dicomnode.tracking import audit
from dicomnode.tracking.database import Database, schema_versions

_SQLITE_MAGIC, _POSTGRES_MAGIC = b"SQLite format 3\0", b"PGDMP"
_ASIDE = "_before_restore"
_KEY_PASSWORD = "sslpassword"


def back_up(database: Database, file: Path) -> None:
    """All or nothing: `file` is there when it is whole and on the disk, readable by us alone.

    Raises `DatabaseError` where it is there already, or can't be made.
    """
    if file.exists():
        raise DatabaseError(f"{file} is there already: name a new file")
    if not database.is_made():
        raise DatabaseError("there is no database yet: nothing to back up")
    partial = file.with_name(f".{file.name}.partial")
    try:
        partial.unlink(missing_ok=True)
        os.close(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        if database.is_sqlite:
            _copy_sqlite(Path(database.url.database or ""), partial)
        else:
            _run(database, "pg_dump", "--format=custom", f"--file={partial}")
        sync(partial)
        partial.replace(file)
        sync(file.absolute().parent)
    except (OSError, sqlite3.Error) as error:
        raise DatabaseError(f"{file}: no backup could be made: {error}") from error
    finally:
        partial.unlink(missing_ok=True)


def restore(database: Database, file: Path, *, replace: bool, account: str) -> None:
    """Make the database what it was, in this version's schema; every role has to be stopped.

    Raises `DatabaseError` where `file` is no backup of such a database or of newer software, where
    the database is in use, or holds something and `replace` is False; then nothing is changed.
    """
    _require_kind(database, file)
    if database.is_made() and not replace:
        raise DatabaseError(
            "the database is not empty: --replace puts the backup in its place (back it up first)"
        )
    database.close()  # our own connections are no use of it
    try:
        if database.is_sqlite:
            _restore_sqlite(database, file)
        else:
            _restore_postgres(database, file)
    except (OSError, sqlite3.Error, DBAPIError) as error:
        raise DatabaseError(f"{file}: can't be restored: {error}") from error
    with database.begin() as connection:
        audit.append(connection, "database restored", file.name, {"account": account})


def _require_kind(database: Database, file: Path) -> None:
    try:
        with file.open("rb") as stream:
            begin = stream.read(len(_SQLITE_MAGIC))
    except OSError as error:
        raise DatabaseError(f"{file}: {error.strerror}") from None
    magic = _SQLITE_MAGIC if database.is_sqlite else _POSTGRES_MAGIC
    if not begin.startswith(magic):
        kind = "SQLite" if database.is_sqlite else "PostgreSQL (pg_dump --format=custom)"
        raise DatabaseError(f"{file} is no backup of a {kind} database, which [database] names")


def _copy_sqlite(source: Path, target: Path) -> None:
    """In one step, which holds up nobody: in steps it would begin anew after each change."""
    with (
        closing(sqlite3.connect(source, timeout=30)) as from_,
        closing(sqlite3.connect(target)) as to,
    ):
        from_.backup(to)
        # One file, with nothing beside it.
        to.execute("PRAGMA journal_mode=DELETE").close()
        (found,) = to.execute("PRAGMA quick_check(1)").fetchone()
        if found != "ok":
            raise DatabaseError(f"the copy of {source} is damaged: {found}")


def _restore_sqlite(database: Database, file: Path) -> None:
    """The new one is made and migrated beside the old one; a rename is the moment of change."""
    path = Path(database.url.database or "")
    path.parent.mkdir(parents=True, exist_ok=True)
    made = path.with_name(f".{path.name}.restoring")
    try:
        _remove_sqlite(made)
        _copy_sqlite(file, made)
        with _require_nobody_uses(path):
            restored = Database(f"sqlite:///{made.absolute()}")
            _migrate(restored, file)
            sync(made)
        _remove_sqlite(path, only_logs=True)
        made.replace(path)
        sync(path.absolute().parent)
    finally:
        _remove_sqlite(made)


@contextmanager
def _require_nobody_uses(path: Path) -> Iterator[None]:
    """A connection of any process, at work or not, keeps the lock of a database in WAL mode."""
    if not path.is_file():
        yield
        return
    with closing(sqlite3.connect(path, timeout=0, isolation_level=None)) as connection:
        try:
            connection.execute("PRAGMA locking_mode=EXCLUSIVE").close()
            connection.execute("BEGIN EXCLUSIVE").close()
        except sqlite3.OperationalError:
            raise DatabaseError(f"{path} is in use: stop every role of the node first") from None
        yield
        connection.execute("ROLLBACK").close()


def _remove_sqlite(path: Path, *, only_logs: bool = False) -> None:
    for suffix in ("-wal", "-shm", *(() if only_logs else ("",))):
        path.with_name(path.name + suffix).unlink(missing_ok=True)


def _restore_postgres(database: Database, file: Path) -> None:
    """What is there is set aside by name, and comes back where anything fails."""
    schemas = _set_aside(database)
    try:
        whole = ("--single-transaction", "--exit-on-error", "--no-owner", "--clean", "--if-exists")
        _run(database, "pg_restore", *whole, file)
        _migrate(database, file)
    except BaseException:
        with database.begin() as connection:
            _drop(connection, _own_schemas(connection))
            for schema in schemas:
                _rename(connection, schema + _ASIDE, schema)
        raise
    with database.begin() as connection:
        _drop(connection, [schema + _ASIDE for schema in schemas])


def _set_aside(database: Database) -> list[str]:
    with database.begin() as connection:
        others = connection.scalar(
            sa.text(
                "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() "
                "AND pid <> pg_backend_pid() AND backend_type IS DISTINCT FROM 'autovacuum worker'"
            )
        )
        if others:
            raise DatabaseError(
                f"{others} connections use the database: stop every role of the node first"
            )
        schemas = _own_schemas(connection)
        for schema in schemas:
            _rename(connection, schema, schema + _ASIDE)
        connection.execute(sa.text("CREATE SCHEMA public"))
    database.close()
    return schemas


def _own_schemas(connection: sa.Connection) -> list[str]:
    """Of the node and of its job engine: a database of the node holds nothing else."""
    names = connection.scalars(
        sa.text(
            "SELECT nspname FROM pg_namespace WHERE nspname NOT LIKE 'pg\\_%' "
            "AND nspname <> 'information_schema'"
        )
    ).all()
    return [name for name in names if not name.endswith(_ASIDE)]


def _rename(connection: sa.Connection, schema: str, to: str) -> None:
    connection.execute(sa.text(f'ALTER SCHEMA "{schema}" RENAME TO "{to}"'))


def _drop(connection: sa.Connection, schemas: list[str]) -> None:
    for schema in schemas:
        connection.execute(sa.text(f'DROP SCHEMA "{schema}" CASCADE'))


def _migrate(database: Database, file: Path) -> None:
    """Raises `DatabaseError` for what newer software made, and for a database of something else."""
    current = database.check().current
    if current is None:
        raise DatabaseError(f"{file} is no backup of a node's database")
    if current not in schema_versions():
        raise DatabaseError(
            f"{file} has schema version {current}, which this software doesn't know: install the "
            "version that made it"
        )
    database.migrate()
    database.close()


def _run(database: Database, program: str, *arguments: object) -> None:
    """Passwords go by the environment and a file: others can read a command line."""
    with tempfile.TemporaryDirectory() as folder:
        url, environment = _without_passwords(database.url, Path(folder) / "service")
        command = [program, f"--dbname={url.render_as_string()}", *map(str, arguments)]
        try:
            done = subprocess.run(
                command, env=environment, capture_output=True, text=True, check=False
            )
        except FileNotFoundError:
            raise DatabaseError(
                f"{program} isn't installed (Debian: postgresql-client); it has to be at least of "
                "the server's version"
            ) from None
    if done.returncode != 0:
        lines = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
        raise DatabaseError(f"{program}: {lines[0]}")


def _without_passwords(url: sa.URL, service_file: Path) -> tuple[sa.URL, dict[str, str]]:
    """The address for libpq, and the environment that holds what is secret of it.

    Of the password of the client's key libpq knows no variable, so it goes by a service file.
    """
    environment = dict(os.environ)
    if url.password:
        environment["PGPASSWORD"] = str(url.password)
    url = url.set(drivername="postgresql", password=None)
    if of_key := url.query.get(_KEY_PASSWORD):
        if "service" in url.query or str(of_key) != str(of_key).strip():
            raise DatabaseError(
                f"database.url: {_KEY_PASSWORD} can't be handed to PostgreSQL's programs beside a "
                "service, or with space around it: put it into the service file"
            )
        service_file.write_text(f"[dicomnode]\n{_KEY_PASSWORD}={of_key}\n")
        environment["PGSERVICEFILE"] = str(service_file)
        url = url.difference_update_query([_KEY_PASSWORD]).update_query_dict(
            {"service": "dicomnode"}
        )
    return url, environment
