"""The disk fills, has no inode left, is read-only or gone while objects come: nothing is lost."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from dicomnode.config import Settings
from tests.factories import make_series
from tests.integration.scp.receiving import (
    ECHOSCU,
    Node,
    data_set_bytes,
    needs_dcmtk,
    running,
    storescu,
    wait_until,
)
from tests.ports import free_port
from tests.small_disk import Disk, small_disk

pytestmark = [pytest.mark.peer, needs_dcmtk]

MEBIBYTE = 1 << 20
SUCCESS, LATER, FAILED = "Success", "Refused: OutOfResources", "Unknown Status: 0x110"


@pytest.fixture(scope="module")
def disk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Disk]:
    folder = tmp_path_factory.mktemp("data") / "spool"
    with small_disk(folder, "size=8m,nr_inodes=2000") as mounted:
        yield mounted


@pytest.fixture(scope="module")
def shared_node(disk: Disk, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    """Its spool is the small disk, all else lies beside it."""
    folder = tmp_path_factory.mktemp("node")
    settings = Settings.model_validate(
        {
            "node": {"data_folder": disk.folder.parent},
            "scp": {"port": free_port(), "minimum_free_bytes": MEBIBYTE},
        }
    )
    with running(settings, folder / "node") as node:
        yield node


@pytest.fixture
def node(shared_node: Node) -> Node:
    return shared_node.mark()


@pytest.fixture
def images(tmp_path: Path) -> list[Path]:
    """Twenty slices of 128 KiB."""
    name = tmp_path.name
    return list(make_series(tmp_path, slices=20, rows=256, columns=256, study=name, series=name))


def answers(node: Node, *images: Path) -> list[str]:
    """What storescu was answered; it goes on after a failure."""
    sent = storescu(node, *images, options=("-nh",), timeout_seconds=120)
    return re.findall(r"Received Store Response \((.*?)\)", sent.stderr + sent.stdout)


def assert_kept(node: Node, images: list[Path], told: list[str]) -> None:
    """What was confirmed is there, byte for byte, and nothing else."""
    confirmed = [path for path, answer in zip(images, told, strict=True) if answer == SUCCESS]
    assert {data_set_bytes(path) for path in node.objects()} == set(map(data_set_bytes, confirmed))


def assert_recovers(node: Node, images: list[Path]) -> None:
    """The sender comes again, as it was told: all of it is there, with its rows."""
    assert answers(node, *images) == [SUCCESS] * len(images)
    assert_kept(node, images, [SUCCESS] * len(images))
    wait_until(lambda: set(node.objects()) <= node.rows(), 60)


@pytest.fixture
def _room_again(node: Node) -> Iterator[None]:
    yield
    for path in node.objects():
        path.unlink(missing_ok=True)


@pytest.mark.usefixtures("_room_again")
def test_a_disk_that_fills_is_said_and_nothing_confirmed_is_lost(
    node: Node, disk: Disk, images: list[Path]
) -> None:
    ballast = disk.folder / "ballast"
    ballast.write_bytes(bytes(5 * MEBIBYTE))
    told = answers(node, *images)
    assert set(told) == {SUCCESS, LATER}
    assert_kept(node, images, told)
    ballast.unlink()
    assert_recovers(node, images)


@pytest.mark.usefixtures("_room_again")
def test_below_the_second_watermark_only_who_stores_is_turned_away(
    node: Node, disk: Disk, images: list[Path]
) -> None:
    ballast = disk.folder / "ballast"
    ballast.write_bytes(bytes(8 * MEBIBYTE - MEBIBYTE // 2))
    refused = storescu(node, *images)
    assert refused.returncode != 0
    assert "Temporary Congestion" in refused.stderr + refused.stdout
    wait_until(lambda: node.events("association rejected"))
    echo = [ECHOSCU, "-aec", node.settings.scp.ae_title, *node.address]
    assert subprocess.run(echo, timeout=30, check=False).returncode == 0
    assert node.objects() == []
    ballast.unlink()
    assert_recovers(node, images)


def use_up_inodes(folder: Path) -> list[Path]:
    made = []
    with suppress(OSError):
        for number in range(2000):
            made.append(folder / f"empty{number}")
            made[-1].touch()
    assert len(made) < 2000
    return made


@pytest.mark.usefixtures("_room_again")
def test_without_an_inode_left_nothing_is_half_stored(
    node: Node, disk: Disk, images: list[Path]
) -> None:
    made = use_up_inodes(disk.folder)
    for name in made[:6]:
        name.unlink()
    told = answers(node, *images)
    assert set(told) == {SUCCESS, LATER}
    assert_kept(node, images, told)
    for name in made:
        name.unlink(missing_ok=True)
    assert_recovers(node, images)


@pytest.mark.usefixtures("_room_again")
def test_a_read_only_disk_is_a_failure_until_it_is_writable_again(
    node: Node, disk: Disk, images: list[Path]
) -> None:
    told = answers(node, *images[:5])
    disk.remount("ro")
    told += answers(node, *images[5:])
    disk.remount("rw")
    assert told == [SUCCESS] * 5 + [FAILED] * 15
    assert_kept(node, images, told)
    assert_recovers(node, images)


@pytest.mark.usefixtures("_room_again")
def test_a_mount_that_vanished_is_a_failure_until_it_is_back(
    node: Node, disk: Disk, images: list[Path], tmp_path: Path
) -> None:
    told = answers(node, *images[:5])
    with disk.vanished(tmp_path / "elsewhere"):
        told += answers(node, *images[5:])
        assert list(disk.folder.iterdir()) == []
    assert told == [SUCCESS] * 5 + [FAILED] * 15
    assert_kept(node, images, told)
    assert_recovers(node, images)


def test_spool_and_database_on_one_full_disk_go_on_when_there_is_space(
    make_settings: Callable[..., Settings], tmp_path: Path, images: list[Path]
) -> None:
    with small_disk(tmp_path / "disk", "size=6m") as disk:
        ballast = disk.folder / "ballast"
        ballast.write_bytes(bytes(3 * MEBIBYTE))
        settings = make_settings(node={"data_folder": disk.folder / "data"})
        with running(settings, tmp_path / "node") as node:
            told = answers(node, *images)
            assert set(told) == {SUCCESS, LATER}
            assert_kept(node, images, told)
            ballast.unlink()
            assert_recovers(node, images)
