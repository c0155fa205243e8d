"""What we rely on in the job engine beyond its public promise; run it before an upgrade."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import get_args

from dbos import DBOS, WorkflowStatusString
from dbos._sys_db import WorkflowStatuses

from dicomnode.config import Settings
from dicomnode.jobs import lanes
from dicomnode.jobs.attempts import Attempt
from dicomnode.jobs.engine import _STATES
from dicomnode.jobs.recovery import recover_the_dead
from dicomnode.tracking.database import Database


class _Dead:
    """Says of every executor but ours that it is dead."""

    def __init__(self) -> None:
        self.forgotten: list[str] = []

    def hold(self) -> None: ...

    def is_dead(self, executor_id: str) -> bool:
        return executor_id != "the-living"

    def forget(self, executor_id: str) -> None:
        self.forgotten.append(executor_id)

    def release(self) -> None: ...


def test_every_state_of_the_engine_has_a_word_for_people() -> None:
    assert set(_STATES) == set(get_args(WorkflowStatuses))
    assert set(_STATES) == {status.value for status in WorkflowStatusString}


def test_the_private_recovery_call_takes_executor_ids() -> None:
    (name,) = inspect.signature(DBOS._recover_pending_workflows).parameters
    assert name == "executor_ids"


def test_the_private_recovery_call_starts_again_what_a_dead_executor_left_running(
    make_settings: Callable[..., Settings], tmp_path: Path
) -> None:
    settings = make_settings(jobs={"poll_seconds": 0.05})
    database = Database(settings.database_url)
    database.migrate()
    lanes.migrate(database)
    queue = lanes.JobQueue(database)
    with database.begin() as connection:
        job_id = queue.enqueue_delivery(connection, Attempt(7, 1, 0.0, generation=0.0))
        connection.exec_driver_sql(
            "UPDATE workflow_status SET status = 'PENDING', executor_id = 'the-dead'"
        )
    lanes.configure(database, "the-living")
    ran: list[int] = []

    @DBOS.workflow(name=lanes.Stage.DELIVER)
    def deliver(
        delivery_id: int,
        number: int,
        delay_seconds: float,
        generation: float,
        loss_seconds: float = 0.0,
        waited_seconds: float = 0.0,
        unproven_seconds: float = 0.0,
    ) -> None:
        ran.append(delivery_id)

    dead = _Dead()
    with lanes.running(settings):
        assert recover_the_dead(dead) == 1
        handle = DBOS.retrieve_workflow(job_id)
        handle.get_result(polling_interval_sec=0.05)
        assert recover_the_dead(dead) == 0
    assert ran == [7]
    assert dead.forgotten == ["the-dead"]
    queue.close()
    database.close()


def test_a_lane_of_an_earlier_version_is_emptied(make_settings: Callable[..., Settings]) -> None:
    """Deliveries had one lane for all destinations, "deliver", which nobody registers any more."""
    settings = make_settings(jobs={"poll_seconds": 0.05})
    database = Database(settings.database_url)
    database.migrate()
    lanes.migrate(database)
    queue = lanes.JobQueue(database)
    lanes.configure(database, "now")

    @DBOS.workflow(name=lanes.Stage.DELIVER)
    def deliver(delivery_id: int, number: int, delay_seconds: float, deadline: float) -> str:
        return "sent"

    queue.client.register_queue("deliver", worker_concurrency=4, polling_interval_sec=0.05)
    with database.begin() as connection:
        options = lanes._options(lanes.Stage.DELIVER, lanes.Lane.DELIVER, "deliver:7:1:1", 100)
        options["queue_name"] = "deliver"
        queue.client.enqueue_in_transaction(connection, options, 7, 1, 0.0, 1.0)
    with lanes.running(settings):
        handle = DBOS.retrieve_workflow("deliver:7:1:1")
        assert handle.get_result(polling_interval_sec=0.05) == "sent"
    queue.close()
    database.close()
