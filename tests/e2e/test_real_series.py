"""The whole way on real series: storescu sends, the node examines, Orthanc keeps the SEGs.

What the SEGs must hold is found on another route that shares no code with the node's: SimpleITK
reads and turns the series, nnunetv2's own loader reads the network, pydicom reads the SEG.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pydicom
import pytest
import SimpleITK as sitk  # noqa: N813

from dicomnode.inference.models import STARTER_FOLDER, Model, load_manifest
from tests.e2e.site import (
    Node,
    Orthanc,
    missing_peers,
    running_node,
    running_orthanc,
    storescu,
    wait_until,
)

pytestmark = [
    pytest.mark.real_data,
    pytest.mark.peer,
    pytest.mark.timeout(900),
    pytest.mark.skipif(bool(missing_peers()), reason=missing_peers()),
]

NOT_DEFACED = {"FACE_VISIBLE", "UNDETERMINED", "NO_FACE_IN_VIEW"}
# Name of the archive, part of the path in it, verdicts that are right.
EVERY = {
    "sag_anon": ("sag_anon_mprage_siemens_skyra_3y", "", {"FACE_VISIBLE", "UNDETERMINED"}),
    "uih": ("uih_umr770_t1_subjA_134434", "", {"FACE_VISIBLE", "UNDETERMINED"}),
    "decubitus": ("decubitus_t1_siemens_prisma_4positions", "/HFDL/", NOT_DEFACED),
    "studyforrest": ("studyforrest_t1_boxmask_zerofill", "", {"DEFACED"}),
    "ct_phantom": ("philips_ingenuity_headphantom_tilt_16slices", "", NOT_DEFACED),
}
# A person's face, a defaced one, a CT; DICOMNODE_REAL_SERIES=all takes two more heads.
QUICK = ("decubitus", "studyforrest", "ct_phantom")
TAKEN = EVERY if os.environ.get("DICOMNODE_REAL_SERIES") == "all" else QUICK
SENT = {name: EVERY[name] for name in TAKEN}


@pytest.fixture(scope="module")
def series_files(real_series: Callable[[str], list[Path]]) -> dict[str, list[Path]]:
    return {
        name: [path for path in real_series(archive) if part in str(path) and is_image(path)]
        for name, (archive, part, _) in SENT.items()
    }


def is_image(path: Path) -> bool:
    try:
        return "Rows" in pydicom.dcmread(path, stop_before_pixels=True, specific_tags=["Rows"])
    except pydicom.errors.InvalidDicomError:
        return False


@pytest.fixture(scope="module")
def site(
    series_files: dict[str, list[Path]], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Node, Orthanc]]:
    folder = tmp_path_factory.mktemp("site")
    with running_orthanc(folder / "pacs") as pacs, running_node(folder / "node", pacs) as node:
        for files in series_files.values():
            sent = storescu(node.port, files)
            assert sent.returncode == 0, sent.stderr
        wait_until("every series is settled", lambda: node.settled(len(SENT)), 600, node.log)
        yield node, pacs


def series_uid(files: list[Path]) -> str:
    return str(pydicom.dcmread(files[0], stop_before_pixels=True).SeriesInstanceUID)


@pytest.mark.parametrize("name", SENT)
def test_a_real_series_has_the_right_verdict(
    name: str, site: tuple[Node, Orthanc], series_files: dict[str, list[Path]]
) -> None:
    node, _ = site
    found = {item["series_instance_uid"]: item for item in node.status()}
    item = found[series_uid(series_files[name])]
    assert item["state"] == "examined", item
    assert item["verdict"] in SENT[name][2], item["reasons"]
    assert item["reasons"]
    assert item["instance_count"] == len(series_files[name])


def test_the_gate_holds_every_study_but_the_defaced_one(
    site: tuple[Node, Orthanc], series_files: dict[str, list[Path]]
) -> None:
    node, _ = site
    for name, files in series_files.items():
        study = str(pydicom.dcmread(files[0], stop_before_pixels=True).StudyInstanceUID)
        decision = node.command("gate", "decide", study, "--json")
        assert decision.returncode == (0 if name == "studyforrest" else 3), decision.stdout
        assert json.loads(decision.stdout)["reasons"]


def test_the_pacs_has_one_seg_series_per_series(
    site: tuple[Node, Orthanc], series_files: dict[str, list[Path]]
) -> None:
    _, pacs = site
    sources = [referenced_series(pacs, item) for item in pacs.seg_series()]
    assert sorted(sources) == sorted(series_uid(files) for files in series_files.values())


def referenced_series(pacs: Orthanc, series: dict[str, Any]) -> str:
    seg = pydicom.dcmread(BytesIO(pacs.file(series["Instances"][0])))
    return str(seg.ReferencedSeriesSequence[0].SeriesInstanceUID)


@pytest.mark.parametrize("name", sorted({"sag_anon", "uih", "decubitus"} & SENT.keys()))
def test_the_seg_in_the_pacs_is_the_networks_mask_voxel_for_voxel(
    name: str, site: tuple[Node, Orthanc], series_files: dict[str, list[Path]]
) -> None:
    _, pacs = site
    files = series_files[name]
    seg = seg_of(pacs, series_uid(files))
    found = frames_by_segment_and_instance(seg)
    assert len(seg.SegmentSequence) >= 2
    for segment in seg.SegmentSequence:
        number = int(segment.SegmentNumber)
        expected = masks_by_instance(files, network_of(segment))
        for uid, mask in expected.items():
            frame = found.pop((number, uid), np.zeros_like(mask))
            np.testing.assert_array_equal(frame, mask)
    assert not found


def seg_of(pacs: Orthanc, examined_series_uid: str) -> pydicom.Dataset:
    """The one SEG instance of a series."""
    for series in pacs.seg_series():
        (instance,) = series["Instances"]
        seg = pydicom.dcmread(BytesIO(pacs.file(instance)))
        if seg.ReferencedSeriesSequence[0].SeriesInstanceUID == examined_series_uid:
            return seg
    raise AssertionError(f"no SEG of {examined_series_uid} in the PACS")


def network_of(segment: pydicom.Dataset) -> Model:
    name = segment.SegmentationAlgorithmIdentificationSequence[0].AlgorithmName
    (model,) = [m for m in load_manifest(STARTER_FOLDER) if m.identity.name == name]
    return model


def frames_by_segment_and_instance(
    seg: pydicom.Dataset,
) -> dict[tuple[int, str], npt.NDArray[np.uint8]]:
    frames = seg.pixel_array.reshape(-1, seg.Rows, seg.Columns)
    keys = [
        (
            int(item.SegmentIdentificationSequence[0].ReferencedSegmentNumber),
            str(item.DerivationImageSequence[0].SourceImageSequence[0].ReferencedSOPInstanceUID),
        )
        for item in seg.PerFrameFunctionalGroupsSequence
    ]
    assert len(set(keys)) == len(keys)
    return dict(zip(keys, frames, strict=True))


def masks_by_instance(files: list[Path], model: Model) -> dict[str, npt.NDArray[np.uint8]]:
    """The network's mask on each source slice, by SimpleITK and nnunetv2 alone."""
    names = sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(files[0].parent))
    image = sitk.ReadImage(names, sitk.sitkFloat32)
    turned = sitk.DICOMOrient(image, "LPS")
    mask = sitk.GetImageFromArray(predict(sitk.GetArrayFromImage(turned), turned, model))
    mask.CopyInformation(turned)
    code = sitk.DICOMOrientImageFilter.GetOrientationFromDirectionCosines(image.GetDirection())
    slices = sitk.GetArrayFromImage(sitk.DICOMOrient(mask, code))
    uids = [str(pydicom.dcmread(n, stop_before_pixels=True).SOPInstanceUID) for n in names]
    return dict(zip(uids, slices, strict=True))


def predict(
    array: npt.NDArray[np.float32], image: sitk.Image, model: Model
) -> npt.NDArray[np.uint8]:
    import torch
    from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor

    predictor = nnUNetPredictor(
        use_mirroring=False, device=torch.device("cpu"), allow_tqdm=False, tile_step_size=0.5
    )
    predictor.initialize_from_trained_model_folder(str(model.folder), model.folds)
    spacing = list(reversed(image.GetSpacing()))
    labels = predictor.predict_single_npy_array(array[np.newaxis], {"spacing": spacing})
    return np.asarray(labels).astype(np.uint8)
