"""The examining process that crashes, hangs or has no memory: the worker lives, others proceed."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dicomnode.app.batch import find
from dicomnode.app.examining import ExaminingProcess
from dicomnode.config import Settings
from dicomnode.dicom.uids import result_uid
from dicomnode.domain import Examination, Revision
from dicomnode.errors import ExaminationDiedError, ExaminationFailedError, ModelError
from dicomnode.jobs.engine import JobState, retry
from tests import small_examination, small_node
from tests.conftest import REPOSITORY
from tests.factories import make_series
from tests.integration.jobs.conftest import Node, until

MakeNode = Callable[..., Node]
SOON = {
    "poll_seconds": 0.05,
    "examination_attempts": 2,
    "examination_pause_seconds": 0.1,
    "silence_seconds": 60.0,
}


@contextmanager
def examining(node: Node, how: str) -> Iterator[ExaminingProcess]:
    """A worker in this process with an examining process of its own."""
    child = small_node.examining_process(node.settings, how)
    child.start()
    try:
        with node.working(replace(small_node.stages(node.settings), examine=child.examine)):
            yield child
    finally:
        child.close()


def verdict_of(node: Node, series_uid: str) -> str:
    found = {s.series_instance_uid: study.verdict for study in node.status() for s in study.series}
    return found.get(series_uid, "")


def tries(node: Node) -> int:
    return len(list((node.settings.node.data_folder / "marks").iterdir()))


@pytest.mark.parametrize(
    ("how", "jobs", "reason"),
    [
        ("crash", SOON, "killed by SIGSEGV"),
        ("no memory", SOON | {"examination_postponements": 2}, "waits for memory"),
        ("hang", SOON | {"silence_seconds": 2.0}, "silent for 2 s after a step of a small"),
    ],
)
def test_a_poison_series_is_set_aside_and_the_others_are_examined(
    make_node: MakeNode, how: str, jobs: dict[str, Any], reason: str
) -> None:
    node = make_node(jobs=jobs)
    poison, good = node.put("poison"), [node.put("a"), node.put("b")]
    with examining(node, how):
        until(lambda: [job.state for job in node.jobs()] == [JobState.FAILED])
        (job,) = node.jobs()
        until(lambda: all(verdict_of(node, uid) == "DEFACED" for uid in good))
        assert job.subject == poison
        assert job.error.startswith("set aside after 2 tries")
        assert reason in job.error
        assert tries(node) == 2
        assert verdict_of(node, poison) == ""
        failures = {s.failure for study in node.status() for s in study.series}
        assert failures == {"", job.error}
        node.put("c")  # and the worker goes on
        until(lambda: [study.verdict for study in node.status()].count("DEFACED") == 3)


@pytest.mark.parametrize("how", ["crash once", "no memory once", "full disk once"])
def test_a_series_that_failed_by_chance_is_tried_again(make_node: MakeNode, how: str) -> None:
    node = make_node(jobs=SOON)
    poison = node.put("poison")
    with examining(node, how):
        until(lambda: verdict_of(node, poison) == "DEFACED")
        until(lambda: node.jobs() == [])
    assert tries(node) == 2


def test_a_mount_that_is_away_costs_no_series(make_node: MakeNode) -> None:
    """Found by the worker itself, before its child."""
    node, tries = make_node(jobs=SOON), []
    node.put("a")
    stages = small_node.stages(node.settings)

    def examine(revision: Revision) -> Examination:
        tries.append(1)
        if len(tries) == 1:
            revision.paths[0].parent.with_name("away").joinpath("a.dcm").stat()
        return stages.examine(revision)

    with node.working(replace(stages, examine=examine)):
        until(lambda: [study.verdict for study in node.status()] == ["DEFACED"])
    assert len(tries) == 2


def test_a_series_that_waits_says_why_and_can_be_hurried(make_node: MakeNode) -> None:
    node = make_node(jobs=SOON | {"examination_pause_seconds": 600.0})
    poison = node.put("poison")
    with examining(node, "no memory once"):
        until(lambda: [job.state for job in node.jobs()] == [JobState.WAITING_TO_RETRY])
        (job,) = node.jobs()
        assert (job.subject, job.error) == (poison, "waits for memory")
        assert job.next_attempt_at is not None
        retry(node.database, job.id)
        until(lambda: verdict_of(node, poison) == "DEFACED")


def test_networks_stay_loaded_and_an_idle_process_that_is_killed_is_replaced(
    make_node: MakeNode,
) -> None:
    def loaded() -> list[int]:
        folder = node.settings.node.data_folder
        return [int(path.name.removeprefix("loaded-")) for path in folder.glob("loaded-*")]

    node = make_node(jobs=SOON)
    node.put("a")
    node.put("b")
    with examining(node, ""):
        until(lambda: [study.verdict for study in node.status()] == ["DEFACED"] * 2)
        (first,) = loaded()
        os.kill(first, signal.SIGKILL)
        node.put("c")
        until(lambda: [study.verdict for study in node.status()] == ["DEFACED"] * 3)
        assert len(loaded()) == 2


def test_networks_that_cannot_be_loaded_refuse_the_start(
    make_settings: Callable[..., Settings],
) -> None:
    child = ExaminingProcess(small_examination.refuse, make_settings().jobs)
    with pytest.raises(ModelError, match="another SHA-256"):
        child.start()


def test_a_process_that_is_killed_while_it_loads_does_not_stop_the_worker_for_good(
    make_settings: Callable[..., Settings],
) -> None:
    """`ModelError` would: its exit code is that of a wrong configuration."""
    child = ExaminingProcess(small_examination.die, make_settings().jobs)
    with pytest.raises(ExaminationDiedError, match=r"were loaded .* killed by SIGKILL"):
        child.start()


@contextmanager
def worker_with_child(node: Node) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """A worker process whose child hangs in a series; with the process id of that child."""
    folder = node.settings.node.data_folder
    config = folder / "config.toml"
    config.write_text(
        f'node.data_folder = "{folder}"\n'
        "completeness.quiet_seconds = 0.1\ncompleteness.poll_seconds = 0.05\n"
        "jobs.poll_seconds = 0.05\n"
    )
    node.put("poison")
    command = [sys.executable, "-m", "tests.small_node", str(config), "child"]
    process = subprocess.Popen(command, cwd=REPOSITORY, stderr=subprocess.DEVNULL)
    try:
        until(lambda: (folder / "marks").exists() and tries(node) == 1)
        (loaded,) = folder.glob("loaded-*")
        yield process, int(loaded.name.removeprefix("loaded-"))
    finally:
        process.kill()
        process.wait(timeout=10)


def is_running(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def test_stopping_returns_the_job_and_ends_the_examining_process(make_node: MakeNode) -> None:
    node = make_node()
    with worker_with_child(node) as (process, child):
        os.kill(child, signal.SIGTERM)  # as systemd does, to all processes of the unit
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=30) == 0
        until(lambda: not is_running(child), 10)
    assert [job.state for job in node.jobs()] == [JobState.RUNNING]  # by a dead one: taken up again
    with examining(node, ""):
        until(lambda: [study.verdict for study in node.status()] == ["DEFACED"])


def test_a_killed_worker_leaves_no_examining_process(make_node: MakeNode) -> None:
    node = make_node()
    with worker_with_child(node) as (process, child):
        assert is_running(child)
        process.kill()
        until(lambda: not is_running(child), 10)


def test_its_log_has_the_level_of_its_worker_which_may_change(
    make_settings: Callable[..., Settings], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    make_series(tmp_path / "in", slices=3)
    (found,) = find([tmp_path / "in"]).revisions
    revision = replace(found, series_instance_uid=result_uid("series", "poison"))
    child = small_node.examining_process(make_settings(), "tell the level of its log")
    child.start()
    try:
        for level in (logging.DEBUG, logging.ERROR):
            caplog.set_level(level, "dicomnode")
            with pytest.raises(ExaminationFailedError, match=f"level {level}"):
                child.examine(revision)
    finally:
        child.close()
