"""SEGs on frames of multi-frame images: each frame is referenced by object and frame number."""

import shutil
import subprocess
from pathlib import Path

import highdicom as hd
import numpy as np
import pydicom
import pytest
from pydicom.uid import EnhancedMRImageStorage, RLELossless

from dicomnode.dicom.segmentation import verify_segmentation
from dicomnode.dicom.series import SourceStack, sort_series
from dicomnode.errors import SegmentationError
from tests.contract.test_segmentation import MODELS, drawn_masks, write
from tests.factories import make_series, oblique
from tests.multiframe import Group, convert_to_legacy, make_multiframe

ECHOES = (Group(echo_time_ms=5.0), Group(echo_time_ms=80.0))


def stacks(paths: list[Path]) -> tuple[SourceStack, ...]:
    found = sort_series(paths)
    assert found.set_aside == ()
    return found.stacks


def references(seg: pydicom.Dataset) -> set[tuple[str, int]]:
    items = (
        frame.DerivationImageSequence[0].SourceImageSequence[0]
        for frame in seg.PerFrameFunctionalGroupsSequence
    )
    return {(item.ReferencedSOPInstanceUID, int(item.ReferencedFrameNumber)) for item in items}


def test_frames_are_referenced_by_object_and_number(tmp_path: Path) -> None:
    made = make_multiframe(tmp_path / "in", slices=12, shuffled=True)
    (stack,) = stacks(made.paths)
    seg = pydicom.dcmread(write(stack, tmp_path).path)
    source = pydicom.dcmread(made.paths[0])
    (series,) = seg.ReferencedSeriesSequence
    (instance,) = series.ReferencedInstanceSequence
    assert instance.ReferencedSOPInstanceUID == source.SOPInstanceUID
    assert instance.ReferencedSOPClassUID == EnhancedMRImageStorage
    assert {uid for uid, _ in references(seg)} == {source.SOPInstanceUID}
    for frame in seg.PerFrameFunctionalGroupsSequence:
        item = frame.DerivationImageSequence[0].SourceImageSequence[0]
        assert item.ReferencedSOPClassUID == EnhancedMRImageStorage
        of_source = source.PerFrameFunctionalGroupsSequence[int(item.ReferencedFrameNumber) - 1]
        assert (
            frame.PlanePositionSequence[0].ImagePositionPatient
            == of_source.PlanePositionSequence[0].ImagePositionPatient
        )


def test_each_volume_of_one_object_gets_a_seg_on_its_own_frames(tmp_path: Path) -> None:
    made = make_multiframe(tmp_path / "in", groups=ECHOES, slices=10)
    both = stacks(made.paths)
    assert [stack.label for stack in both] == ["EchoTime 5", "EchoTime 80"]
    found = []
    for number, stack in enumerate(both):
        masks = drawn_masks(stack)
        file = write(stack, tmp_path / str(number), masks)
        verify_segmentation(file, masks, stack)
        seg = pydicom.dcmread(file.path)
        assert stack.label in seg.SeriesDescription
        found.append(references(seg))
    assert found[0].isdisjoint(found[1])


@pytest.mark.parametrize(
    "options",
    [
        {"objects": 3},
        {"modality": "CT", "tilt_degrees": 14.0},
        {"orientations": (oblique(10, -25, 40),), "without_shared_groups": True},
        {"transfer_syntax": RLELossless},
        {"missing": [5]},
    ],
    ids=str,
)
def test_the_masks_come_back_voxel_for_voxel(options: dict[str, object], tmp_path: Path) -> None:
    made = make_multiframe(tmp_path / "in", **({"slices": 12} | options))  # type: ignore[arg-type]
    (stack,) = stacks(made.paths)
    masks = drawn_masks(stack)
    verify_segmentation(write(stack, tmp_path, masks), masks, stack)


def test_highdicom_reads_the_same_mask_for_the_same_frames(tmp_path: Path) -> None:
    made = make_multiframe(tmp_path / "in", slices=12)
    (stack,) = stacks(made.paths)
    masks = drawn_masks(stack)
    seg = hd.seg.segread(write(stack, tmp_path, masks).path)
    uid = pydicom.dcmread(made.paths[0]).SOPInstanceUID
    numbers = [(image.frame or 0) + 1 for image in stack.images]
    read = seg.get_pixels_by_source_frame(uid, numbers, assert_missing_frames_are_empty=True)
    for number, model in enumerate(MODELS.values()):
        np.testing.assert_array_equal(read[..., number], masks[model])


def test_a_legacy_converted_object_is_referenced_as_it_was_sent(tmp_path: Path) -> None:
    legacy = convert_to_legacy(make_series(tmp_path / "in", modality="CT"), tmp_path / "legacy")
    (stack,) = stacks([legacy])
    masks = drawn_masks(stack)
    file = write(stack, tmp_path, masks)
    verify_segmentation(file, masks, stack)
    assert {uid for uid, _ in references(pydicom.dcmread(file.path))} == {
        pydicom.dcmread(legacy).SOPInstanceUID
    }


def test_a_reference_to_another_frame_is_found(tmp_path: Path) -> None:
    (stack,) = stacks(make_multiframe(tmp_path / "in", slices=12).paths)
    masks = drawn_masks(stack)
    file = write(stack, tmp_path, masks)
    seg = pydicom.dcmread(file.path)
    item = seg.PerFrameFunctionalGroupsSequence[4].DerivationImageSequence[0]
    item.SourceImageSequence[0].ReferencedFrameNumber = 1
    seg.save_as(file.path)
    with pytest.raises(SegmentationError):
        verify_segmentation(file, masks, stack)


@pytest.mark.peer
@pytest.mark.skipif(shutil.which("dciodvfy") is None, reason="dciodvfy (dicom3tools) is missing")
def test_dciodvfy_finds_no_error(tmp_path: Path) -> None:
    (stack,) = stacks(make_multiframe(tmp_path / "in", slices=12).paths)
    run = subprocess.run(
        ["dciodvfy", write(stack, tmp_path).path], capture_output=True, text=True, timeout=60
    )
    assert "Error" not in run.stderr
