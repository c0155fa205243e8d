"""The lock of an executor is free as soon as its process is gone, however it went."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from dicomnode.config import Settings
from dicomnode.jobs.liveness import AdvisoryLiveness, liveness
from dicomnode.tracking.database import Database
from tests.conftest import REPOSITORY
from tests.integration.jobs.conftest import until

_HOLDER = """
import sys, time, pathlib, subprocess
from dicomnode.jobs.liveness import liveness
from dicomnode.tracking.database import Database
url, folder = sys.argv[1:]
lock = liveness(Database(url), pathlib.Path(folder), "the other")
lock.hold()
if hasattr(__import__("os"), "fork") and __import__("os").fork() == 0:
    time.sleep(20)  # a child that outlives its parent
print("held", flush=True)
time.sleep(60)
"""


@contextmanager
def _holder(url: str, folder: Path) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-c", _HOLDER, url, str(folder)]
    process = subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process
    finally:
        process.kill()
        process.wait(timeout=10)


def test_a_killed_process_is_dead_even_if_a_child_of_it_lives(
    make_settings: Callable[..., Settings], tmp_path: Path
) -> None:
    database = Database(make_settings().database_url)
    ours = liveness(database, tmp_path / "executors", "ours")
    ours.hold()
    with _holder(make_settings().database_url, tmp_path / "executors"):
        assert not ours.is_dead("the other")
    assert ours.is_dead("the other")
    ours.forget("the other")
    assert len(list((tmp_path / "executors").iterdir())) == 1
    ours.release()


def test_an_advisory_lock_is_taken_again_after_its_connection_was_lost(
    postgres_server: str, tmp_path: Path
) -> None:
    database = Database(postgres_server)
    mine = liveness(database, tmp_path, "mine")
    other = liveness(database, tmp_path, "other")
    assert isinstance(mine, AdvisoryLiveness)
    assert other.is_dead("mine")
    mine.hold()
    assert not other.is_dead("mine")
    with database.begin() as connection:
        connection.exec_driver_sql(
            "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' "
            "AND pid <> pg_backend_pid()"
        )
    until(lambda: other.is_dead("mine"))  # the server ends a session in its own time
    mine.hold()
    assert not other.is_dead("mine")
    mine.release()
    until(lambda: other.is_dead("mine"))
    database.close()
