"""One series for a copy without faces: what shows none is copied as it is, the rest is told."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, timedelta
from functools import partial
from pathlib import Path
from tempfile import mkdtemp

import numpy as np
import pydicom
import pytest
from pydicom.uid import RLELossless

from dicomnode.app.batch import find
from dicomnode.config import Settings
from dicomnode.defacing.copy import copy_series
from dicomnode.domain import CopyOrder, CopyWay, Revision, SeriesCopy
from dicomnode.errors import ConfigurationError, DefacingError, RenderingError
from dicomnode.inference import assessment
from dicomnode.training.drawn import draw_head
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


def copy(
    folder: Path, unchanged: Sequence[str], out: Path, settings: Settings | None = None
) -> SeriesCopy:
    """For the project "mine" where there are settings."""
    project = "mine" if settings else ""
    order = CopyOrder(revision(folder), frozenset(unchanged), STUDY, STUDY, out, project)
    return copy_series(order, networks(Memory()), settings or Settings())


def of_project(tmp_path: Path, key: str, **names: object) -> Settings:
    file = tmp_path / key
    file.write_text(key * 40)
    file.chmod(0o600)
    own = {"deidentify": True, "deidentification": {"key_file": file, **names}}
    return Settings(projects={"mine": own})  # type: ignore[dict-item]


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


NAMED = {
    "PatientID": "4711",
    "PatientName": "Doe^Jane",
    "StudyDate": "20240315",
    "SeriesDate": "20240316",
    "SeriesDescription": "Jane's head",
    "InstitutionName": "Charite",
}


def test_a_copy_for_a_project_names_nobody_where_nothing_is_defaced_too(tmp_path: Path) -> None:
    make_series(tmp_path / "in", slices=4, transfer_syntax=RLELossless, change=NAMED)
    made = copy(tmp_path / "in", [""], tmp_path / "out", of_project(tmp_path, "k"))
    (volume,) = made.volumes
    assert volume.way is CopyWay.UNCHANGED
    originals = read(revision(tmp_path / "in").paths)
    for before, after in zip(originals, read(volume.paths), strict=True):
        said = str(after) + after.file_meta.to_json() + str(volume.paths)
        for secret in ("4711", "Doe", "Jane", "Charite", "20240315", *uids_of(before)):
            assert secret not in said, secret
        assert (after.PixelData, after.Modality) == (before.PixelData, before.Modality)
        assert (after.StudyInstanceUID, after.SeriesInstanceUID) == (
            STUDY,
            volume.series_instance_uid,
        )
        assert after.PatientIdentityRemoved == "YES"
        days = date.fromisoformat(after.SeriesDate) - date.fromisoformat(after.StudyDate)
        assert days == timedelta(1)
        assert "Copied as it was" in str(after.ContributingEquipmentSequence[-1])


def test_nor_does_it_where_a_face_was_removed(tmp_path: Path) -> None:
    drawn = draw_head(9001, "CT", spacing_mm=4.0).array
    count, rows, columns = drawn.shape
    shape = {"slices": count, "rows": rows, "columns": columns, "slice_spacing_mm": 4.0}
    make_series(
        tmp_path / "in",
        volume=drawn,
        modality="CT",
        pixel_spacing_mm=(4.0, 4.0),
        change=NAMED,
        **shape,  # type: ignore[arg-type]
    )
    made = copy(tmp_path / "in", [], tmp_path / "out", of_project(tmp_path, "k"))
    (volume,) = made.volumes
    assert volume.proof is not None
    assert volume.proof.is_given
    before, after = read(revision(tmp_path / "in").paths)[0], read(volume.paths)[0]
    for secret in ("4711", "Doe", "Jane", "Charite", "20240315", *uids_of(before)):
        assert secret not in str(after), secret
    assert (after.StudyInstanceUID, after.SeriesInstanceUID) == (STUDY, volume.series_instance_uid)
    assert (after.PatientIdentityRemoved, after.RecognizableVisualFeatures) == ("YES", "NO")
    assert after.SeriesDescription == "defaced"
    assert after.DerivationDescription.startswith("Face removed by dicomnode")


def uids_of(ds: pydicom.FileDataset) -> list[str]:
    return [ds.SOPInstanceUID, ds.SeriesInstanceUID, ds.StudyInstanceUID, ds.FrameOfReferenceUID]


def test_series_of_a_project_have_the_same_names_and_another_key_others(tmp_path: Path) -> None:
    for name in ("one", "two"):
        make_series(tmp_path / name, slices=4, series=name, change=NAMED)

    def first(series: str, settings: Settings) -> pydicom.FileDataset:
        made = copy(tmp_path / series, [""], Path(mkdtemp(dir=tmp_path)), settings)
        return read(made.volumes[0].paths)[0]

    mine = of_project(tmp_path, "k")
    one, again, two = first("one", mine), first("one", mine), first("two", mine)
    assert one == again
    assert (one.PatientID, one.StudyDate) == (two.PatientID, two.StudyDate)
    others = [of_project(tmp_path, "x"), of_project(tmp_path, "k", dates="remove")]
    every = [one, two, *(first("one", settings) for settings in others)]
    assert len({ds.SOPInstanceUID for ds in every}) == len(every)
    assert len({ds.SeriesInstanceUID for ds in every}) == len(every)
    assert every[2].PatientID != one.PatientID
    assert every[3].PatientID == one.PatientID


def test_text_in_pixels_has_no_copy_without_names(tmp_path: Path) -> None:
    make_series(tmp_path / "in", slices=4, change={"BurnedInAnnotation": "YES"})
    made = copy(tmp_path / "in", [""], tmp_path / "out", of_project(tmp_path, "k"))
    assert (made.volumes, len(made.left_out)) == ((), 1)
    assert "burned into these pixels" in made.left_out[0]
    assert copy(tmp_path / "in", [""], tmp_path / "named").volumes


def test_without_its_key_nothing_is_copied_for_a_project(tmp_path: Path) -> None:
    make_series(tmp_path / "in", slices=4)
    settings = of_project(tmp_path, "k")
    (tmp_path / "k").unlink()
    with pytest.raises(ConfigurationError, match=r"projects\.mine\.deidentification\.key_file"):
        copy(tmp_path / "in", [""], tmp_path / "out", settings)
    assert not (tmp_path / "out").exists()


def test_settings_that_are_not_those_of_whoever_asked_copy_nothing(tmp_path: Path) -> None:
    """A worker that began before its configuration was changed must not make copies of the new."""
    make_series(tmp_path / "in", slices=4)
    old, new = (of_project(tmp_path, "k", dates=dates) for dates in ("shift", "remove"))
    way = new.way_of_copies("mine")
    asked = CopyOrder(
        revision(tmp_path / "in"), frozenset([""]), STUDY, STUDY, tmp_path / "out", "mine", way
    )
    with pytest.raises(DefacingError, match="restart the worker"):
        copy_series(asked, networks(Memory()), old)
    assert copy_series(asked, networks(Memory()), new).volumes
