"""Masks on the image's own grid, kept when finished, told when impossible."""

from __future__ import annotations

import csv
import json
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pydicom
import pytest
import SimpleITK

from dicomnode.config import SeriesSettings, Settings, UseSettings
from dicomnode.domain import SegmentKind
from dicomnode.errors import ModelError
from dicomnode.inference.examiner import installed_examiner
from dicomnode.masks.batch import job_of, mask_models, plan, write_results
from dicomnode.masks.files import RECORD_SUFFIX, atomically
from dicomnode.masks.find import find
from dicomnode.masks.make import NO_ANATOMY, Job, Outcome, make
from dicomnode.masks.report import report_text
from tests.factories import make_series
from tests.unit.masks.sets import AFFINE, NETWORKS, Threshold, array, save

FOR_MR = Threshold(SegmentKind.FOREGROUND, 50, "for-mr", "MR")
AREA = Threshold(SegmentKind.ANONYMISED_AREA, 200, "area")


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


@pytest.mark.parametrize(("modality", "name"), [("CT", "for-ct"), ("MR", "for-mr"), ("", "")])
def test_a_network_never_sees_a_modality_that_it_is_not_for(
    folder: Path, job: Job, modality: str, name: str
) -> None:
    networks = [Threshold(SegmentKind.FOREGROUND, 20, "for-ct", "CT"), FOR_MR, AREA]
    use = tuple(UseSettings(kind=SegmentKind.FOREGROUND, network=n) for n in ("for-ct", "for-mr"))
    save(folder / "a.nii.gz")
    (item,) = find(folder).items
    outcome = make(item, networks, replace(job, use=use, modality=modality))
    chosen = [one.name for volume in outcome.volumes for one in volume.networks]
    assert chosen == ([name, AREA.identity.name] if name else [])
    if not name:
        assert "for-ct depends on the modality" in outcome.reasons[0]
        assert "--nifti-modality" in outcome.reasons[0]


def test_each_series_has_its_own_network_and_the_report_says_which(folder: Path, job: Job) -> None:
    heads = UseSettings(kind=SegmentKind.FOREGROUND, network="for-mr", body_parts=("HEAD",))
    rest = UseSettings(kind=SegmentKind.FOREGROUND, network="for-all")
    networks = [Threshold(SegmentKind.FOREGROUND, 20, "for-all"), FOR_MR, AREA]
    for part in ("HEAD", "CHEST", ""):
        make_series(folder / f"mr {part}", series=part, change={"BodyPartExamined": part})
    found, ruled = find(folder), replace(job, use=(heads, rest))
    outcomes = [make(item, networks, ruled) for item in found.items]
    write_results("Dataset001_a", folder, found, outcomes, (), ruled)
    made = {
        pydicom.dcmread(item.paths[0]).BodyPartExamined: (o.status, *o.reasons)
        for item, o in zip(found.items, outcomes, strict=True)
    }
    assert made["HEAD"] == made["CHEST"] == ("made",)
    assert made[""][0] == "skipped"
    assert "for-mr depends on the body part" in made[""][1]
    with (job.out / "report.csv").open(newline="") as file:
        networks_told = {row["networks"] for row in csv.DictReader(file)}
    assert networks_told == {"for-mr 1; area 1", "for-all 1; area 1", ""}
    assert len(_listed(job.out)) == len(list(job.out.rglob("*__image.nii.gz"))) == 2


def _models(folder: Path, *names: str) -> Settings:
    """A node with foreground networks of these names; nothing of them but their cards."""
    kinds = dict.fromkeys(names, "foreground") | {"area": "anonymised_area"}
    entries = [
        {"kind": kind, "name": name, "version": "1", "folder": name, "folds": [], "checkpoint": ""}
        | {"modalities": ["CT", "MR"], "licence": "", "source": "", "sha256": name}
        for name, kind in kinds.items()
    ]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "manifest.json").write_text(json.dumps({"models": entries}))
    return Settings.model_validate({"inference": {"models_folder": str(folder)}})


def _ruled(settings: Settings, *use: dict[str, Any]) -> Settings:
    inference = settings.inference.model_dump() | {"use": use}
    return Settings.model_validate({"inference": inference})


A, B = ({"kind": "foreground", "network": name} for name in "ab")


@pytest.mark.parametrize("use", [[], [{**A, "network": "c"}]])
def test_what_the_node_refuses_is_refused_with_the_same_sentence(
    tmp_path: Path, use: list[dict[str, Any]]
) -> None:
    settings = _ruled(_models(tmp_path, "a", "b"), *use)
    with pytest.raises(ModelError) as of_the_node:
        installed_examiner(settings)
    with pytest.raises(ModelError, match=re.escape(str(of_the_node.value))):
        mask_models(settings)


def test_a_network_for_each_mask_has_to_be_there(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no network for foreground"):
        mask_models(_models(tmp_path))


def test_other_rules_networks_or_policies_are_another_examiner(tmp_path: Path) -> None:
    plain = _models(tmp_path, "a", "b")
    every = [
        _ruled(plain, A),
        _ruled(plain, B),
        _ruled(plain, A, B),
        _ruled(plain, B, A),
        _ruled(plain, A | {"modalities": ["CT"]}, B),
        _ruled(plain, A).model_copy(update={"series": SeriesSettings(volumes="first")}),
    ]
    digests = [job_of(tmp_path, mask_models(each), each).examiner for each in every]
    digests.append(job_of(tmp_path, mask_models(every[0]), every[0], "MR").examiner)
    assert len(set(digests)) == len(digests)


def test_masks_that_were_half_replaced_are_not_kept(
    folder: Path, job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the networks of before neither: one of the two is of the new ones."""
    save(folder / "a.nii.gz")
    _all(folder, job)

    def fails(path: Path, write: Callable[[Path], object]) -> None:
        if "anonymization" in path.name:
            raise OSError(28, "No space left on device")
        atomically(path, write)

    monkeypatch.setattr("dicomnode.masks.make.atomically", fails)
    assert _all(folder, replace(job, examiner="networks 2"))["a.nii.gz"].status == "failed"
    assert plan(find(folder), job).todo


@pytest.mark.parametrize("value", [0, 700.0, np.nan, np.inf])
def test_an_image_of_one_value_is_skipped_with_the_reason(
    folder: Path, job: Job, value: float
) -> None:
    save(folder / "a.nii.gz", np.full((9, 10, 11), value, np.float32))
    outcome = _all(folder, job)["a.nii.gz"]
    assert outcome.status == "skipped"
    assert outcome.reasons[0].startswith("every voxel has the same value")
    assert ("100.0% of the voxels are no numbers" in outcome.reasons[0]) is not np.isfinite(value)
    assert not job.out.exists()


def test_a_dicom_series_of_one_value_leaves_nothing(folder: Path, job: Job) -> None:
    make_series(folder, volume=np.full((12, 32, 32), 5))
    (outcome,) = _all(folder, job).values()
    assert (outcome.status, outcome.reasons) == ("skipped", ("every voxel has the same value",))
    assert not job.out.exists()


def test_an_image_without_anatomy_is_told_and_kept_from_nnssl(folder: Path, job: Job) -> None:
    save(folder / "air.nii.gz", array() % 40)
    save(folder / "head.nii.gz")
    found = find(folder)
    outcomes = [make(item, NETWORKS, job) for item in found.items]
    lines = write_results("Dataset001_a", folder, found, outcomes, (), job)
    assert [image["name"] for image in _listed(job.out)] == ["head.nii.gz"]
    with (job.out / "report.csv").open(newline="") as file:
        warnings = {row["source"]: row["warnings"] for row in csv.DictReader(file)}
    assert warnings == {"air.nii.gz": NO_ANATOMY, "head.nii.gz": ""}
    assert f"  1 x {NO_ANATOMY}" in list(report_text(lines))
    assert [one.status for one in plan(found, job).done] == ["kept", "kept"]


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
    assert rows["sub-1_T1w.nii.gz"]["key"] == "sub-1_T1w"
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
