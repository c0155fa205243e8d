"""What the watch does before it decides."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from unittest.mock import Mock

import pytest

from dicomnode.config import Settings
from dicomnode.jobs.watch import Watch
from dicomnode.tracking import instances
from dicomnode.tracking.database import Database
from dicomnode.tracking.spool import Spool
from tests.unit.tracking.rows import START, instance


@pytest.fixture
def watch(tmp_path: Path) -> Iterator[Watch]:
    quiet = {"quiet_seconds": 0.001, "shortest_quiet_seconds": 0.001}
    settings = Settings.model_validate(
        {"node": {"data_folder": tmp_path}, "completeness": quiet, "database": {}}
    )
    database = Database(f"sqlite:///{tmp_path}/tracking.sqlite")
    database.migrate()
    yield Watch(settings, database, Spool(tmp_path / "spool"), Mock())
    database.close()


def test_after_the_clock_was_set_back_it_says_so_once_and_goes_on(
    watch: Watch, caplog: pytest.LogCaptureFixture
) -> None:
    in_an_hour = datetime.now(UTC) + timedelta(hours=1) - START
    with watch.database.begin() as connection:
        instances.add(connection, [instance(1, in_an_hour.total_seconds())])
    with caplog.at_level(logging.WARNING, "dicomnode.jobs"):
        made = sum(watch.enqueue_complete_series() for _ in range(20))
    assert made == 1
    assert [r.message for r in caplog.records if "clock" in r.message] == [
        "the clock was set back: times in the future are taken for now"
    ]
