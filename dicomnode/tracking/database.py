"""The connection to the tracking database: SQLite in one file, or PostgreSQL by URL.

The job engine keeps its own tables in the same database, so a row and the job that follows from it
are written in one transaction (`begin`). SQLite runs in WAL mode, every writing transaction is
IMMEDIATE (no two can both read and then both write) and waits up to 30 s for its turn.
`synchronous` is FULL: a decision that a person was shown must outlive a power cut, and the
receiver writes rows in groups, so it pays for one sync per group.
"""

from __future__ import annotations

import logging
import threading
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import DBAPIError, IntegrityError, OperationalError, SQLAlchemyError

from dicomnode.errors import DatabaseError
from dicomnode.tracking import audit, study_summaries
from dicomnode.tracking.private import make_private

BUSY_TIMEOUT_SECONDS = 30.0
_MIGRATIONS = Path(__file__).parent / "migrations"
_MIGRATION_LOCK = 0x6469636F  # an arbitrary key of our own for PostgreSQL's advisory locks
_READ_ONLY = "dicomnode_read_only"
_TURN_SECONDS = 60.0
# By file: a process may have opened it several times.
_TURNS: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)


@dataclass(frozen=True)
class SchemaState:
    """The schema version of a database and the one that this software needs."""

    current: str | None
    needed: str | None

    @property
    def is_current(self) -> bool:
        return self.current == self.needed


class Database:
    """One tracking database. Connecting happens on first use; nothing is created before."""

    def __init__(self, url: str) -> None:
        self.url = _normal_url(url)
        self.is_sqlite = self.url.get_backend_name() == "sqlite"
        self.engine = self._sqlite_engine() if self.is_sqlite else self._server_engine()

    @contextmanager
    def begin(self) -> Iterator[sa.Connection]:
        """One writing transaction, committed at the end of the block.

        What the list of studies shows, and then the audit events of the block, are written just
        before that. Raises `DatabaseError` where the
        database is gone, locked for too long, or has no tables.
        """
        options: dict[str, Any] = {audit.PENDING: [], study_summaries.TOUCHED: set()}
        writer = self.engine.execution_options(**options)
        with self._turn(), _plain_errors(self.url), writer.begin() as connection:
            yield connection
            study_summaries.write_touched(connection)
            audit.write_pending(connection)

    @contextmanager
    def _turn(self) -> Iterator[None]:
        """One writer of this process at a time where there can only be one anyway.

        SQLite lets whoever asks at the right moment write, and who waits asks ever more seldom:
        among many threads one would wait for many seconds.
        """
        if not self.is_sqlite:
            yield
            return
        turn = _TURNS[str(self.url.database)]
        if not turn.acquire(timeout=_TURN_SECONDS):
            raise DatabaseError(f"{shown(self.url)}: another thread has been writing for long")
        try:
            yield
        finally:
            turn.release()

    @contextmanager
    def read(self) -> Iterator[sa.Connection]:
        """One consistent view for reading; it never waits for a writer (SQLite in WAL mode)."""
        options: dict[str, Any] = {_READ_ONLY: True}
        if not self.is_sqlite:
            options |= {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
        reader = self.engine.execution_options(**options)
        with _plain_errors(self.url), reader.begin() as connection:
            yield connection

    def migrate(self) -> None:
        """Create the tables, or bring them to the version that this software needs.

        SQLite makes a changed table anew, with foreign keys off so that its rows may go
        meanwhile; they are checked before the commit. Where there is nothing to do Alembic isn't
        even loaded: a role that starts would wait for that longer than for anything else.
        """
        if self._is_newest():
            return
        logging.getLogger("alembic").setLevel(logging.WARNING)
        from alembic import command

        if self.is_sqlite and self.url.database:
            make_private(Path(self.url.database).absolute().parent)
        with _plain_errors(self.url), self._migrating_engine().begin() as connection:
            if not self.is_sqlite:
                connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_MIGRATION_LOCK)))
            command.upgrade(_alembic_config(connection), "head")
            if self.is_sqlite:
                _check_foreign_keys(connection)

    def _is_newest(self) -> bool:
        """Whether it is of the version of the last migration, by the names of their files."""
        if self.is_sqlite and not Path(self.url.database or "").is_file():
            return False
        versions = sa.select(sa.column("version_num", sa.String)).select_from(
            sa.table("alembic_version")
        )
        try:
            with self.read() as connection:
                return list(connection.scalars(versions)) == [newest_version()]
        except (DatabaseError, SQLAlchemyError):
            return False

    def is_made(self) -> bool:
        """Whether there are tables, of whatever version; raises `DatabaseError` as `check` does."""
        if self.is_sqlite and not Path(self.url.database or "").is_file():
            return False
        return self.check().current is not None

    def check(self) -> SchemaState:
        """Reach the database and compare schema versions; raises `DatabaseError`."""
        from alembic.runtime.migration import MigrationContext
        from alembic.script import ScriptDirectory

        if self.is_sqlite and not Path(self.url.database or "").is_file():
            raise DatabaseError(f"{self.url.database}: no such database yet; the node creates it")
        with self.read() as connection:
            current = MigrationContext.configure(connection).get_current_revision()
            needed = ScriptDirectory.from_config(_alembic_config(connection)).get_current_head()
        return SchemaState(current, needed)

    def close(self) -> None:
        self.engine.dispose()

    def _sqlite_engine(self) -> sa.Engine:
        engine = sa.create_engine(self.url, connect_args={"timeout": BUSY_TIMEOUT_SECONDS})
        sa.event.listen(engine, "connect", _prepare_sqlite)
        sa.event.listen(engine, "begin", _begin_sqlite)
        return engine

    def _migrating_engine(self) -> sa.Engine:
        """No connection of it is used again: one without foreign keys must not come back."""
        if not self.is_sqlite:
            return self.engine
        engine = sa.create_engine(
            self.url, connect_args={"timeout": BUSY_TIMEOUT_SECONDS}, poolclass=sa.NullPool
        )
        sa.event.listen(engine, "connect", _prepare_sqlite)
        sa.event.listen(engine, "connect", _foreign_keys_off)
        sa.event.listen(engine, "begin", _begin_sqlite)
        return engine

    def _server_engine(self) -> sa.Engine:
        """Without the server's compiler (jit): it takes 0.1 s or more for a query of the gate, each
        time, and saves nothing where a few hundred rows are found by indexes."""
        given = self.url.query.get("options", "")
        options = f"{given if isinstance(given, str) else ' '.join(given)} -c jit=off".strip()
        return sa.create_engine(
            self.url,
            connect_args={"options": options},
            pool_pre_ping=True,
            pool_size=5,
            max_overflow=10,
            pool_recycle=1800,
        )


def newest_version() -> str:
    """The schema version that this software needs; each migration's file begins with its own."""
    files = (_MIGRATIONS / "versions").glob("[0-9]*.py")
    return max(file.name.partition("_")[0] for file in files)


def schema_versions() -> frozenset[str]:
    """Those that this software can migrate from."""
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
    scripts = ScriptDirectory.from_config(config).walk_revisions()
    return frozenset(script.revision for script in scripts)


def insert_missing(
    connection: sa.Connection, table: sa.Table, rows: Sequence[Mapping[str, Any]]
) -> None:
    """INSERT ... ON CONFLICT DO NOTHING, in both dialects."""
    if not rows:
        return
    insert = sqlite.insert if connection.dialect.name == "sqlite" else postgresql.insert
    connection.execute(insert(table).on_conflict_do_nothing(), rows)


def _with_one_password(url: sa.URL) -> sa.URL:
    """libpq takes it among the parameters, too, where nobody hides it."""
    given = url.query.get("password")
    if given is None:
        return url
    password = given if isinstance(given, str) else given[-1]
    return url.difference_update_query(["password"]).set(password=password)


def shown(url: sa.URL) -> str:
    """For people: without the password and the parameters, which may hold another one."""
    return url.set(query={}).render_as_string(hide_password=True)


def _normal_url(url: str) -> sa.URL:
    try:
        parsed = sa.make_url(url)
    except SQLAlchemyError as error:
        raise DatabaseError(f"the database URL is not one: {error}") from None
    if parsed.get_backend_name() in ("postgresql", "postgres"):
        return _with_one_password(parsed).set(drivername="postgresql+psycopg")
    if parsed.get_backend_name() == "sqlite" and parsed.database:
        return parsed
    raise DatabaseError("the database URL has to begin with sqlite:/// (a file) or postgresql://")


def _prepare_sqlite(connection: Any, _record: object) -> None:
    # The driver must not begin transactions by itself: `_begin_sqlite` does.
    connection.isolation_level = None
    for pragma in (
        f"busy_timeout={int(BUSY_TIMEOUT_SECONDS * 1000)}",
        "journal_mode=WAL",
        "synchronous=FULL",
        "foreign_keys=ON",
    ):
        connection.execute(f"PRAGMA {pragma}").close()


def _foreign_keys_off(connection: Any, _record: object) -> None:
    connection.execute("PRAGMA foreign_keys=OFF").close()


def _check_foreign_keys(connection: sa.Connection) -> None:
    dangling = connection.exec_driver_sql("PRAGMA foreign_key_check").all()
    if dangling:
        tables = ", ".join(sorted({row[0] for row in dangling}))
        raise DatabaseError(f"the migration is undone: rows of {tables} would refer to nothing")


def _begin_sqlite(connection: sa.Connection) -> None:
    reading = connection.get_execution_options().get(_READ_ONLY, False)
    connection.exec_driver_sql("BEGIN" if reading else "BEGIN IMMEDIATE")


@contextmanager
def _plain_errors(url: sa.URL) -> Iterator[None]:
    where = shown(url)
    try:
        yield
    except IntegrityError:
        raise
    except OperationalError as error:
        raise DatabaseError(f"{where}: {_first_line(error)}") from error
    except DBAPIError as error:
        if error.connection_invalidated or "UndefinedTable" in type(error.orig).__name__:
            raise DatabaseError(f"{where}: {_first_line(error)}") from error
        raise


def _first_line(error: DBAPIError) -> str:
    text = str(error.orig).strip() or type(error.orig).__name__
    return text.splitlines()[0]


def _alembic_config(connection: sa.Connection) -> Any:
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
    config.attributes["connection"] = connection
    return config
