"""The database is away, locked or full while objects come: what was confirmed is there."""

from __future__ import annotations

import re
import sqlite3
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
import sqlalchemy as sa

from dicomnode.config import Settings
from dicomnode.errors import DatabaseError
from dicomnode.intake.running import running_intake
from dicomnode.tracking import database as database_module
from dicomnode.tracking.database import Database
from dicomnode.tracking.findings import findings
from dicomnode.tracking.schema import instances
from tests import postgres
from tests.factories import make_series
from tests.integration.scp.receiving import (
    data_set_bytes,
    dcmtk_environment,
    needs_dcmtk,
    running,
    storescu,
    storescu_command,
    wait_until,
)
from tests.small_disk import small_disk

LATER = "Refused: OutOfResources"


def answers(text: str) -> list[str]:
    return re.findall(r"Received Store Response \((.*?)\)", text)


@pytest.mark.peer
@needs_dcmtk
def test_a_server_that_is_killed_while_objects_come_loses_none(
    make_settings: Callable[..., Settings], tmp_path: Path
) -> None:
    """A series that is known goes on; one that the gate can't know of is told to come later."""
    if postgres.missing():
        pytest.skip(postgres.missing())
    first = list(make_series(tmp_path / "first", slices=60, study="first", series="first"))
    second = list(make_series(tmp_path / "second", slices=5, study="second", series="second"))
    with postgres.server() as url:
        settings = make_settings(database={"url": url})
        with running(settings, tmp_path / "node") as node:
            sender = subprocess.Popen(
                storescu_command(node, *first, options=("-nh",)),
                env=dcmtk_environment(),
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
            wait_until(lambda: len(node.objects()) > 5)
            with postgres.crashed(url):
                told = storescu(node, *second, options=("-nh",))
                assert answers(told.stderr + told.stdout) == [LATER] * 5
            output, _ = sender.communicate(timeout=120)
            assert answers(output) == ["Success"] * 60
            told = storescu(node, *second)
            assert answers(told.stderr + told.stdout) == ["Success"] * 5
            wait_until(lambda: len(node.rows()) == 65, 60)
            sent = {data_set_bytes(path) for path in (*first, *second)}
            assert {data_set_bytes(path) for path in node.rows()} == sent


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    return list(make_series(tmp_path / "made", slices=3))


def take_in(settings: Settings, files: list[Path]) -> None:
    with running_intake(settings) as intake:
        peer = intake.opened(calling_ae_title="A", called_ae_title="B", address="192.0.2.1")
        for file in files:
            intake.store_file(peer, file.read_bytes())
        intake.closed(peer, "released")


def rows(settings: Settings) -> int:
    database = Database(settings.database_url)
    with database.read() as connection:
        count = connection.scalar(sa.select(sa.func.count()).select_from(instances))
    database.close()
    return int(count or 0)


@contextmanager
def locked(settings: Settings) -> Iterator[sqlite3.Connection]:
    """Another program has begun to write and doesn't end."""
    path = settings.database_url.removeprefix("sqlite:///")
    with closing(sqlite3.connect(path, isolation_level=None, check_same_thread=False)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield other


def test_a_lock_that_ends_in_time_costs_nothing(
    make_settings: Callable[..., Settings], files: list[Path]
) -> None:
    settings = make_settings()
    take_in(settings, files[:1])
    other_series = list(make_series(files[0].parent / "other", slices=2, series="other"))
    with locked(settings) as other:
        timer = threading.Timer(1.0, other.rollback)
        timer.start()
        take_in(settings, other_series)
        timer.join()
    assert rows(settings) == 3


def test_a_lock_that_does_not_end_is_told_to_the_sender(
    make_settings: Callable[..., Settings], files: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database_module, "BUSY_TIMEOUT_SECONDS", 0.2)
    settings = make_settings()
    with running_intake(settings) as intake:
        peer = intake.opened(calling_ae_title="A", called_ae_title="B", address="192.0.2.1")
        with locked(settings), pytest.raises(DatabaseError, match="locked"):
            intake.store_file(peer, files[0].read_bytes())
        for file in files:
            intake.store_file(peer, file.read_bytes())
        intake.closed(peer, "released")
        wait_until(lambda: rows(settings) == 3)


def test_what_could_not_be_recorded_holds_its_series_until_it_comes(
    make_settings: Callable[..., Settings], files: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is not kept, and its sender may not come again."""
    settings = make_settings()
    take_in(settings, files[:2])
    monkeypatch.setattr(database_module, "BUSY_TIMEOUT_SECONDS", 0.2)
    with running_intake(settings) as intake:
        peer = intake.opened(calling_ae_title="A", called_ae_title="B", address="192.0.2.1")
        with locked(settings), pytest.raises(DatabaseError, match="locked"):
            intake.store_file(peer, files[2].read_bytes())
        intake.closed(peer, "released")
    monkeypatch.undo()
    assert quarantined(settings) == 1
    take_in(settings, files[2:])
    assert quarantined(settings) == 0


def quarantined(settings: Settings) -> int:
    """How many objects hold the only series."""
    database = Database(settings.database_url)
    with database.read() as connection:
        (found,) = findings(connection, sa.true())
    database.close()
    return found.quarantined


def test_a_full_disk_of_the_database_is_told_to_the_sender(
    make_settings: Callable[..., Settings], files: list[Path], tmp_path: Path
) -> None:
    with small_disk(tmp_path / "disk", "size=6m") as disk:
        settings = make_settings(database={"url": f"sqlite:///{disk.folder}/tracking.sqlite"})
        with running_intake(settings) as intake:
            peer = intake.opened(calling_ae_title="A", called_ae_title="B", address="192.0.2.1")
            ballast = disk.folder / "ballast"
            fill(ballast)
            with pytest.raises(DatabaseError, match=r"full|I/O"):
                intake.store_file(peer, files[0].read_bytes())
            ballast.unlink()
            for file in files:
                intake.store_file(peer, file.read_bytes())
            intake.closed(peer, "released")
            wait_until(lambda: rows(settings) == 3)
        with closing(sqlite3.connect(disk.folder / "tracking.sqlite")) as connection:
            assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def fill(path: Path) -> None:
    """To the last byte."""
    with path.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            return
