"""Archives that climb, lie or burst are refused before anything is written."""

from __future__ import annotations

import stat
import zipfile
from pathlib import Path

import pytest

from dicomnode.errors import ModelError
from dicomnode.inference import archive
from dicomnode.inference.archive import unpack

PLACE = "Dataset803_x/nnUNetTrainer__nnUNetPlans__3d_fullres"


@pytest.fixture
def into(tmp_path: Path) -> Path:
    folder = tmp_path / "deep" / "into"
    folder.mkdir(parents=True)
    return folder


def _zip(tmp_path: Path, *members: tuple[str | zipfile.ZipInfo, bytes]) -> Path:
    path = tmp_path / "networks.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in ((f"{PLACE}/plans.json", b"{}"), *members):
            file.writestr(name, content)
    return path


def _refused(path: Path, into: Path, match: str) -> None:
    with pytest.raises(ModelError, match=match):
        unpack(path, into, lambda done, total: None)
    assert not list(into.iterdir())
    assert sorted(p.name for p in into.parent.iterdir()) == ["into"]


def test_only_what_a_network_needs_is_unpacked(tmp_path: Path, into: Path) -> None:
    path = _zip(
        tmp_path,
        (f"{PLACE}/fold_all/checkpoint_final.pth", b"weights"),
        (f"{PLACE}/fold_all/progress.png", b"picture"),
        (f"{PLACE}/fold_all/run.py", b"code"),
    )
    unpack(path, into, lambda done, total: None)
    found = {p.relative_to(into / PLACE).as_posix() for p in into.rglob("*") if p.is_file()}
    assert found == {"plans.json", "fold_all/checkpoint_final.pth"}


def test_backslashes_of_windows_are_folders(tmp_path: Path, into: Path) -> None:
    unpack(_zip(tmp_path, ("a\\b\\dataset.json", b"{}")), into, lambda done, total: None)
    assert (into / "a" / "b" / "dataset.json").read_bytes() == b"{}"


@pytest.mark.parametrize(
    "name",
    [
        "../plans.json",
        "a/../../plans.json",
        "a\\..\\..\\plans.json",
        "/etc/plans.json",
        "\\\\server\\share\\plans.json",
        "C:/plans.json",
        "c:plans.json",
        "../harmless.txt",
    ],
)
def test_a_member_that_climbs_is_refused(tmp_path: Path, into: Path, name: str) -> None:
    _refused(_zip(tmp_path, (name, b"{}")), into, "climbs out")


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFIFO, stat.S_IFCHR])
def test_links_and_devices_are_refused(tmp_path: Path, into: Path, kind: int) -> None:
    member = zipfile.ZipInfo(f"{PLACE}/fold_all/checkpoint_final.pth")
    member.create_system, member.external_attr = 3, (kind | 0o777) << 16
    _refused(_zip(tmp_path, (member, b"/etc/passwd")), into, "link or a device")


def test_a_name_that_stands_twice_is_refused(tmp_path: Path, into: Path) -> None:
    with pytest.warns(UserWarning, match="Duplicate"):
        path = _zip(tmp_path, (f"{PLACE}/plans.json", b'{"other": 1}'))
    _refused(path, into, "twice")


def test_an_archive_that_bursts_is_refused(tmp_path: Path, into: Path) -> None:
    bomb = _zip(tmp_path, (f"{PLACE}/fold_all/checkpoint_final.pth", bytes(48 * 2**20)))
    _refused(bomb, into, "no archive of networks does that")


def test_an_archive_beyond_the_limit_or_the_free_space_is_refused(
    tmp_path: Path, into: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = _zip(tmp_path)
    monkeypatch.setattr(archive, "MOST_BYTES", 1)
    _refused(path, into, "unpacks to 2 bytes, more than 1")
    monkeypatch.setattr(archive, "MOST_BYTES", 2**40)
    monkeypatch.setattr(archive, "_FREE_MARGIN_BYTES", 2**60)
    _refused(path, into, "are free")


def test_a_member_longer_than_declared_is_found(tmp_path: Path, into: Path) -> None:
    path = _zip(tmp_path, ("dataset.json", b'"' + b"x" * 5000 + b'"'))
    content = bytearray(path.read_bytes())
    true = (5002).to_bytes(4, "little")
    assert content.count(true) == 2  # local header and table of contents
    path.write_bytes(content.replace(true, (10).to_bytes(4, "little")))
    with pytest.raises(ModelError, match="damaged"):
        unpack(path, into, lambda done, total: None)


@pytest.mark.parametrize(
    ("content", "match"),
    [
        (b"<!DOCTYPE html><html>", "a web page"),
        (b"", "no zip archive"),
        (b"PK\x03\x04 and then nothing", "no zip archive"),
    ],
)
def test_what_is_no_archive_is_told(tmp_path: Path, into: Path, content: bytes, match: str) -> None:
    path = tmp_path / "networks.zip"
    path.write_bytes(content)
    _refused_file(path, into, match)


def _refused_file(path: Path, into: Path, match: str) -> None:
    with pytest.raises(ModelError, match=match):
        unpack(path, into, lambda done, total: None)
    assert not list(into.iterdir())


def test_a_flipped_bit_is_found(tmp_path: Path, into: Path) -> None:
    path = tmp_path / "networks.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as file:
        file.writestr(f"{PLACE}/plans.json", b'{"a": "bbbbbbbb"}')
    path.write_bytes(path.read_bytes().replace(b"bbbbbbbb", b"bbbbcbbb"))
    with pytest.raises(ModelError, match="damaged"):
        unpack(path, into, lambda done, total: None)
