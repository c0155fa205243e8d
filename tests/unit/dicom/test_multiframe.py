"""Multi-frame objects become the volumes that their functional groups describe."""

import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.dataset import FileDataset
from pydicom.encaps import encapsulate, generate_frames
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    RLELossless,
)

from dicomnode.config import SeriesSettings
from dicomnode.dicom.series import sort_series
from dicomnode.domain import RefusalCode
from tests.factories import CORONAL, SAGITTAL, make_series, oblique
from tests.multiframe import Group, Multiframe, convert_to_legacy, make_multiframe
from tests.outcomes import Outcome, outcome_of, whole
from tests.readers import by_dcm2niix, by_simpleitk, difference, unmatched

ECHOES = tuple(Group(echo_time_ms=time) for time in (4.92, 7.38, 20.0))
PHASES = tuple(Group(time=time) for time in (1, 2, 3))
DIFFUSION = (
    Group(b_value=0.0),
    Group(b_value=1000.0, direction=(1.0, 0.0, 0.0)),
    Group(b_value=1000.0, direction=(0.0, 1.0, 0.0)),
    Group(b_value=2000.0, direction=(1.0, 0.0, 0.0)),
)
STACKS = (Group(stack=1), Group(stack=2))
# What highdicom's conversion does not do, or takes from its source.
_OF_HIGHDICOM = ("Laterality", "ReferencedSeriesSequence")

CASES: dict[str, dict[str, Any]] = {
    "MR": {},
    "CT": {"modality": "CT"},
    "sagittal": {"orientations": [SAGITTAL]},
    "double oblique": {"orientations": [oblique(12, -25, 40)]},
    "tilted": {"modality": "CT", "tilt_degrees": 17.0},
    "slices missing": {"missing": [3]},
    "frames in another order": {"shuffled": True},
    "a rescale in each frame": {"modality": "CT", "slopes": (1.0, 0.5, 2.0)},
    "orientation in each frame": {"shared_orientation": False},
    "no shared groups": {"without_shared_groups": True},
    "a concatenation": {"objects": 3},
    "a concatenation, shuffled": {"objects": 3, "shuffled": True, "groups": ECHOES},
    "echoes": {"groups": ECHOES},
    "echoes, shuffled": {"groups": ECHOES, "shuffled": True},
    "phases": {"groups": PHASES},
    "diffusion": {"groups": DIFFUSION, "shuffled": True},
    "phases of echoes": {
        "groups": [Group(time=time, echo_time_ms=echo) for time in (1, 2) for echo in (5.0, 9.0)]
    },
    "two stacks": {"groups": STACKS, "orientations": [SAGITTAL, CORONAL]},
}


def finds_the_groups(outcome: Outcome, made: Multiframe) -> None:
    """Each group is one volume, slice by slice at its place, and nothing is left over."""
    assert outcome.codes == set()
    left = list(range(len(made.groups)))
    for volume in outcome.volumes:
        found = [
            at
            for at in left
            if np.array_equal(made.values[at].shape, volume.array.shape)
            and np.allclose(made.values[at], volume.array)
        ]
        assert len(found) == 1, "a volume that no group has"
        left.remove(found[0])
        positions = volume.geometry.positions_mm
        np.testing.assert_allclose(positions, made.positions_mm[found[0]], atol=1e-4)
    assert left == []
    assert len(set(outcome.labels)) == len(outcome.labels)


@pytest.mark.parametrize("case", CASES)
def test_each_group_of_frames_is_a_volume(case: str, tmp_path: Path) -> None:
    made = make_multiframe(tmp_path, **CASES[case])
    finds_the_groups(outcome_of(made.paths[::-1]), made)


@pytest.mark.parametrize(
    "syntax",
    [
        ImplicitVRLittleEndian,
        ExplicitVRLittleEndian,
        ExplicitVRBigEndian,
        DeflatedExplicitVRLittleEndian,
        RLELossless,
        JPEG2000Lossless,
    ],
)
def test_frames_are_found_in_every_transfer_syntax(syntax: str, tmp_path: Path) -> None:
    made = make_multiframe(tmp_path, groups=ECHOES, shuffled=True, transfer_syntax=syntax)
    finds_the_groups(outcome_of(made.paths), made)


def test_labels_say_what_differs(tmp_path: Path) -> None:
    outcome = outcome_of(make_multiframe(tmp_path / "echoes", groups=ECHOES).paths)
    assert all("EchoTime" in label for label in outcome.labels)
    assert "4.92" in outcome.labels[0]
    assert outcome_of(make_multiframe(tmp_path / "one").paths).labels == [""]


@pytest.mark.parametrize("case", ["MR", "CT", "sagittal", "double oblique", "no shared groups"])
def test_simpleitk_finds_the_same_volume(case: str, tmp_path: Path) -> None:
    made = make_multiframe(tmp_path, **CASES[case])
    (volume,) = outcome_of(made.paths).volumes
    assert difference(whole(volume), by_simpleitk(made.paths[0])) == ""


@pytest.mark.parametrize(
    "case",
    [
        "frames in another order",
        "orientation in each frame",
        "no shared groups",
        "echoes",
        "echoes, shuffled",
        "phases",
        "diffusion",
    ],
)
def test_dcm2niix_finds_the_same_volumes(case: str, tmp_path: Path) -> None:
    made = make_multiframe(tmp_path, **CASES[case])
    volumes = [whole(volume) for volume in outcome_of(made.paths).volumes]
    assert unmatched(volumes, by_dcm2niix(made.paths)) == []


def test_echoes_in_an_object_each_are_volumes(tmp_path: Path) -> None:
    made = [
        make_multiframe(
            tmp_path / str(number), groups=[group], series="several", change=_renumbered(number)
        )
        for number, group in enumerate(ECHOES)
    ]
    outcome = outcome_of([path for each in made for path in each.paths])
    assert outcome.codes == set()
    assert len(outcome.volumes) == 3
    assert len(set(outcome.labels)) == 3
    for volume, each in zip(outcome.volumes, made, strict=True):
        np.testing.assert_allclose(volume.array, each.values[0])


def _renumbered(number: int) -> Any:
    def change(_: int, ds: FileDataset) -> None:
        ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = (
            f"{ds.SOPInstanceUID}.{number}"
        )
        ds.InstanceNumber = number + 1

    return change


def forget_times(_: int, ds: FileDataset) -> None:
    for item in ds.PerFrameFunctionalGroupsSequence:
        del item.FrameContentSequence[0].TemporalPositionIndex


@pytest.mark.parametrize("shuffled", [False, True])
def test_phases_that_only_the_dimension_index_tells_apart_are_volumes(
    shuffled: bool, tmp_path: Path
) -> None:
    made = make_multiframe(tmp_path, groups=PHASES, shuffled=shuffled, change=forget_times)
    outcome = outcome_of(made.paths)
    finds_the_groups(outcome, made)
    assert unmatched([whole(volume) for volume in outcome.volumes], by_dcm2niix(made.paths)) == []


def test_phases_in_an_object_each_with_the_same_indices_are_volumes(tmp_path: Path) -> None:
    """As Siemens XA writes functional series."""
    made = [
        make_multiframe(
            tmp_path / str(number),
            series="several",
            slopes=(1.0 + number / 2,),
            change=_renumbered(number),
        )
        for number in range(3)
    ]
    outcome = outcome_of([path for each in made for path in each.paths])
    assert outcome.codes == set()
    for volume, each in zip(outcome.volumes, made, strict=True):
        np.testing.assert_allclose(volume.array, each.values[0])


@pytest.mark.parametrize("has_table", [True, False])
@pytest.mark.parametrize("fragments", [1, 2])
def test_compressed_frames_are_found_with_and_without_an_offset_table(
    fragments: int, has_table: bool, tmp_path: Path
) -> None:
    made = make_multiframe(tmp_path, groups=ECHOES, transfer_syntax=JPEG2000Lossless)
    ds = pydicom.dcmread(made.paths[0])
    frames = list(generate_frames(ds.PixelData, number_of_frames=ds.NumberOfFrames))
    ds.PixelData = encapsulate(frames, fragments_per_frame=fragments, has_bot=has_table)
    ds.save_as(made.paths[0])
    finds_the_groups(outcome_of(made.paths), made)


def test_frames_of_an_odd_number_of_bytes_are_found(tmp_path: Path) -> None:
    def eight_bits(_: int, ds: FileDataset) -> None:
        values = (np.frombuffer(ds.PixelData, "<u2") // 8).astype(np.uint8).tobytes()
        ds.PixelData = values + b"\0" * (len(values) % 2)
        ds["PixelData"].VR = "OB"
        ds.BitsAllocated = ds.BitsStored = 8
        ds.HighBit = 7

    made = make_multiframe(tmp_path, rows=35, columns=33, slices=7, change=eight_bits)
    (volume,) = outcome_of(made.paths).volumes
    np.testing.assert_array_equal(volume.array, made.values[0] // 8)


@pytest.mark.parametrize("modality", ["CT", "MR"])
def test_a_legacy_converted_series_is_the_series_it_was_made_of(
    modality: str, tmp_path: Path
) -> None:
    options: dict[str, Any] = {"orientation": oblique(5, 10, -20), "rows": 20, "columns": 24}
    paths = make_series(tmp_path / "single", modality=modality, missing=[4], **options)
    converted = convert_to_legacy(paths[::-1], tmp_path / "legacy")
    (expected,) = outcome_of(paths).volumes
    (found,) = outcome_of([converted]).volumes
    np.testing.assert_array_equal(found.array, expected.array)
    assert found.modality == modality
    np.testing.assert_allclose(found.geometry.positions_mm, expected.geometry.positions_mm)


def test_a_legacy_converted_series_of_two_echoes_is_two_volumes(tmp_path: Path) -> None:
    paths = make_series(tmp_path / "one", change={"EchoTime": "5"}, series="a")
    paths += make_series(
        tmp_path / "two",
        series="a",
        seed=1,
        change=lambda index, ds: (_renumbered(index + 100)(0, ds), setattr(ds, "EchoTime", "20")),
    )
    outcome = outcome_of([convert_to_legacy(paths, tmp_path / "legacy")])
    assert len(outcome.volumes) == 2
    assert {volume.array.shape for volume in outcome.volumes} == {(12, 32, 32)}


def drop_groups(_: int, ds: FileDataset) -> None:
    del ds.PerFrameFunctionalGroupsSequence


def shorten_groups(_: int, ds: FileDataset) -> None:
    ds.PerFrameFunctionalGroupsSequence = ds.PerFrameFunctionalGroupsSequence[:-2]


def drop_positions(_: int, ds: FileDataset) -> None:
    for item in ds.PerFrameFunctionalGroupsSequence:
        del item.PlanePositionSequence


def claim_frames(_: int, ds: FileDataset) -> None:
    ds.NumberOfFrames = 2_000_000


def call_it_a_localizer(_: int, ds: FileDataset) -> None:
    ds.ImageType = ["ORIGINAL", "PRIMARY", "LOCALIZER", "NONE"]
    for item in ds.SharedFunctionalGroupsSequence[0].MRImageFrameTypeSequence:
        item.FrameType = ["ORIGINAL", "PRIMARY", "LOCALIZER", "NONE"]


def cut_pixels(_: int, ds: FileDataset) -> None:
    ds.PixelData = ds.PixelData[: len(ds.PixelData) // 2]


REFUSED: dict[str, tuple[set[RefusalCode], dict[str, Any]]] = {
    "no functional groups": (
        {RefusalCode.NO_GEOMETRY, RefusalCode.MULTIFRAME, RefusalCode.UNREADABLE_OBJECT},
        {"change": drop_groups},
    ),
    "fewer groups than frames": (
        {RefusalCode.NO_GEOMETRY, RefusalCode.MULTIFRAME, RefusalCode.UNREADABLE_OBJECT},
        {"change": shorten_groups},
    ),
    "no positions": ({RefusalCode.NO_GEOMETRY}, {"change": drop_positions}),
    "three frames": ({RefusalCode.TOO_FEW_SLICES}, {"slices": 3}),
    "three frames of each echo": (
        {RefusalCode.TOO_FEW_SLICES},
        {"slices": 3, "groups": ECHOES},
    ),
    "a localizer": ({RefusalCode.LOCALIZER}, {"change": call_it_a_localizer}),
    "more frames claimed than there are": (
        {RefusalCode.UNREADABLE_OBJECT, RefusalCode.UNREADABLE_PIXELS, RefusalCode.MULTIFRAME},
        {"change": claim_frames},
    ),
    "half of the pixel data": ({RefusalCode.UNREADABLE_PIXELS}, {"change": cut_pixels}),
}


@pytest.mark.parametrize("case", REFUSED)
def test_frames_that_make_no_volume_are_refused(case: str, tmp_path: Path) -> None:
    codes, options = REFUSED[case]
    outcome = outcome_of(make_multiframe(tmp_path, **options).paths)
    assert outcome.volumes == ()
    assert outcome.codes
    assert outcome.codes <= codes


def test_the_policy_may_choose_the_first_volume(tmp_path: Path) -> None:
    made = make_multiframe(tmp_path, groups=ECHOES)
    outcome = outcome_of(made.paths, SeriesSettings(volumes="first"))
    (volume,) = outcome.volumes
    np.testing.assert_allclose(volume.array, made.values[0])
    assert outcome.codes == {RefusalCode.NOT_CHOSEN}
    assert outcome.images_aside(RefusalCode.NOT_CHOSEN) == 16


def test_volumes_beyond_the_ceiling_are_set_aside(tmp_path: Path) -> None:
    made = make_multiframe(tmp_path, groups=ECHOES)
    outcome = outcome_of(made.paths, SeriesSettings(maximum_volumes=2))
    assert len(outcome.volumes) == 2
    assert outcome.images_aside(RefusalCode.NOT_CHOSEN) == 8


@pytest.mark.skipif(shutil.which("dciodvfy") is None, reason="dicom3tools are not installed")
@pytest.mark.parametrize(
    "case",
    [name for name in CASES if name != "no shared groups"],  # which vendors leave out, wrongly
)
def test_the_drawn_objects_are_valid(case: str, tmp_path: Path) -> None:
    for path in make_multiframe(tmp_path, **CASES[case]).paths:
        assert _errors(path) == []


@pytest.mark.skipif(shutil.which("dciodvfy") is None, reason="dicom3tools are not installed")
@pytest.mark.parametrize("modality", ["CT", "MR"])
def test_the_converted_objects_are_valid(modality: str, tmp_path: Path) -> None:
    path = convert_to_legacy(make_series(tmp_path / "one", modality=modality), tmp_path / "legacy")
    errors = [line for line in _errors(path) if not any(word in line for word in _OF_HIGHDICOM)]
    assert errors == []


def _errors(path: Path) -> list[str]:
    done = subprocess.run(["dciodvfy", str(path)], capture_output=True, text=True, check=False)
    return [line for line in (done.stdout + done.stderr).splitlines() if "Error" in line]


def test_a_concatenation_that_lacks_an_object_says_so(tmp_path: Path) -> None:
    made = make_multiframe(tmp_path, slices=12, objects=3)
    found = sort_series(made.paths[:2])
    (aside,) = found.set_aside
    assert aside.refusal.code == RefusalCode.MULTIFRAME
    assert aside.refusal.values == ("2 of 3",)
    assert [stack.geometry.shape[0] for stack in found.stacks] == [8]
    assert sort_series(made.paths).set_aside == ()
