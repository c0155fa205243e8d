"""Which executors live: each holds a lock that the system takes back when its process dies.

Every worker process is an executor with an id of its own. A killed one leaves jobs that are
marked as running; whoever finds its lock free may start them again. Two live processes never
share an id, and a job is never taken from a process that holds its lock.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import secrets
import socket
from pathlib import Path
from typing import Protocol, TextIO

import sqlalchemy as sa

from dicomnode.tracking.database import Database


def new_executor_id() -> str:
    """Unique for every start, and it says where: host, process, a random part."""
    host = re.sub(r"[^A-Za-z0-9]+", "-", socket.gethostname())[:40]
    return f"{host}-{os.getpid()}-{secrets.token_hex(4)}"


class Liveness(Protocol):
    """The lock of this process's executor, and a look at those of the others."""

    def hold(self) -> None:
        """Take the lock of this executor, or take it again where it was lost."""

    def is_dead(self, executor_id: str) -> bool:
        """Whether no process holds that executor's lock."""

    def forget(self, executor_id: str) -> None:
        """Clear away what a dead executor left, once its jobs are with others."""

    def release(self) -> None: ...


def liveness(database: Database, folder: Path, executor_id: str) -> Liveness:
    """File locks beside an SQLite database, advisory locks inside PostgreSQL."""
    if database.is_sqlite:
        return FileLiveness(folder, executor_id)
    return AdvisoryLiveness(database.engine, executor_id)


class FileLiveness:
    """One file per executor, under a POSIX record lock.

    Not `flock`: a child that outlives a killed worker would keep that one.
    """

    def __init__(self, folder: Path, executor_id: str) -> None:
        self._folder = folder
        self._executor_id = executor_id
        self._file: TextIO | None = None

    def hold(self) -> None:
        if self._file is not None and self._path(self._executor_id).exists():
            return
        self._folder.mkdir(parents=True, exist_ok=True)
        self._file = self._path(self._executor_id).open("w", encoding="ascii")
        fcntl.lockf(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def is_dead(self, executor_id: str) -> bool:
        if executor_id == self._executor_id:
            return False  # and closing our own file here would give up our lock
        try:
            with self._path(executor_id).open("r+", encoding="ascii") as file:
                fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except FileNotFoundError:
            return True
        except BlockingIOError:
            return False
        return True

    def forget(self, executor_id: str) -> None:
        self._path(executor_id).unlink(missing_ok=True)

    def release(self) -> None:
        if self._file is not None:
            self._path(self._executor_id).unlink(missing_ok=True)
            self._file.close()
            self._file = None

    def _path(self, executor_id: str) -> Path:
        return self._folder / f"{hashlib.sha256(executor_id.encode()).hexdigest()[:32]}.lock"


class AdvisoryLiveness:
    """One session-level advisory lock per executor, on a connection of its own."""

    def __init__(self, engine: sa.Engine, executor_id: str) -> None:
        self._engine = engine.execution_options(isolation_level="AUTOCOMMIT")
        self._executor_id = executor_id
        self._connection: sa.Connection | None = None

    def hold(self) -> None:
        if self._connection is not None:
            try:
                self._connection.execute(sa.text("SELECT 1"))
            except sa.exc.DBAPIError:
                self._connection.invalidate()
                self._connection.close()
                self._connection = None
            else:
                return
        connection = self._engine.connect()
        lock = sa.select(sa.func.pg_try_advisory_lock(_key(self._executor_id)))
        if connection.execute(lock).scalar_one():
            self._connection = connection
        else:  # the server has not yet seen that our old session is gone; the next call will do
            connection.close()

    def is_dead(self, executor_id: str) -> bool:
        if executor_id == self._executor_id:
            return False
        key = _key(executor_id)
        with self._engine.connect() as connection:
            free = connection.execute(sa.select(sa.func.pg_try_advisory_lock(key))).scalar_one()
            if free:
                connection.execute(sa.select(sa.func.pg_advisory_unlock(key)))
        return bool(free)

    def forget(self, executor_id: str) -> None:
        """The server has already taken the lock back."""

    def release(self) -> None:
        if self._connection is not None:
            self._connection.invalidate()
            self._connection.close()
            self._connection = None


def _key(executor_id: str) -> int:
    digest = hashlib.sha256(f"dicomnode executor {executor_id}".encode()).digest()
    return int.from_bytes(digest[:8], "big", signed=True)
