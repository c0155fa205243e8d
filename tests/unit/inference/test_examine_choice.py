"""Of the networks that are loaded, those look at a volume that the rules choose for it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import numpy.typing as npt
import pydicom
import pytest

from dicomnode.app.batch import find
from dicomnode.config import Settings
from dicomnode.domain import Examination, ModelIdentity, SegmentKind, VerdictKind
from dicomnode.inference.examine import examine, examine_nifti
from dicomnode.inference.examiner import examiner_digest
from tests.factories import make_series


@dataclass
class Network:
    """Marks a block of every volume, and counts the volumes."""

    kind: SegmentKind
    name: str
    modalities: tuple[str, ...] = ("CT", "MR")
    seen: list[tuple[int, ...]] = field(default_factory=list)
    falls: tuple[str, ...] = ()

    @property
    def identity(self) -> ModelIdentity:
        return ModelIdentity(self.kind, self.name, "2.1", self.name[0] * 64)

    def segment(self, array: Any, spacing_mm: tuple[float, float, float]) -> npt.NDArray[np.uint8]:
        self.seen.append(array.shape)
        mask = np.zeros(array.shape, np.uint8)
        mask[2:5, 4:20, 4:20] = 1
        return mask


FACE_CT = Network(SegmentKind.FACE, "a-face-ct", ("CT",))
FACE = Network(SegmentKind.FACE, "b-face")
FOREGROUND = Network(SegmentKind.FOREGROUND, "c-foreground")
AREA = Network(SegmentKind.ANONYMISED_AREA, "d-area")
EVERY = (FACE_CT, FACE, FOREGROUND, AREA)
CT_THEN_ANY = [
    {"kind": "face", "network": "a-face-ct"},
    {"kind": "face", "network": "b-face"},
]


def settings(**inference: Any) -> Settings:
    return Settings.model_validate({"inference": inference})


def run(folder: Path, inference: dict[str, Any], *networks: Network, **series: Any) -> Examination:
    make_series(folder / "in", slices=8, **series)
    (revision,) = find([folder / "in"]).revisions
    return examine(revision, networks or EVERY, settings(**inference), folder / "out")


def names(examination: Examination) -> list[str]:
    (volume,) = examination.volumes
    return [model.name for model in volume.evidence.models]


@pytest.mark.parametrize(
    ("modality", "face"), [("CT", "a-face-ct"), ("MR", "b-face")], ids=["CT", "MR"]
)
def test_each_series_gets_its_network_and_the_seg_names_it(
    tmp_path: Path, modality: str, face: str
) -> None:
    FACE_CT.seen.clear()
    found = run(tmp_path, {"use": CT_THEN_ANY}, modality=modality, series=modality)
    assert names(found) == ["c-foreground", "d-area", face]
    assert len(FACE_CT.seen) == (modality == "CT")
    (volume,) = found.volumes
    assert volume.evidence.modality == modality
    assert volume.segmentation is not None
    seg = pydicom.dcmread(volume.segmentation.path)
    algorithms = [
        item.SegmentationAlgorithmIdentificationSequence[0] for item in seg.SegmentSequence
    ]
    assert [
        (each.AlgorithmName, each.AlgorithmVersion, each.AlgorithmParameters) for each in algorithms
    ] == [(name, "2.1", f"sha256={name[0] * 64}") for name in names(found)]


def test_a_kind_without_a_network_has_no_mask_and_leaves_it_undetermined(tmp_path: Path) -> None:
    use = [{"kind": "face", "network": "a-face-ct"}]
    found = run(tmp_path, {"use": use}, modality="MR")
    (volume,) = found.volumes
    assert names(found) == ["c-foreground", "d-area"]
    assert volume.verdict.kind is VerdictKind.UNDETERMINED
    assert volume.verdict.rule_id == "every-network-answered"
    why = "no rule of inference.use has a face network for MR, no body part, "
    assert any(reason.startswith(why) for reason in volume.verdict.reasons)
    assert volume.segmentation is not None
    assert SegmentKind.FACE not in volume.segmentation.segments


def test_a_volume_that_no_network_is_for_is_undetermined_and_no_failure(tmp_path: Path) -> None:
    found = run(tmp_path, {}, FACE_CT, modality="MR")
    (volume,) = found.volumes
    assert volume.verdict.kind is VerdictKind.UNDETERMINED
    assert "no face network is for MR: a-face-ct is for CT" in " ".join(volume.verdict.reasons)
    assert volume.evidence.matrix[0] == 8
    assert volume.segmentation is None


def test_the_digest_names_the_networks_that_looked(tmp_path: Path) -> None:
    made = settings(use=CT_THEN_ANY)
    ct = run(tmp_path / "ct", {"use": CT_THEN_ANY}, modality="CT")
    mr = run(tmp_path / "mr", {"use": CT_THEN_ANY}, modality="MR")
    assert ct.examiner_digest != mr.examiner_digest
    looked = [one.identity for one in (FACE_CT, FOREGROUND, AREA)]
    assert ct.examiner_digest == examiner_digest([looked], made)


def test_the_way_to_run_a_network_makes_another_seg_of_the_same_series(tmp_path: Path) -> None:
    found = [
        run(tmp_path / str(step), {"use": CT_THEN_ANY, "tile_step": step}).volumes[0].segmentation
        for step in (0.5, 0.25, 0.5)
    ]
    first, other, again = (seg for seg in found if seg is not None)
    assert first.series_instance_uid == other.series_instance_uid
    assert first.sop_instance_uid != other.sop_instance_uid
    assert first.sop_instance_uid == again.sop_instance_uid


@pytest.mark.parametrize(("modality", "looked"), [("CT", True), ("MR", False), ("", False)])
def test_a_nifti_file_gets_what_its_modality_allows(
    tmp_path: Path, modality: str, looked: bool
) -> None:
    values = np.random.default_rng(1).normal(100, 10, (20, 24, 28)).astype(np.float32)
    nib.save(nib.Nifti1Image(values, np.diag([3.0, 3.0, 3.0, 1.0])), tmp_path / "a.nii.gz")
    found = examine_nifti(
        tmp_path / "a.nii.gz", [FACE_CT], settings(), tmp_path / "out", modality=modality
    )
    assert names(found) == (["a-face-ct"] if looked else [])
    assert (tmp_path / "out" / "face.nii.gz").exists() == looked
