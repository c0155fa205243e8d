"""One series for a copy without faces: what shows none is copied as it is, the rest is told."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.uid import RLELossless

from dicomnode.app.batch import find
from dicomnode.config import Settings
from dicomnode.defacing.copy import copy_series
from dicomnode.domain import CopyOrder, CopyWay, Revision, SeriesCopy
from dicomnode.errors import RenderingError
from dicomnode.inference import assessment
from tests.factories import make_series
from tests.remembering import Memory, networks

STUDY = "2.25.9000"


@pytest.fixture(autouse=True)
def _unpictured(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise RenderingError("nobody looks")

    monkeypatch.setattr(assessment, "render", refuse)


def revision(folder: Path) -> Revision:
    (found,) = find([folder]).revisions
    return found


def copy(folder: Path, unchanged: Sequence[str], out: Path) -> SeriesCopy:
    order = CopyOrder(revision(folder), frozenset(unchanged), STUDY, STUDY, out)
    return copy_series(order, networks(Memory()), Settings())


def read(paths: Sequence[Path]) -> list[pydicom.FileDataset]:
    found = [pydicom.dcmread(path) for path in paths]
    return sorted(found, key=lambda ds: int(ds.InstanceNumber))


def test_what_shows_no_face_keeps_all_but_its_uids(tmp_path: Path) -> None:
    files = make_series(tmp_path / "in", slices=6, transfer_syntax=RLELossless)
    made = copy(tmp_path / "in", [""], tmp_path / "out")
    (volume,) = made.volumes
    assert (volume.way, volume.proof, volume.pictures) == (CopyWay.UNCHANGED, None, ())
    assert (made.left_out, volume.images) == ((), 6)
    for before, after in zip(read(files), read(volume.paths), strict=True):
        assert after.PixelData == before.PixelData
        assert after.file_meta.TransferSyntaxUID == RLELossless
        assert after.file_meta.MediaStorageSOPInstanceUID == after.SOPInstanceUID
        assert (after.StudyInstanceUID, after.SeriesInstanceUID) == (
            STUDY,
            volume.series_instance_uid,
        )
        assert after.FrameOfReferenceUID == before.FrameOfReferenceUID
        assert "Copied as it was" in str(after.ContributingEquipmentSequence[-1])
        for keyword in ("SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID"):
            assert after[keyword].value != before[keyword].value
            del before[keyword], after[keyword]
        del after.ContributingEquipmentSequence
        assert after == before


def test_the_same_order_gives_the_same_objects(tmp_path: Path) -> None:
    make_series(tmp_path / "in", slices=6)
    first, second = (copy(tmp_path / "in", [""], tmp_path / out) for out in ("a", "b"))
    pairs = zip(first.volumes[0].paths, second.volumes[0].paths, strict=True)
    assert all(one.read_bytes() == other.read_bytes() for one, other in pairs)


def _of_echo(number: int, echo: str, index: int, ds: pydicom.FileDataset) -> None:
    ds.EchoTime = echo
    ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = f"2.25.{number}{index}"


def test_a_volume_whose_face_is_not_found_is_left_out_and_told(tmp_path: Path) -> None:
    for number, echo in enumerate(("5", "9"), start=1):
        change = partial(_of_echo, number, echo)
        make_series(tmp_path / "in" / echo, slices=6, series="both", change=change)
    labels = ("EchoTime 5", "EchoTime 9")
    made = copy(tmp_path / "in", labels[:1], tmp_path / "out")
    assert [(one.label, one.way) for one in made.volumes] == [(labels[0], CopyWay.UNCHANGED)]
    (why,) = made.left_out
    assert why.startswith(f"volume {labels[1]}: ")
    assert [path.name for path in sorted((tmp_path / "out").iterdir())] == ["copy.json", "volume-1"]


def test_what_was_made_is_made_again_once_its_files_are_gone(tmp_path: Path) -> None:
    make_series(tmp_path / "in", slices=6)
    made = copy(tmp_path / "in", [""], tmp_path / "out")
    for path in made.volumes[0].paths:
        path.unlink()
    again = copy(tmp_path / "in", [""], tmp_path / "out")
    assert again == made
    assert np.asarray(read(again.volumes[0].paths)[0].pixel_array).any()
