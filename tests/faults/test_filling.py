"""The first watermark, on a small disk that really fills: people are told, and room is made."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from dicomnode.config import Settings
from dicomnode.tracking import audit
from dicomnode.tracking.database import Database
from tests.examined_site import *  # noqa: F403
from tests.examined_site import PACS, Site
from tests.factories import make_series
from tests.small_disk import Disk, small_disk

KIBIBYTE = 1 << 10


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    with small_disk(tmp_path / "disk", "size=4m") as mounted:
        yield mounted


@pytest.fixture
def full_site(
    disk: Disk, make_settings: Callable[..., Settings], tmp_path: Path, empty_database: Path
) -> Iterator[Site]:
    """Only its database lies elsewhere."""
    copy = shutil.copyfile(empty_database, tmp_path / "tracking.sqlite")
    database = Database(f"sqlite:///{copy}")
    yield Site(make_settings(node={"data_folder": disk.folder}, destinations=[PACS]), database)
    database.close()


def told(site: Site) -> list[str]:
    with site.database.read() as c:
        return [one.event for one in audit.newest(c) if one.event.startswith("disk")]


def test_what_is_done_with_makes_room_and_no_more_than_that(
    full_site: Site, disk: Disk, tmp_path: Path
) -> None:
    """Three series of half a mebibyte are on four; one more makes it too full by less than one."""
    studies = []
    for name in ("first", "second", "third"):
        made = make_series(
            tmp_path / name, slices=4, rows=256, columns=256, study=name, series=name
        )
        full_site.take_in(list(made))
        studies.append(full_site.examine(name))
    keeper = full_site.keeper(remove="when_full", used_percent=60.0)
    assert full_site.spool.used_percent() < 60.0
    assert (keeper.round(), told(full_site)) == (0, [])
    (disk.folder / "ballast").write_bytes(bytes(1024 * KIBIBYTE))
    assert full_site.spool.used_percent() > 60.0
    free_bytes = full_site.spool.free_bytes()
    assert keeper.round() == 1
    gone = [full_site.finding(study).removed_at is not None for study in studies]
    assert gone == [True, False, False]
    assert full_site.spool.free_bytes() - free_bytes > 500 * KIBIBYTE
    assert told(full_site) == ["disk filling"]
    assert (keeper.round(), told(full_site)) == (0, ["disk has room", "disk filling"])


def test_a_disk_without_any_room_left_gives_some_back(
    full_site: Site, disk: Disk, tmp_path: Path
) -> None:
    """What remains of a removed file needs no block more than it had."""
    full_site.take_in(list(make_series(tmp_path / "made", slices=4, rows=256, columns=256)))
    full_site.examine("one")
    with pytest.raises(OSError, match="space"):
        (disk.folder / "ballast").write_bytes(bytes(4096 * KIBIBYTE))
    assert full_site.spool.free_bytes() == 0
    assert full_site.keeper(remove="when_full").round() == 1
    assert full_site.spool.free_bytes() > 400 * KIBIBYTE
