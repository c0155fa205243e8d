"""Fixtures for tests of the tracking database: each runs on SQLite and on PostgreSQL.

Use them with `from tests.databases import *  # noqa: F403`.
"""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from dicomnode.tracking.database import Database
from dicomnode.tracking.spool import Spool
from tests import postgres

__all__ = [
    "database",
    "database_url",
    "migrated_postgresql",
    "migrated_sqlite",
    "postgres_server",
    "spool",
]


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """The URL of a private server, started once."""
    why_not = postgres.missing()
    if why_not:
        pytest.skip(why_not)
    with postgres.server() as url:
        yield url


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.peer)])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """An empty database."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path}/tracking.sqlite"
        return
    server = request.getfixturevalue("postgres_server")
    with postgres.fresh_database(server, f"test_{uuid.uuid4().hex}") as url:
        yield url


@pytest.fixture(scope="session")
def migrated_sqlite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with all tables, to be copied: all migrations take a third of a second."""
    file = tmp_path_factory.mktemp("migrated") / "tracking.sqlite"
    made = Database(f"sqlite:///{file}")
    made.migrate()
    made.close()
    return file


@pytest.fixture(scope="session")
def migrated_postgresql(postgres_server: str) -> Iterator[str]:
    """The same, by its name on the server."""
    name = f"migrated_{uuid.uuid4().hex}"
    with postgres.fresh_database(postgres_server, name) as url:
        made = Database(url)
        made.migrate()
        made.close()
        yield name


@pytest.fixture
def database(database_url: str, request: pytest.FixtureRequest) -> Iterator[Database]:
    """A database with all tables."""
    opened = Database(database_url)
    if opened.is_sqlite:
        shutil.copy(request.getfixturevalue("migrated_sqlite"), str(opened.url.database))
    else:
        server = request.getfixturevalue("postgres_server")
        template = request.getfixturevalue("migrated_postgresql")
        postgres.copy_database(server, template, str(opened.url.database))
    yield opened
    opened.close()


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    made = Spool(tmp_path / "spool")
    made.prepare()
    return made
