"""Worker processes that are killed, stopped, or take themselves down: no job lost, none stuck.

DICOMNODE_KILL_ROUNDS=100 makes the long version, for a new version of the engine.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import sqlalchemy as sa

from dicomnode.jobs.engine import JobState, retry
from dicomnode.tracking.schema import examinations, verdicts
from tests.conftest import REPOSITORY
from tests.integration.jobs.conftest import Node, pacs, until
from tests.storage_peer import storage_peer

MakeNode = Callable[..., Node]
OFTEN = {"jobs": {"poll_seconds": 0.05, "maximum_attempts": 50}}


def _write_config(node: Node) -> Path:
    """The node's settings as the file that a worker process reads."""
    settings = node.settings
    lines = [
        f'node.data_folder = "{settings.node.data_folder}"',
        f'database.url = "{settings.database.url}"',
    ]
    for section in ("completeness", "jobs", "delivery"):
        for key, value in getattr(settings, section).model_dump(exclude_unset=True).items():
            lines.append(f"{section}.{key} = {value}")
    for peer in settings.destinations:
        lines += ["[[destinations]]", f'name = "{peer.name}"', f'ae_title = "{peer.ae_title}"']
        lines += [f'host = "{peer.host}"', f"port = {peer.port}"]
    path = settings.node.data_folder / "config.toml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines))
    return path


@contextmanager
def _worker(node: Node, *how: str) -> Iterator[subprocess.Popen[bytes]]:
    config = _write_config(node)
    command = [sys.executable, "-m", "tests.small_node", str(config), *how]
    process = subprocess.Popen(command, cwd=REPOSITORY, stderr=subprocess.DEVNULL)
    try:
        yield process
    finally:
        process.kill()
        process.wait(timeout=10)


def _count(node: Node, table: sa.Table, *conditions: sa.ColumnElement[bool]) -> int:
    query = sa.select(sa.func.count()).select_from(table).where(*conditions)
    with node.database.read() as connection:
        return int(connection.execute(query).scalar_one())


def _all_done(node: Node, series: int) -> bool:
    studies = node.status()
    return (
        len(studies) == series
        and all(study.verdict == "DEFACED" for study in studies)
        and node.states() == ["delivered"] * series
    )


def test_no_job_is_lost_when_workers_are_killed_at_random_moments(
    make_node: MakeNode, database_url: str
) -> None:
    dice = random.Random(20261121)
    rounds, per_round = int(os.environ.get("DICOMNODE_KILL_ROUNDS", "4")), 3
    with storage_peer() as peer:
        node = make_node(pacs(peer.port), url=database_url, **OFTEN)
        for number in range(rounds):
            for letter in "abc"[:per_round]:
                node.put(f"{number}{letter}")
            with _worker(node):  # killed at the end of the block: starting, working or idle
                time.sleep(dice.uniform(0.5, 4.0))
        with _worker(node):
            until(lambda: _all_done(node, rounds * per_round), seconds=60 + 4 * rounds)
            until(lambda: node.jobs() == [])
    assert len(peer.received) == rounds * per_round
    assert _count(node, verdicts, verdicts.c.is_current) == rounds * per_round
    assert _count(node, examinations) == rounds * per_round


def test_a_live_worker_takes_over_from_a_killed_one(make_node: MakeNode, database_url: str) -> None:
    with storage_peer() as peer:
        node = make_node(pacs(peer.port), url=database_url, **OFTEN)
        node.put("a")
        with _worker(node, "slow") as slow:
            until(lambda: [job.state for job in node.jobs()] == [JobState.RUNNING])
            with _worker(node):
                time.sleep(5)  # the slow one lives: its job is left to it
                assert [job.state for job in node.jobs()] == [JobState.RUNNING]
                slow.kill()
                until(lambda: _all_done(node, 1))


def test_stopping_does_not_wait_for_a_long_examination(make_node: MakeNode) -> None:
    node = make_node()
    node.put("a")
    with _worker(node, "slow") as worker:
        until(lambda: [job.state for job in node.jobs()] == [JobState.RUNNING])
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(timeout=15) == 0
    with _worker(node) as worker:
        until(lambda: _all_done_without_deliveries(node))
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(timeout=10) == 0


def _all_done_without_deliveries(node: Node) -> bool:
    return [study.verdict for study in node.status()] == ["DEFACED"] and node.jobs() == []


def test_a_job_that_kills_its_worker_again_and_again_is_set_aside(make_node: MakeNode) -> None:
    node = make_node(jobs={"maximum_attempts": 2})
    uid = node.put("a")
    for _ in range(node.settings.jobs.maximum_attempts):
        with _worker(node, "poison") as worker:
            assert worker.wait(timeout=30) == -signal.SIGKILL
    with _worker(node):
        until(lambda: [job.state for job in node.jobs()] == [JobState.SET_ASIDE])
        (job,) = node.jobs()
        assert job.subject == uid
        assert "its worker died 2 times" in job.error
        until(lambda: node.status()[0].series[0].failure == job.error)
        retry(node.database, job.id)
        until(lambda: _all_done_without_deliveries(node))
