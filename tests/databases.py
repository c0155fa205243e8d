"""Fixtures for tests of the tracking database: each runs on SQLite and on PostgreSQL.

Use them with `from tests.databases import *  # noqa: F403`.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from dicomnode.tracking.database import Database
from dicomnode.tracking.spool import Spool
from tests import postgres

__all__ = ["database", "database_url", "postgres_server", "spool"]


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


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    """A database with all tables."""
    opened = Database(database_url)
    opened.migrate()
    yield opened
    opened.close()


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    made = Spool(tmp_path / "spool")
    made.prepare()
    return made
