"""A drawn head with a face goes in; what comes out is proven faceless by the starter networks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import numpy.typing as npt
import pydicom
import pytest

from dicomnode.app.drawn_series import DrawnSeries, write_series
from dicomnode.training.drawn import draw_head
from dicomnode.training.read import write_nifti
from tests.command_line import dicomnode

SERIES = DrawnSeries("intact", "CT-like head", "CT", False, 9001)


@pytest.fixture(scope="module")
def head(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("head")
    write_series(SERIES, folder)
    return folder


@pytest.fixture(scope="module")
def defaced(head: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """The copy of the head, de-identified, and its line of the report."""
    out = tmp_path_factory.mktemp("out")
    key = out / "key"
    key.write_text("a long random text for this project of tests")
    key.chmod(0o600)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DICOMNODE_DEIDENTIFICATION__KEY_FILE", str(key))
        done = dicomnode("deface", str(head), "--deidentify", "--out", str(out))
    assert done.returncode == 0, done.stderr
    (line,) = map(json.loads, done.stdout.splitlines())
    return Path(line["folder"]), line


def objects(folder: Path) -> list[pydicom.FileDataset]:
    found = [pydicom.dcmread(path) for path in sorted(folder.glob("*.dcm"))]
    return sorted(found, key=lambda ds: float(ds.ImagePositionPatient[2]))


def test_the_proof_is_given_by_those_who_had_no_part_in_it(
    defaced: tuple[Path, dict[str, Any]],
) -> None:
    folder, line = defaced
    proof = line["proof"]
    assert line["state"] == folder.parent.name == "defaced"
    assert proof["verdict"]["kind"] == "DEFACED"
    assert proof["objections"] == []
    assert proof["dice"] > 0.8
    assert line["exposed_face_before_ml"] > 35 > 8 > line["exposed_face_after_ml"]


def test_brain_and_all_that_is_no_face_are_as_they_were(
    head: Path, defaced: tuple[Path, dict[str, Any]]
) -> None:
    folder, line = defaced
    assert line["proof"]["brain_voxels_changed"] == line["proof"]["other_voxels_changed"] == 0
    before = np.stack([ds.pixel_array for ds in objects(head)])
    after = np.stack([ds.pixel_array for ds in objects(folder)])
    changed = before != after
    # The upper half of the head, and all that lies behind its middle.
    assert not changed[before.shape[0] * 3 // 4 :].any()
    assert not changed[:, before.shape[1] * 2 // 3 :, :].any()
    assert changed.any()


def test_the_copy_says_what_was_done_and_names_nobody(
    defaced: tuple[Path, dict[str, Any]],
) -> None:
    folder, line = defaced
    for ds in objects(folder):
        assert ds.RecognizableVisualFeatures == "NO"
        assert ds.PatientIdentityRemoved == "YES"
        codes = {item.CodeValue for item in ds.DeidentificationMethodCodeSequence}
        assert {"113100", "113102", "113107"} <= codes
        assert "DRAWN" not in str(ds)
        assert str(ds.DerivationDescription).startswith("Face removed by dicomnode")
        assert "Face removed" in str(ds.ContributingEquipmentSequence[-1])
        assert ds.StudyInstanceUID != line["study_instance_uid"]
        assert ds.file_meta.MediaStorageSOPInstanceUID == ds.SOPInstanceUID


def test_before_and_after_can_be_looked_at(defaced: tuple[Path, dict[str, Any]]) -> None:
    folder, _ = defaced
    for name in ("overview-before.png", "overview-after.png"):
        assert (folder / name).read_bytes().startswith(b"\x89PNG")


def test_a_head_whose_pixels_hold_text_is_not_defaced(head: Path, tmp_path: Path) -> None:
    for path in head.glob("*.dcm"):
        ds = pydicom.dcmread(path)
        ds.BurnedInAnnotation = "YES"
        ds.save_as(tmp_path / path.name)
    out = tmp_path / "out"
    done = dicomnode("deface", str(tmp_path), "--out", str(out))
    assert done.returncode == 1
    assert "burned into" in json.loads(done.stdout)["error"]
    assert not list(out.glob("defaced/*"))


def test_a_nifti_file_differs_in_the_face_alone(tmp_path: Path) -> None:
    file, out = tmp_path / "sub-01_ct.nii.gz", tmp_path / "out"
    head = draw_head(9001, "CT", spacing_mm=3.0)
    write_nifti(file, np.rint(head.array).astype(np.int16), head.affine)
    done = dicomnode("deface", str(file), "--out", str(out))
    assert done.returncode == 0, done.stderr
    line = json.loads(done.stdout)
    assert (line["path"], line["state"], line["proof"]["objections"]) == (str(file), "defaced", [])
    before, after = nib.load(file), nib.load(Path(line["folder"]) / file.name)
    assert after.header.binaryblock == before.header.binaryblock
    # Axes toward right, front and head.
    changed = values(before) != values(after)
    assert 0 < changed.mean() < 0.3
    assert not changed[:, : changed.shape[1] // 3].any()
    assert not changed[:, :, changed.shape[2] * 3 // 4 :].any()


def values(image: nib.Nifti1Image) -> npt.NDArray[np.float64]:
    return np.asarray(nib.as_closest_canonical(image).dataobj)
