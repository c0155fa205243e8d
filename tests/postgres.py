"""A private PostgreSQL server for tests: own folder, own port, stopped by who started it."""

from __future__ import annotations

import os
import pwd
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.ports import free_port

_ROOTS = Path("/usr/lib/postgresql")
_TIMEOUT_SECONDS = 60


def missing() -> str:
    """Why no server can be started here, as a sentence; empty when one can."""
    if _programs() is None:
        return "PostgreSQL isn't installed (Debian: postgresql)"
    if os.geteuid() == 0 and _unprivileged_user() is None:
        return "PostgreSQL doesn't run as root and there is no user postgres"
    return ""


@contextmanager
def server(keep_in: Path | None = None, more_options: str = "") -> Iterator[str]:
    """Yields the URL of a database on a free loopback port, empty unless its folder was kept."""
    programs = _programs()
    assert programs is not None
    folder = keep_in or Path(tempfile.mkdtemp(prefix="dicomnode-postgres-"))
    folder.mkdir(exist_ok=True)
    data = folder / "data"
    if os.geteuid() == 0:
        shutil.chown(folder, "postgres")
    try:
        if not data.exists():
            _run(programs / "initdb", "-D", data, "-U", "dicomnode", "-A", "trust", "--no-sync")
        port = free_port()
        options = (
            f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={folder} "
            f"-c fsync=off -c full_page_writes=off -c max_connections=60 {more_options}"
        )
        log = folder / "log"
        _run(programs / "pg_ctl", "-D", data, "-l", log, "-w", "-o", options, "start")
        try:
            yield f"postgresql://dicomnode@127.0.0.1:{port}/postgres"
        finally:
            # What is kept has to be on disk; what isn't need not.
            how = "immediate" if keep_in is None else "fast"
            _run(programs / "pg_ctl", "-D", data, "-m", how, "-w", "stop")
    finally:
        if keep_in is None:
            shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def fresh_database(server_url: str, name: str) -> Iterator[str]:
    """Yields the URL of a new database of this name on a running server, dropped at the end."""
    import psycopg

    with psycopg.connect(server_url, autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}"')
    try:
        yield f"{server_url.rsplit('/', 1)[0]}/{name}"
    finally:
        with psycopg.connect(server_url, autocommit=True) as connection:
            connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)')


def copy_database(server_url: str, template: str, name: str) -> None:
    """What `name` held is gone then. Nobody may be connected to either."""
    import psycopg

    with psycopg.connect(server_url, autocommit=True) as connection:
        connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)')
        connection.execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}"')


@contextmanager
def crashed(server_url: str) -> Iterator[None]:
    """The server is stopped as by a crash, and started again with the same options."""
    import psycopg

    with psycopg.connect(server_url) as connection:
        (data,) = connection.execute("SHOW data_directory").fetchone() or ("",)
    options = shlex.split(Path(data, "postmaster.opts").read_text())[3:]
    programs = _programs()
    assert programs is not None
    control = (programs / "pg_ctl", "-D", data, "-w")
    _run(*control, "-m", "immediate", "stop")
    try:
        yield
    finally:
        _run(*control, "-l", Path(data).parent / "log", "-o", shlex.join(options), "start")


def _programs() -> Path | None:
    folders = sorted(_ROOTS.glob("*/bin")) if _ROOTS.is_dir() else []
    return next((folder for folder in reversed(folders) if (folder / "initdb").is_file()), None)


def _unprivileged_user() -> pwd.struct_passwd | None:
    try:
        return pwd.getpwnam("postgres")
    except KeyError:
        return None


def _run(*command: object) -> None:
    arguments = [str(part) for part in command]
    user = "postgres" if os.geteuid() == 0 else None
    subprocess.run(
        arguments,
        check=True,
        user=user,
        cwd="/",
        timeout=_TIMEOUT_SECONDS,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
