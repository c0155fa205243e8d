"""Which series become a stack of slices, and what the others are told."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom.dataset import FileDataset

from dicomnode.dicom.series import sort_series
from dicomnode.domain import Refusal, RefusalCode
from dicomnode.errors import SeriesRefusedError
from tests.factories import AXIAL, CORONAL, SAGITTAL, make_series, make_uid, oblique
from tests.stacks import only_stack

SMALL: dict[str, Any] = {"slices": 6, "rows": 8, "columns": 8}


def refusal_of(paths: list[Path]) -> Refusal:
    with pytest.raises(SeriesRefusedError) as refused:
        only_stack(paths)
    assert isinstance(refused.value.refusal, Refusal)
    return refused.value.refusal


def second_half(keyword: str, value: object) -> Any:
    def change(index: int, ds: FileDataset) -> None:
        if index >= 3:
            setattr(ds, keyword, value)

    return change


def two_at_each_position(keyword: str, values: tuple[object, object]) -> Any:
    def change(index: int, ds: FileDataset) -> None:
        ds.ImagePositionPatient = [0, 0, index // 2 * 4]
        setattr(ds, keyword, values[index % 2])

    return change


REFUSED: dict[str, tuple[RefusalCode, str, dict[str, Any]]] = {
    "localizer": (
        RefusalCode.LOCALIZER,
        "ImageType",
        {"change": {"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"]}},
    ),
    "one localizer among slices": (
        RefusalCode.LOCALIZER,
        "ImageType",
        {"change": second_half("ImageType", ["ORIGINAL", "PRIMARY", "LOCALIZER"])},
    ),
    "mosaic": (
        RefusalCode.MOSAIC,
        "ImageType",
        {"change": {"ImageType": ["ORIGINAL", "PRIMARY", "M", "ND", "MOSAIC"]}},
    ),
    "several frames without their places": (
        RefusalCode.MULTIFRAME,
        "NumberOfFrames, PerFrameFunctionalGroupsSequence",
        {"change": {"NumberOfFrames": 5}},
    ),
    "enhanced without functional groups": (
        RefusalCode.MULTIFRAME,
        "NumberOfFrames, PerFrameFunctionalGroupsSequence",
        {"change": {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.4.1"}},
    ),
    "secondary capture": (RefusalCode.SECONDARY_CAPTURE, "SOPClassUID", {"modality": "OT"}),
    "screen save": (
        RefusalCode.SECONDARY_CAPTURE,
        "ImageType",
        {"change": {"ImageType": ["DERIVED", "SECONDARY", "SCREEN SAVE"]}},
    ),
    "PET": (
        RefusalCode.NOT_CT_OR_MR,
        "SOPClassUID, Modality",
        {"change": {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.128", "Modality": "PT"}},
    ),
    "modality that the class denies": (
        RefusalCode.NOT_CT_OR_MR,
        "SOPClassUID, Modality",
        {"change": {"Modality": "US"}},
    ),
    "one slice": (RefusalCode.TOO_FEW_SLICES, "number of slices", {"slices": 1}),
    "three slices": (RefusalCode.TOO_FEW_SLICES, "number of slices", {"slices": 3}),
    "mixed orientations": (
        RefusalCode.MIXED_ORIENTATION,
        "ImageOrientationPatient",
        {"change": second_half("ImageOrientationPatient", list(SAGITTAL))},
    ),
    "mixed matrix": (RefusalCode.MIXED_MATRIX, "Rows, Columns", {"change": second_half("Rows", 4)}),
    "mixed pixel spacing": (
        RefusalCode.MIXED_MATRIX,
        "PixelSpacing",
        {"change": second_half("PixelSpacing", [1, 1])},
    ),
    "two images at each position, alike in all but their pixels": (
        RefusalCode.DUPLICATE_POSITION,
        "ImagePositionPatient",
        {"slices": 8, "change": two_at_each_position("InstanceNumber", (1, 1))},
    ),
    "tiles in one plane": (
        RefusalCode.NOT_VOLUMETRIC,
        "ImagePositionPatient",
        {"positions_mm": np.array([[x * 20.0, 0.0, 0.0] for x in range(6)])},
    ),
    "no positions": (
        RefusalCode.NO_GEOMETRY,
        "ImagePositionPatient",
        {"without": ["ImagePositionPatient"]},
    ),
    "no orientation": (
        RefusalCode.NO_GEOMETRY,
        "ImageOrientationPatient",
        {"without": ["ImageOrientationPatient"]},
    ),
    "no pixel spacing": (RefusalCode.NO_GEOMETRY, "PixelSpacing", {"without": ["PixelSpacing"]}),
    "pixel spacing of zero": (
        RefusalCode.NO_GEOMETRY,
        "PixelSpacing",
        {"change": {"PixelSpacing": [0, 0]}},
    ),
    "orientation that is none": (
        RefusalCode.NO_GEOMETRY,
        "ImageOrientationPatient",
        {"change": {"ImageOrientationPatient": [0, 0, 0, 0, 0, 0]}},
    ),
    "orientation at a wrong angle": (
        RefusalCode.NO_GEOMETRY,
        "ImageOrientationPatient",
        {"change": {"ImageOrientationPatient": [1, 0, 0, 0.6, 0.8, 0]}},
    ),
    "a hole in the stack": (
        RefusalCode.IRREGULAR_SPACING,
        "ImagePositionPatient",
        {"slices": 20, "missing": range(5, 14)},
    ),
    "two frames of reference": (
        RefusalCode.NO_FRAME_OF_REFERENCE,
        "FrameOfReferenceUID",
        {"change": second_half("FrameOfReferenceUID", make_uid("another"))},
    ),
    "no pixel data": (RefusalCode.NO_PIXEL_DATA, "PixelData", {"without": ["PixelData"]}),
    "no rows": (RefusalCode.NO_PIXEL_DATA, "Rows", {"without": ["Rows"]}),
    "colour": (
        RefusalCode.NOT_MONOCHROME,
        "PhotometricInterpretation, SamplesPerPixel",
        {"change": {"PhotometricInterpretation": "RGB", "SamplesPerPixel": 3}},
    ),
    "no series UID": (
        RefusalCode.UNREADABLE_OBJECT,
        "SeriesInstanceUID",
        {"without": ["SeriesInstanceUID"]},
    ),
    "two series": (
        RefusalCode.NOT_VOLUMETRIC,
        "SeriesInstanceUID",
        {"change": second_half("SeriesInstanceUID", make_uid("another"))},
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_series_that_is_no_volume_is_refused_in_plain_words(case: str, tmp_path: Path) -> None:
    code, attribute, options = REFUSED[case]
    refusal = refusal_of(make_series(tmp_path, **(SMALL | options)))
    assert (refusal.code, refusal.attribute) == (code, attribute)
    assert len(refusal.sentence.split()) > 3


def test_the_refusal_names_the_values_that_led_to_it(tmp_path: Path) -> None:
    def change(index: int, ds: FileDataset) -> None:
        if index in (0, 7):
            ds.ImageType = ["ORIGINAL", "PRIMARY", "LOCALIZER"]

    (aside,) = sort_series(
        make_series(tmp_path, **(SMALL | {"slices": 8}), change=change)
    ).set_aside
    assert aside.refusal.values == ("ORIGINAL\\PRIMARY\\LOCALIZER",)
    assert aside.images == 2


def test_an_unreadable_file_is_set_aside_and_the_rest_stays_a_volume(tmp_path: Path) -> None:
    paths = make_series(tmp_path, **SMALL)
    paths[5].write_bytes(b"no DICOM at all")
    found = sort_series(paths)
    assert [aside.refusal.code for aside in found.set_aside] == [RefusalCode.UNREADABLE_OBJECT]
    assert found.stacks[0].geometry.shape[0] == 5


def test_a_series_without_objects_is_refused() -> None:
    assert refusal_of([]).code == RefusalCode.TOO_FEW_SLICES


@pytest.mark.parametrize(
    "orientation", [AXIAL, SAGITTAL, CORONAL, oblique(10, -25, 40), (-1, 0, 0, 0, -1, 0)]
)
def test_slices_are_sorted_along_the_normal_whatever_the_order(
    orientation: tuple[float, ...], tmp_path: Path
) -> None:
    paths = make_series(tmp_path, **SMALL, orientation=orientation)
    shuffled = [paths[index] for index in (3, 0, 5, 1, 4, 2)]
    source = only_stack(shuffled)
    assert list(source.paths) == paths
    assert (source.geometry.gaps_mm > 3.9).all()
    assert source.geometry.is_regular
    assert source.geometry.slice_spacing_mm == pytest.approx(4.0)
    assert source.warnings == ()


def test_the_tilt_comes_from_positions_not_from_the_tag(tmp_path: Path) -> None:
    paths = make_series(tmp_path, **SMALL, tilt_degrees=12, change={"GantryDetectorTilt": -99})
    geometry = only_stack(paths).geometry
    assert geometry.is_sheared
    assert geometry.tilt_degrees == pytest.approx(12, abs=1e-3)


def test_missing_slices_are_reported(tmp_path: Path) -> None:
    source = only_stack(make_series(tmp_path, **(SMALL | {"slices": 9}), missing=[4]))
    assert not source.geometry.is_evenly_spaced
    assert any("gap(s) of up to 8.0 mm" in warning for warning in source.warnings)


def test_a_file_given_twice_counts_once(tmp_path: Path) -> None:
    paths = make_series(tmp_path, **SMALL)
    copy = tmp_path / "copy.dcm"
    shutil.copy(paths[0], copy)
    assert len(only_stack([*paths, copy]).paths) == 6


def test_two_objects_under_one_uid_are_refused(tmp_path: Path) -> None:
    paths = make_series(tmp_path / "a", **SMALL)
    other = make_series(tmp_path / "b", **SMALL, seed=1)
    refusal = refusal_of([*paths, other[0]])
    assert refusal.code == RefusalCode.DUPLICATE_POSITION
    assert refusal.attribute == "SOPInstanceUID"


def test_a_missing_frame_of_reference_is_accepted_and_said(tmp_path: Path) -> None:
    source = only_stack(make_series(tmp_path, **SMALL, without=["FrameOfReferenceUID"]))
    assert source.frame_of_reference_uid is None
    assert any("Frame of Reference" in warning for warning in source.warnings)


def test_missing_type_2_attributes_do_not_matter(tmp_path: Path) -> None:
    absent = ["PatientBirthDate", "StudyID", "AccessionNumber", "ReferringPhysicianName"]
    assert only_stack(make_series(tmp_path, **SMALL, without=absent)).modality == "MR"


def test_a_file_that_is_gone_is_a_failure_and_no_refusal(tmp_path: Path) -> None:
    paths = make_series(tmp_path)
    paths[3].unlink()
    with pytest.raises(FileNotFoundError):
        only_stack(paths)


def test_objects_under_one_uid_are_told_what_else_is_wrong_with_them(tmp_path: Path) -> None:
    """De-identifiers have given all mosaics of a series one UID: what they are says more."""
    mosaic = {"ImageType": ["ORIGINAL", "PRIMARY", "M", "ND", "MOSAIC"], "SOPInstanceUID": "1.2.3"}
    paths = make_series(tmp_path, **SMALL, change=mosaic)
    assert refusal_of(paths).code == RefusalCode.MOSAIC
