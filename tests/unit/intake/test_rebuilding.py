"""The thread that adds missing rows."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest
import sqlalchemy as sa

from dicomnode.dicom.file_format import data_set_offset, read_received
from dicomnode.intake import running
from dicomnode.tracking.database import Database
from dicomnode.tracking.schema import instances
from dicomnode.tracking.spool import Spool
from tests.factories import make_series


def test_it_goes_on_after_whatever_went_wrong(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(running, "_SETTLE_SECONDS", 0.05)
    database = Database(f"sqlite:///{tmp_path}/tracking.sqlite")
    database.migrate()
    spool = Spool(tmp_path / "spool")  # its folder isn't there: an OSError
    with running.keeping_rows(database, spool, set(), is_receiver=True):
        wait_for(lambda: "can't be rebuilt now" in caplog.text)
        uid = filled_spool(tmp_path / "elsewhere", tmp_path / "made")
        (tmp_path / "elsewhere").rename(tmp_path / "spool")
        wait_for(lambda: rows(database) == [uid])
    database.close()


def filled_spool(folder: Path, made: Path) -> str:
    """A spool with one object, whose SOP Instance UID is returned."""
    spool = Spool(folder)
    spool.prepare()
    (image,) = make_series(made, slices=1)
    whole = image.read_bytes()
    offset = data_set_offset(whole)
    uid = read_received("", image).header.sop_instance_uid
    spool.store(uid, whole[:offset], whole[offset:])
    return uid


def rows(database: Database) -> list[str]:
    with database.read() as connection:
        return list(connection.scalars(sa.select(instances.c.sop_instance_uid)))


def wait_for(done: Callable[[], bool], seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)
