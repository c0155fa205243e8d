"""Looking again and again at what stays set aside costs nobody who writes."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import Any, cast

import pytest
import sqlalchemy as sa
from dbos import DBOSClient

from dicomnode.jobs import lanes
from dicomnode.jobs.lanes import Stage
from dicomnode.jobs.set_aside import record_set_aside
from tests.examined_site import *  # noqa: F403
from tests.examined_site import Site


class Engine:
    """Has given up an examination and a delivery that ended well before."""

    def list_workflows(self, **_: Any) -> list[Any]:
        return [Job(Stage.EXAMINE), Job(Stage.DELIVER)]


class Job:
    workflow_id, recovery_attempts = "job", 4
    input = {"args": [1]}  # noqa: RUF012

    def __init__(self, name: Stage) -> None:
        self.name = name


def test_what_was_recorded_is_looked_at_while_others_write(site: Site) -> None:
    site.series("one")
    file = str(site.database.url.database)
    with closing(sqlite3.connect(file, timeout=0, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        record_set_aside(cast(DBOSClient, Engine()), site.database)


@pytest.mark.parametrize("state", ["PENDING", "DELAYED", "MAX_RECOVERY_ATTEMPTS_EXCEEDED"])
def test_jobs_of_a_state_are_found_without_reading_all_jobs(site: Site, state: str) -> None:
    """The worker asks every two seconds, of a table that grows with each series."""
    asked: list[tuple[str, Any]] = []

    def note(_c: object, _cursor: object, statement: str, given: Any, *_: object) -> None:
        if "workflow_status" in statement:
            asked.append((statement, given))

    queue = lanes.JobQueue(site.database)
    sa.event.listen(site.database.engine, "before_cursor_execute", note)
    queue.client.list_workflows(status=state)
    queue.close()
    sa.event.remove(site.database.engine, "before_cursor_execute", note)
    ((statement, given),) = asked
    with site.database.engine.connect() as c:
        plan = c.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", given).all()
    assert "dicomnode_workflow_status (status=?)" in str(plan)
