"""A node on which series were received, examined and sent, without a worker.

Use its fixtures with `from tests.examined_site import *  # noqa: F403`.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from dicomnode.config import DatabaseSettings, Settings
from dicomnode.domain import DeliveryState, Examination, Revision
from dicomnode.intake.running import running_intake
from dicomnode.jobs import lanes
from dicomnode.jobs.retention import Retention
from dicomnode.tracking import deliveries, examinations, series
from dicomnode.tracking.database import Database
from dicomnode.tracking.facts import unrevised
from dicomnode.tracking.findings import verdicts_of_study
from dicomnode.tracking.spool import Spool
from tests import small_node
from tests.unit.tracking.rows import examined

__all__ = ["empty_database", "site"]

PACS = {"name": "pacs", "ae_title": "PACS", "host": "127.0.0.1", "port": 104}


class Site:
    """A node that sends masks to one PACS, and removes what is done with at once."""

    def __init__(self, settings: Settings, database: Database) -> None:
        self.settings, self.database = settings, database
        self.spool = Spool(settings.spool_folder)
        self.spool.prepare()

    def keeper(self, **retention_values: Any) -> Retention:
        values = {"remove": "always", "days": 0.0} | retention_values
        changed = self.settings.retention.model_copy(update=values)
        settings = self.settings.model_copy(update={"retention": changed})
        return Retention(settings, self.database, self.spool)

    def series(
        self,
        name: str,
        found: Callable[[Revision], Examination] = examined,
        state: DeliveryState = DeliveryState.DELIVERED,
        slices: int = 3,
    ) -> str:
        """Received, examined and sent a minute ago; its Study Instance UID."""
        small_node.put_series(self.settings, self.database, name, slices)
        return self.examine(name, found, state)

    def examine(
        self,
        name: str,
        found: Callable[[Revision], Examination] = examined,
        state: DeliveryState = DeliveryState.DELIVERED,
    ) -> str:
        """What was received and has not been examined."""
        ago = datetime.now(UTC) - timedelta(minutes=1)
        with self.database.begin() as c:
            (series_id,) = self._unexamined(c)
            revision = series.add_revision(c, series_id, self.spool, ago)
            assert revision is not None
            examination = self._written(found(revision), name)
            key = examinations.record(c, revision.id, examination, ago)
            for delivery in deliveries.add(c, key, "pacs", ago):
                if state is DeliveryState.DELIVERED:
                    deliveries.mark_delivered(c, delivery, ago)
                elif state is DeliveryState.STORED:
                    deliveries.mark_stored(c, delivery, ago)
                elif state is DeliveryState.REFUSED:
                    deliveries.mark_refused(c, delivery, "no", ago)
        return revision.study_instance_uid

    def take_in(self, files: Sequence[Path], *, is_open: bool = False) -> None:
        """As a receiver does, over an association that ends, or is open still."""
        database = {"database": DatabaseSettings(url=str(self.database.url))}
        with running_intake(self.settings.model_copy(update=database)) as intake:
            peer = intake.opened(calling_ae_title="A", called_ae_title="B", address="192.0.2.1")
            for file in files:
                intake.store_file(peer, file.read_bytes())
            if not is_open:
                intake.closed(peer, "released")

    def _written(self, examination: Examination, name: str) -> Examination:
        """With files of its own for its SEGs and pictures."""
        folder, volumes = self.settings.results_folder, []
        folder.mkdir(parents=True, exist_ok=True)
        for number, one in enumerate(examination.volumes):
            mask, view = folder / f"{name}-{number}.dcm", folder / f"{name}-{number}.png"
            mask.write_bytes(b"mask")
            view.write_bytes(b"face")
            assert one.segmentation is not None
            uids = (f"2.25.{abs(hash((name, number)))}", f"2.25.{abs(hash(name))}")
            seg = replace(
                one.segmentation, path=mask, sop_instance_uid=uids[0], series_instance_uid=uids[1]
            )
            pictures = tuple(replace(each, path=view) for each in one.pictures)
            volumes.append(replace(one, segmentation=seg, pictures=pictures))
        return replace(examination, volumes=tuple(volumes))

    def _unexamined(self, c: Any) -> list[int]:
        return [facts.series_id for facts in unrevised(c, datetime.now(UTC))]

    def files(self) -> int:
        return sum(len(names) for names in self.spool.names())

    def finding(self, study: str) -> Any:
        with self.database.read() as c:
            (found,) = verdicts_of_study(c, study)
        return found


@pytest.fixture(scope="module")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With all tables, also the engine's, to be copied."""
    path = tmp_path_factory.mktemp("empty") / "tracking.sqlite"
    made = Database(f"sqlite:///{path}")
    made.migrate()
    lanes.migrate(made)
    made.close()
    return path


@pytest.fixture
def site(
    make_settings: Callable[..., Settings], tmp_path: Path, empty_database: Path
) -> Iterator[Site]:
    copy = shutil.copyfile(empty_database, tmp_path / "tracking.sqlite")
    opened = Database(f"sqlite:///{copy}")
    yield Site(make_settings(destinations=[PACS]), opened)
    opened.close()
