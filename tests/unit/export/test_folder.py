"""Names in a folder are UIDs, files are whole, and two exports don't meet."""

from __future__ import annotations

from pathlib import Path

import pytest

from dicomnode.errors import ExportError
from dicomnode.export.folder import FolderDestination, FolderPlace, alone_in


@pytest.mark.parametrize("uid", ["..", ".", "", "../1.2", "1.2/3", "1.2\0", "a", "1" * 65])
def test_a_uid_that_climbs_is_refused(tmp_path: Path, uid: str) -> None:
    destination = FolderDestination(tmp_path)
    with pytest.raises(ExportError), destination.study(uid, []):
        pass
    with destination.study("1.2", []) as place:
        for series, instance in ((uid, "1.2.3"), ("1.2.3", uid)):
            with pytest.raises(ExportError):
                place.put(series, instance, b"x")
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_what_a_killed_export_left_half_written_is_overwritten(tmp_path: Path) -> None:
    place = FolderPlace(tmp_path / "1.2")
    (tmp_path / "1.2" / "1.2.3").mkdir(parents=True)
    (tmp_path / "1.2" / "1.2.3" / "1.2.3.4.dcm.part").write_bytes(b"half of it, and longer")
    place.put("1.2.3", "1.2.3.4", b"whole")
    files = {path.name: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert files == {"1.2.3.4.dcm": b"whole"}


def test_two_exports_into_one_folder_are_refused(tmp_path: Path) -> None:
    with (
        alone_in(tmp_path / "out"),
        pytest.raises(ExportError, match="another export"),
        alone_in(tmp_path / "out"),
    ):
        pass
    with alone_in(tmp_path / "out") as again:
        assert again.name == str(tmp_path / "out")
