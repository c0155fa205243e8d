"""What `dicomnode examine` does with folders in which something is wrong."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from dicomnode.app import batch
from dicomnode.app.batch import Tally, examine_all, find
from dicomnode.config import Settings
from dicomnode.domain import (
    Examination,
    ExaminedVolume,
    ModelIdentity,
    Refusal,
    RefusalCode,
    SegmentKind,
    SetAside,
)
from tests.factories import make_series
from tests.small_node import EVIDENCE, VERDICT


class PatientError(Exception):
    """As other libraries' errors: its message quotes a header."""


class Network:
    """Finds nothing; with `broken`, fails as no caller foresees."""

    identity = ModelIdentity(SegmentKind.FOREGROUND, "nothing", "1", "0" * 64)
    modalities: tuple[str, ...] = ("CT", "MR")
    falls: tuple[str, ...] = ()

    def __init__(self, broken: bool = False) -> None:
        self._broken = broken

    def segment(self, array: Any, spacing_mm: tuple[float, float, float]) -> Any:
        if self._broken:
            raise PatientError("^".join(("Doe", "Jane")))
        return np.zeros(array.shape, np.uint8)


def run(source: Path, out: Path, *networks: Network) -> tuple[list[dict[str, Any]], Tally]:
    lines: list[dict[str, Any]] = []
    tally = examine_all(find([source]), networks, Settings(), out, lines.extend)
    return lines, tally


def save_nifti(path: Path, noise: float = 10.0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    volume = np.random.default_rng(1).normal(100, noise, (20, 24, 28)).astype(np.float32)
    nib.save(nib.Nifti1Image(volume, np.diag([3.0, 3.0, 3.0, 1.0])), path)
    return path


@pytest.mark.parametrize("noise", [0.0, 10.0], ids=["broken codes", "wrong check sum"])
def test_a_corrupt_nifti_file_is_one_line_and_the_rest_goes_on(
    tmp_path: Path, noise: float
) -> None:
    broken = save_nifti(tmp_path / "in" / "a.nii.gz", noise)
    content = bytearray(broken.read_bytes())
    content[len(content) // 2 :] = b"\xff" * (len(content) - len(content) // 2)
    broken.write_bytes(content)
    save_nifti(tmp_path / "in" / "b.nii.gz")
    lines, tally = run(tmp_path / "in", tmp_path / "out", Network())
    assert (tally.examined, tally.refused) == (1, 1)
    assert lines[0]["refusal"]["code"] == "UNREADABLE_OBJECT"


def test_a_file_that_is_named_itself_is_examined_and_nothing_fails(tmp_path: Path) -> None:
    file = save_nifti(tmp_path / "b.nii.gz")
    lines, tally = run(file, tmp_path / "out", Network())
    assert (tally.examined, tally.failed, len(lines)) == (1, 0, 1)


def test_an_error_nobody_foresaw_is_one_line_without_its_message(tmp_path: Path) -> None:
    make_series(tmp_path / "in" / "a", series="one", slices=8)
    make_series(tmp_path / "in" / "b", series="two", slices=8)
    lines, tally = run(tmp_path / "in", tmp_path / "out", Network(broken=True))
    assert tally.failed == len(lines) == 2
    for line in lines:
        assert line["error"].startswith("PatientError; see the log at DEBUG")
        assert "Doe" not in str(line)


def test_the_log_says_where_but_not_what(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    make_series(tmp_path / "in", slices=8)
    with caplog.at_level("DEBUG", "dicomnode.batch"):
        run(tmp_path / "in", tmp_path / "out", Network(broken=True))
    (record,) = caplog.records
    assert "in segment" in str(vars(record)["where"])
    assert "Doe^Jane" not in str(vars(record))


@pytest.fixture
def as_nobody() -> Iterator[Callable[[], None]]:
    """Root may read everything: give that up until the test ends."""
    before = os.geteuid()
    yield lambda: os.seteuid(65534) if before == 0 else None
    os.seteuid(before)


def test_a_folder_that_cannot_be_listed_is_a_failed_line(as_nobody: Callable[[], None]) -> None:
    with tempfile.TemporaryDirectory() as name:
        source = Path(name)
        source.chmod(0o755)
        make_series(source / "good", slices=8)
        (source / "locked").mkdir(mode=0o000)
        as_nobody()
        found = find([source])
        os.seteuid(os.getuid())
    assert len(found.revisions) == 1
    assert found.unreadable == ((source / "locked", "folder not searched: Permission denied"),)


def test_a_link_to_nothing_is_a_failed_line_and_a_pipe_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "image.dcm").symlink_to(tmp_path / "gone.dcm")
    os.mkfifo(tmp_path / "pipe")
    found = find([tmp_path])
    assert [path.name for path, _ in found.unreadable] == ["image.dcm"]
    assert "No such file" in found.unreadable[0][1]


def test_each_volume_of_a_series_is_a_line(tmp_path: Path) -> None:
    for echo, milliseconds in ((1, 5.0), (2, 9.0)):
        make_series(
            tmp_path / "in" / str(echo),
            slices=8,
            change=lambda index, ds, echo=echo, ms=milliseconds: _of_echo(ds, index, echo, ms),
        )
    lines, tally = run(tmp_path / "in", tmp_path / "out", Network())
    assert (tally.examined, tally.refused, tally.failed) == (2, 0, 0)
    assert tally.complete
    assert len({line["volume"] for line in lines} - {""}) == 2
    assert {line["series_instance_uid"] for line in lines} == {lines[0]["series_instance_uid"]}
    assert [(line["instances"], line["images"], line["refusal"]) for line in lines] == [
        (16, 8, None)
    ] * 2


def _of_echo(ds: Any, index: int, echo: int, milliseconds: float) -> None:
    ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = f"2.25.{echo}{index}"
    ds.EchoNumbers, ds.EchoTime = echo, milliseconds


def test_what_was_set_aside_is_a_line_beside_the_volume_and_no_success() -> None:
    examined = ExaminedVolume("", 8, EVIDENCE, VERDICT)
    localizer = SetAside(Refusal(RefusalCode.LOCALIZER, "a localizer", "ImageType", ("L",)), 3)
    lines, tally = report_of(Examination("d", (examined,), (localizer,), "1"))
    assert (tally.examined, tally.refused, tally.complete) == (1, 1, False)
    volume, refused = lines
    assert set(volume) == set(refused)
    assert (volume["verdict"]["kind"], volume["images"], volume["refusal"]) == ("DEFACED", 8, None)
    assert (refused["verdict"], refused["evidence"], refused["images"]) == (None, None, 3)
    assert refused["refusal"]["code"] == "LOCALIZER"
    assert refused["refusal"]["values"] == ["L"]


def test_the_only_volume_of_a_series_has_the_keys_that_programs_read() -> None:
    (line,), tally = report_of(Examination("d", (ExaminedVolume("", 8, EVIDENCE, VERDICT),)))
    assert tally.complete
    assert set(line) == {
        "series",
        "volume",
        "images",
        "revision_digest",
        "evidence",
        "verdict",
        "refusal",
        "segmentation",
        "pictures",
        "software_version",
        "examiner_digest",
    }


def report_of(examination: Examination) -> tuple[list[dict[str, Any]], Tally]:
    lines: list[dict[str, Any]] = []
    tally = Tally()
    batch._one({"series": "1.2.3"}, lambda: examination, tally, lines.extend)
    return lines, tally
