"""One side of `bench/engine.py`: jobs that do nothing, by the node's jobs layer or by the engine.

    python bench/engine_side.py node|engine fill|idle|queued URL --jobs N

`fill` leaves N jobs in the database, each with the rows that it is of in one transaction. `idle`
puts one job after the other to an engine that has nothing to do. `queued` starts the engine on what
was filled. Both tell JSON on standard output.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from dbos import DBOS

from dicomnode.config import Settings
from dicomnode.delivery.store import send
from dicomnode.domain import (
    Examination,
    InstanceHeader,
    Refusal,
    RefusalCode,
    Revision,
    SetAside,
    StoredInstance,
)
from dicomnode.jobs import lanes
from dicomnode.jobs.lanes import JobQueue, Lane, Priority
from dicomnode.jobs.workflows import Stages, Workflows
from dicomnode.tracking import instances, series
from dicomnode.tracking.database import Database
from dicomnode.tracking.spool import Spool

POLL_SECONDS, SLOTS, ALONE = 0.1, 8, 20
NOOP, ROWS = "noop", "bench_rows"
NOTHING = SetAside(Refusal(RefusalCode.TOO_FEW_SLICES, "a bench"), 1)


@dataclass
class Side:
    """`enqueue` commits one job with its rows. `started`: when jobs began."""

    database: Database
    settings: Settings
    queue: JobQueue
    started: list[float] = field(default_factory=list)

    def enqueue(self, number: int) -> None:
        raise NotImplementedError

    def register(self) -> None:
        raise NotImplementedError

    @contextmanager
    def running(self) -> Iterator[None]:
        self.register()
        with lanes.running(self.settings):
            DBOS.register_queue(
                Lane.GPU.value,
                worker_concurrency=SLOTS,
                polling_interval_sec=POLL_SECONDS,
                on_conflict="always_update",
            )
            yield


class Node(Side):
    """A series, its revision and its examination, in which nothing is examined."""

    def enqueue(self, number: int) -> None:
        at, spool = datetime.now(UTC), Spool(self.settings.spool_folder)
        study = f"1.2.{number}"
        header = InstanceHeader("1.2", f"{study}.1.1", study, f"{study}.1", "1.2", "MR")
        name, digest = f"{number:040x}.dcm", f"{number:064x}"
        stored = StoredInstance(header, name, 1, digest, digest, digest, at)
        with self.database.begin() as connection:
            instances.add(connection, [stored])
            found = sa.text("SELECT id FROM series WHERE series_instance_uid = :uid")
            row = connection.scalar(found, {"uid": header.series_instance_uid})
            revision = series.add_revision(connection, row, spool, at)
            assert revision is not None
            self.queue.enqueue_examination(connection, revision)

    def register(self) -> None:
        once = lanes.configure(self.database, f"bench-{os.getpid()}")
        spool = Spool(self.settings.spool_folder)
        stages = Stages(examine=self._examine, deliver=send)
        Workflows(self.settings, self.database, spool, self.queue, once, stages).register()

    def _examine(self, revision: Revision) -> Examination:
        self.started.append(time.monotonic())
        return Examination(revision.digest, (), (NOTHING,), "0", "0" * 64)


class Engine(Side):
    """The engine with the same options: a row, and a workflow of one step."""

    def enqueue(self, number: int) -> None:
        options: Any = {
            "workflow_name": NOOP,
            "queue_name": Lane.GPU.value,
            "workflow_id": f"{NOOP}:{number}",
            "app_version": lanes.WORKFLOW_VERSION,
            "priority": int(Priority.ROUTINE),
        }
        with self.database.begin() as connection:
            connection.execute(sa.text(f"INSERT INTO {ROWS} (id) VALUES (:id)"), {"id": number})
            self.queue.client.enqueue_in_transaction(connection, options, number)

    def register(self) -> None:
        lanes.configure(self.database, f"bench-{os.getpid()}")

        @DBOS.workflow(name=NOOP)
        def noop(number: int) -> int:
            return DBOS.run_step({"name": NOOP}, self._begin, number)

    def _begin(self, number: int) -> int:
        self.started.append(time.monotonic())
        return number


SIDES = {"node": Node, "engine": Engine}


def fill(side: Side, jobs: int) -> dict[str, float]:
    began = time.monotonic()
    for number in range(1, jobs + 1):
        side.enqueue(number)
    return {"enqueue_ms": (time.monotonic() - began) * 1000 / jobs}


def idle(side: Side, jobs: int) -> dict[str, Any]:
    pickup_ms = []
    with side.running():
        for number in range(1, ALONE + 2):
            side.enqueue(10**9 + number)
            committed = time.monotonic()
            wait(lambda number=number: len(side.started) >= number)  # type: ignore[misc]
            pickup_ms.append((side.started[-1] - committed) * 1000)
            time.sleep(random.uniform(0.2, 0.2 + 2 * POLL_SECONDS))
    return {"pickup_ms": pickup_ms[1:]}


def queued(side: Side, jobs: int) -> dict[str, float]:
    with side.running():
        began = time.monotonic()
        wait(lambda: len(side.started) >= jobs)
        first, last = side.started[0], side.started[jobs - 1]
        told = {"first_ms": (first - began) * 1000, "jobs_a_second": (jobs - 1) / (last - first)}
        print(json.dumps(told), flush=True)
        os._exit(0)  # the others stay queued
    return told


def wait(until: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 600
    while not until():
        if time.monotonic() > deadline:
            raise SystemExit("the jobs did not begin in ten minutes")
        time.sleep(0.001)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("side", choices=SIDES)
    parser.add_argument("what", choices=("fill", "idle", "queued"))
    parser.add_argument("url")
    parser.add_argument("--jobs", type=int, default=1)
    given = parser.parse_args()
    database = Database(given.url)
    database.migrate()
    lanes.migrate(database)
    with database.begin() as connection:
        connection.execute(sa.text(f"CREATE TABLE IF NOT EXISTS {ROWS} (id BIGINT PRIMARY KEY)"))
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings.model_validate(
            {"node": {"data_folder": Path(folder)}, "jobs": {"poll_seconds": POLL_SECONDS}}
        )
        side = SIDES[given.side](database, settings, JobQueue(database))
        told = {"fill": fill, "idle": idle, "queued": queued}[given.what](side, given.jobs)
    print(json.dumps(told), flush=True)
    os._exit(0)


if __name__ == "__main__":
    main()
