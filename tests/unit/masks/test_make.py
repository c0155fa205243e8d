"""Masks on the image's own grid, kept when finished, told when impossible."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import SimpleITK

from dicomnode.masks.batch import plan, write_results
from dicomnode.masks.files import RECORD_SUFFIX, atomically
from dicomnode.masks.find import find
from dicomnode.masks.make import Job, Outcome, make
from tests.factories import make_series
from tests.unit.masks.sets import AFFINE, NETWORKS, array, save

NOT_FETCHED = "the file is not there; if it is a link, its data were not fetched"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "set").mkdir()
    return tmp_path / "set"


@pytest.fixture
def job(tmp_path: Path) -> Job:
    return Job(tmp_path / "out", "networks 1")


def _all(folder: Path, job: Job) -> dict[str, Outcome]:
    return {item.name: make(item, NETWORKS, job) for item in find(folder).items}


@pytest.mark.parametrize("name", ["a.nii.gz", "a.nii"])
def test_masks_lie_on_the_grid_of_a_nifti_file(folder: Path, job: Job, name: str) -> None:
    save(folder / name)
    outcome = _all(folder, job)[name]
    assert outcome.status == "made"
    (made,) = outcome.volumes
    assert made.image == ""
    voxel_ml = 2 * 2 * 3 / 1000
    for mask_path, above, ml in (
        (made.anatomy_mask, 50, made.anatomy_ml),
        (made.anonymization_mask, 200, made.anonymised_ml),
    ):
        mask = nib.load(job.out / mask_path)
        expected = array() > above
        assert mask.get_data_dtype() == np.uint8
        assert np.array_equal(np.asarray(mask.dataobj), expected)
        assert np.allclose(mask.affine, AFFINE)
        assert ml == pytest.approx(expected.sum() * voxel_ml, abs=0.01)


def test_masks_lie_on_the_grid_of_a_nrrd_file(folder: Path, job: Job, tmp_path: Path) -> None:
    SimpleITK.WriteImage(
        SimpleITK.ReadImage(str(save(tmp_path / "a.nii.gz"))), str(folder / "b.nrrd")
    )
    (made,) = _all(folder, job)["b.nrrd"].volumes
    paths = (folder / "b.nrrd", job.out / made.anatomy_mask)
    image, mask = (SimpleITK.ReadImage(str(path)) for path in paths)
    assert made.image == ""
    expected = SimpleITK.GetArrayFromImage(image) > 50
    assert np.array_equal(SimpleITK.GetArrayFromImage(mask), expected)
    assert np.allclose(mask.GetDirection(), image.GetDirection())
    assert np.allclose(mask.GetOrigin(), image.GetOrigin())


def test_what_nnssl_cant_read_becomes_nifti(folder: Path, job: Job, tmp_path: Path) -> None:
    SimpleITK.WriteImage(
        SimpleITK.ReadImage(str(save(tmp_path / "a.nii.gz"))), str(folder / "b.mha")
    )
    (made,) = _all(folder, job)["b.mha"].volumes
    assert made.image == "b_mha__image.nii.gz"
    assert made.name == "b.nii.gz"
    image, mask = nib.load(job.out / made.image), nib.load(job.out / made.anatomy_mask)
    assert np.array_equal(np.asarray(mask.dataobj), np.asarray(image.dataobj) > 50)
    place = np.linalg.inv(image.affine) @ AFFINE @ (1, 2, 3, 1)
    assert image.dataobj[tuple(np.rint(place[:3]).astype(int))] == array()[1, 2, 3]


def test_a_dicom_series_becomes_nifti_and_names_nobody(folder: Path, job: Job) -> None:
    make_series(folder / "MUSTER^ANNA")
    (item,) = find(folder).items
    outcome = make(item, NETWORKS, job)
    assert outcome.status == "made"
    (made,) = outcome.volumes
    image, mask = nib.load(job.out / made.image), nib.load(job.out / made.anatomy_mask)
    assert image.shape == mask.shape
    assert np.allclose(image.affine, mask.affine)
    assert made.name.startswith("series-")
    write_results("Dataset001_a", folder, find(folder), [outcome], (), job)
    assert not any("MUSTER" in str(path.relative_to(job.out)) for path in job.out.rglob("*"))
    texts = [*job.out.rglob("*.json"), *job.out.rglob("*.csv")]
    assert not any("MUSTER" in path.read_text() for path in texts)


def _listed(out: Path) -> list[dict[str, Any]]:
    """The images of nnssl's file."""
    document = json.loads((out / "pretrain_data.json").read_text())
    return [
        image
        for dataset in document["datasets"].values()
        for subject in dataset["subjects"].values()
        for session in subject["sessions"].values()
        for image in session["images"]
    ]


def test_an_output_folder_that_was_moved_names_its_own_files(
    folder: Path, job: Job, tmp_path: Path
) -> None:
    """Also where the original is still there: masks of the copy are those that nnssl has to see."""
    save(folder / "a.nii.gz")
    make_series(folder / "dicom")
    _all(folder, job)
    copy = shutil.copytree(job.out, tmp_path / "elsewhere")
    moved = Job(copy, job.examiner)
    found = find(folder)
    planned = plan(found, moved)
    assert not planned.todo
    write_results("Dataset001_a", folder, found, planned.done, (), moved)
    series, file = sorted(_listed(copy), key=lambda image: str(image["name"]) == "a.nii.gz")
    assert file["image_path"] == str(folder / "a.nii.gz")
    masks = [*series["associated_masks"].values(), *file["associated_masks"].values()]
    for path in (series["image_path"], *masks):
        assert Path(path).is_file()
        assert Path(path).is_relative_to(copy)
    assert not any(str(job.out) in path.read_text() for path in copy.rglob("*.json"))


def _refused(folder: Path) -> None:
    save(folder / "fourd.nii.gz", np.zeros((8, 8, 8, 3), np.int16))
    save(folder / "rgb.nii.gz", np.zeros((8, 8, 8), [("R", "u1"), ("G", "u1"), ("B", "u1")]))
    save(folder / "tiny.nii.gz", np.zeros((8, 8, 2), np.int16))
    (folder / "broken.nii.gz").write_bytes(b"nothing")
    whole = save(folder / "cut.nii.gz").read_bytes()
    (folder / "cut.nii.gz").write_bytes(whole[: len(whole) // 2])
    (folder / "gone.nii.gz").symlink_to(folder / "nowhere")


def test_what_is_no_volume_is_skipped_with_its_reason(folder: Path, job: Job) -> None:
    _refused(folder)
    found = {name: (o.status, o.reasons[0].split(":")[0]) for name, o in _all(folder, job).items()}
    assert found == {
        "fourd.nii.gz": ("skipped", "NOT_VOLUMETRIC"),
        "rgb.nii.gz": ("skipped", "NOT_MONOCHROME"),
        "tiny.nii.gz": ("skipped", "TOO_FEW_SLICES"),
        "broken.nii.gz": ("skipped", "UNREADABLE_OBJECT"),
        "cut.nii.gz": ("skipped", "UNREADABLE_OBJECT"),
        "gone.nii.gz": (
            "failed",
            "the file is not there; if it is a link, its data were not fetched",
        ),
    }
    assert not list(job.out.rglob("*.nii.gz"))


def test_finished_masks_are_kept_until_networks_or_image_change(folder: Path, job: Job) -> None:
    path = save(folder / "a.nii.gz")
    first = _all(folder, job)["a.nii.gz"]
    planned = plan(find(folder), job)
    assert (planned.todo, planned.done[0].status) == ((), "kept")
    assert planned.done[0].volumes == first.volumes
    assert plan(find(folder), Job(job.out, "networks 2")).todo
    save(path, array() + 1)
    path.touch()
    assert plan(find(folder), job).todo


@pytest.mark.parametrize("lost", ["__anatomy_mask.nii.gz", RECORD_SUFFIX])
def test_masks_that_are_not_complete_are_made_again(folder: Path, job: Job, lost: str) -> None:
    save(folder / "a.nii.gz")
    _all(folder, job)
    (job.out / f"a{lost}").unlink()
    assert plan(find(folder), job).todo


def test_a_torn_record_is_none(folder: Path, job: Job) -> None:
    save(folder / "a.nii.gz")
    _all(folder, job)
    record = job.out / f"a{RECORD_SUFFIX}"
    record.write_text(record.read_text()[:-20])
    assert plan(find(folder), job).todo


def test_a_write_that_fails_leaves_nothing(tmp_path: Path) -> None:
    def fails(part: Path) -> None:
        part.write_text("half")
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        atomically(tmp_path / "a.txt", fails)
    assert list(tmp_path.iterdir()) == []


def test_the_report_names_every_input_and_nnssls_file_the_images(folder: Path, job: Job) -> None:
    _refused(folder)
    save(folder / "sub-1_T1w.nii.gz")
    save(folder / "sub-1_dseg.nii.gz")
    found = find(folder)
    outcomes = [make(item, NETWORKS, job) for item in found.items]
    write_results("Dataset001_a", folder, found, outcomes, (), job)
    with (job.out / "report.csv").open(newline="") as file:
        rows = {row["source"]: row for row in csv.DictReader(file)}
    assert len(rows) == 8
    assert rows["sub-1_T1w.nii.gz"]["status"] == "made"
    assert "label map" in rows["sub-1_dseg.nii.gz"]["reasons"]
    report = json.loads((job.out / "report.json").read_text())
    assert report["counts"] == {"made": 1, "kept": 0, "skipped": 6, "failed": 1}
    (image,) = _listed(job.out)
    assert (image["name"], image["modality"]) == ("sub-1_T1w.nii.gz", "T1w")


def test_the_source_folder_is_left_alone(folder: Path, job: Job) -> None:
    save(folder / "a.nii.gz")
    before = sorted(folder.rglob("*"))
    _all(folder, job)
    assert sorted(folder.rglob("*")) == before
