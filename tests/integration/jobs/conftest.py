"""Small nodes for these tests, on SQLite and on a private PostgreSQL."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from dicomnode.config import Settings
from dicomnode.jobs.engine import Job, list_jobs
from dicomnode.jobs.questions import CountAtSender
from dicomnode.jobs.worker import work
from dicomnode.jobs.workflows import Stages
from dicomnode.reloading import Reload, never
from dicomnode.tracking.database import Database
from dicomnode.tracking.status import StudyStatus, studies_status
from tests import postgres, small_node

FAST = {
    "completeness": {"quiet_seconds": 0.1, "poll_seconds": 0.05},
    "jobs": {"poll_seconds": 0.05, "maximum_attempts": 3},
    "delivery": {"first_retry_seconds": 0.2, "longest_retry_seconds": 0.4},
}


def pacs(port: int) -> dict[str, Any]:
    return {"name": "pacs", "ae_title": "PACS", "host": "127.0.0.1", "port": port}


def until(condition: Callable[[], bool], seconds: float = 60.0) -> None:
    """Wait for a condition; fails with its source line when it does not come."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)


def engine_threads() -> list[str]:
    """Threads of the engine that run jobs, or wait for one."""
    return [thread.name for thread in threading.enumerate() if "dbos-executor" in thread.name]


@dataclass
class Node:
    """Settings, the database, and a worker in this process while `working`."""

    settings: Settings
    database: Database

    @contextmanager
    def working(
        self,
        stages: Stages | None = None,
        count_at_sender: CountAtSender | None = None,
        reload: Reload = never,
    ) -> Iterator[None]:
        ready, stop = threading.Event(), threading.Event()
        given = stages or small_node.stages(self.settings)

        def run() -> None:
            work(
                self.settings,
                self.database,
                given,
                ready=ready.set,
                stop=stop,
                count_at_sender=lambda _settings: count_at_sender,
                reload=reload,
            )

        thread = threading.Thread(target=run)
        thread.start()
        try:
            assert ready.wait(30)
            yield
        finally:
            stop.set()
            thread.join(30)
            assert not thread.is_alive()
            until(lambda: engine_threads() == [], 1)

    def put(self, name: str, slices: int = 3, first: int = 0) -> str:
        return small_node.put_series(self.settings, self.database, name, slices, first)

    def jobs(self, *, everything: bool = False) -> list[Job]:
        return list_jobs(self.database, everything=everything)

    def status(self) -> tuple[StudyStatus, ...]:
        with self.database.read() as connection:
            return studies_status(connection, limit=10_000)

    def states(self) -> list[str]:
        """The state of every delivery."""
        return [d.state for study in self.status() for s in study.series for d in s.deliveries]


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    if postgres.missing():
        pytest.skip(postgres.missing())
    with postgres.server() as url:
        yield url


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.peer)])
def database_url(request: pytest.FixtureRequest) -> Iterator[str]:
    if request.param == "sqlite":
        yield ""
        return
    server = request.getfixturevalue("postgres_server")
    with postgres.fresh_database(server, f"jobs_{uuid.uuid4().hex[:8]}") as url:
        yield url


@pytest.fixture
def make_node(make_settings: Callable[..., Settings]) -> Iterator[Callable[..., Node]]:
    """A node with short times; its destinations and its database are given."""
    made: list[Database] = []

    def make(*destinations: dict[str, Any], url: str = "", **sections: Any) -> Node:
        merged = {name: FAST[name] | sections.pop(name, {}) for name in FAST}
        settings = make_settings(
            destinations=list(destinations), database={"url": url}, **merged, **sections
        )
        database = Database(settings.database_url)
        database.migrate()
        made.append(database)
        return Node(settings, database)

    yield make
    for database in made:
        database.close()
