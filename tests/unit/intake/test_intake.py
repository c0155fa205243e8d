"""What the durable path makes of objects that it has seen before."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import sqlalchemy as sa

from dicomnode.config import Settings
from dicomnode.dicom.file_format import read_received
from dicomnode.domain import StoredInstance
from dicomnode.errors import OutOfSpaceError
from dicomnode.intake.received import received_from_file
from dicomnode.intake.running import running_intake
from dicomnode.intake.undigested import UndigestedInstance
from dicomnode.tracking.database import Database
from dicomnode.tracking.findings import findings
from dicomnode.tracking.indexer import Indexer
from dicomnode.tracking.schema import instances, quarantine, series
from dicomnode.tracking.spool import Spool
from tests.factories import make_series


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings.model_validate(
        {"node": {"data_folder": tmp_path / "data"}, "scp": {"minimum_free_bytes": 0}}
    )


def take_in(settings: Settings, files: list[Path], sender: str) -> None:
    with running_intake(settings) as intake:
        peer = intake.opened(calling_ae_title=sender, called_ae_title="B", address="192.0.2.1")
        for file in files:
            intake.store_file(peer, file.read_bytes())
        intake.closed(peer, "released")


def test_an_object_that_comes_again_gets_the_row_that_it_lacks(
    settings: Settings, tmp_path: Path
) -> None:
    """Its first receiver may have been killed between the file and the row. What is on disk
    stays as the first sender's, so that is what the row describes."""
    files = make_series(tmp_path / "made", slices=3)
    take_in(settings, files, "FIRST")
    database = Database(settings.database_url)
    with database.begin() as connection:
        before = connection.execute(sa.select(instances).order_by(instances.c.name)).all()
        connection.execute(instances.delete())
        connection.execute(series.update().values(instance_count=0))
    take_in(settings, files, "ANOTHERONE")
    with database.read() as connection:
        after = connection.execute(sa.select(instances).order_by(instances.c.name)).all()
        assert connection.scalar(sa.select(series.c.instance_count)) == 3
    kept = ("name", "sop_instance_uid", "size_bytes", "file_sha256", "pixel_sha256", "peer_address")
    assert [[getattr(row, key) for key in kept] for row in after] == [
        [getattr(row, key) for key in kept] for row in before
    ]
    database.close()


@pytest.mark.parametrize("sop_class_uid", ["", "1.2.3"], ids=["good", "refused anyway"])
def test_what_could_not_be_written_holds_its_series_until_it_comes(
    sop_class_uid: str, settings: Settings, tmp_path: Path
) -> None:
    """A sender that doesn't try again would leave a hole that nobody sees."""
    files = make_series(tmp_path / "made", slices=3)
    take_in(settings, files[:2], "PACS")
    full = settings.model_copy(
        update={"scp": settings.scp.model_copy(update={"minimum_free_bytes": 1 << 60})}
    )
    with running_intake(full) as intake:
        peer = intake.opened(calling_ae_title="PACS", called_ae_title="B", address="192.0.2.1")
        received = received_from_file(peer, files[2].read_bytes())
        if sop_class_uid:
            received = replace(received, sop_class_uid=sop_class_uid)
        for _ in range(2):
            with pytest.raises(OutOfSpaceError):
                intake.store(received)
        intake.closed(peer, "released")
    database = Database(settings.database_url)
    assert quarantined(database) == 1
    with database.read() as connection:
        (row,) = connection.execute(sa.select(quarantine)).all()
    assert (row.reason, row.size_bytes) == ("out_of_space", 0)
    take_in(settings, files[2:], "PACS")
    assert quarantined(database) == 0
    database.close()


def quarantined(database: Database) -> int:
    """How many objects hold the only series."""
    with database.read() as connection:
        (found,) = findings(connection, sa.true())
    return found.quarantined


def test_digests_are_the_same_whoever_computes_them(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The thread of the rows, from the file, or the receiving one where that is behind."""
    files = make_series(tmp_path / "made", slices=2)
    take_in(settings, files[:1], "PACS")
    monkeypatch.setattr(Indexer, "is_behind", lambda _: True)
    take_in(settings, files[1:], "PACS")
    database, spool = Database(settings.database_url), Spool(settings.spool_folder)
    with database.read() as connection:
        rows = connection.execute(sa.select(instances)).all()
    database.close()
    assert len(rows) == 2
    for row in rows:
        known = read_received(row.name, spool.path(row.name))
        found = (row.file_sha256, row.pixel_sha256, row.data_set_sha256)
        assert found == (known.file_sha256, known.pixel_sha256, known.data_set_sha256)


def test_a_file_that_has_gone_before_its_digests_gets_no_row(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`forget` may be that quick; the others get theirs."""
    files = make_series(tmp_path / "made", slices=2)
    spool, digested = Spool(settings.spool_folder), UndigestedInstance.digested

    def gone_at_first(self: UndigestedInstance) -> StoredInstance | None:
        if not erased:
            erased.append(self.instance.name)
            spool.erase(self.instance.name)
        return digested(self)

    erased: list[str] = []
    monkeypatch.setattr(UndigestedInstance, "digested", gone_at_first)
    take_in(settings, files, "PACS")
    database = Database(settings.database_url)
    with database.read() as connection:
        names = set(connection.scalars(sa.select(instances.c.name)))
    database.close()
    assert len(names) == 1
    assert names.isdisjoint(erased)
