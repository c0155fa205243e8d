"""Every kind of series that a PACS sends: split into volumes, set aside, or refused."""

import shutil
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from numpy.typing import NDArray
from pydicom.config import disable_value_validation
from pydicom.dataset import FileDataset
from pydicom.encaps import encapsulate
from pydicom.uid import (
    JPEG2000,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    HTJ2KLossless,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    RLELossless,
    SecondaryCaptureImageStorage,
)

from dicomnode.config import SeriesSettings
from dicomnode.domain import RefusalCode
from tests.factories import AXIAL, CORONAL, SAGITTAL, make_series, make_uid
from tests.outcomes import Outcome, outcome_of
from tests.readers import by_dcm2niix, unmatched

SLICES = 8
SMALL: dict[str, Any] = {"slices": SLICES, "rows": 36, "columns": 34, "series": "kinds"}

Attributes = Mapping[str, Any]


def make_group(
    folder: Path,
    number: int,
    attributes: Attributes | Callable[[int, FileDataset], None] = {},  # noqa: B006
    *,
    groups: int = 1,
    slice_by_slice: bool = False,
    **options: Any,
) -> list[Path]:
    """Images with pixels of their own and UIDs of their own, in the one series of `SMALL`.

    Numbered on after the groups before, or, `slice_by_slice`, all groups at one place in a row.
    """

    def change(index: int, ds: FileDataset) -> None:
        uid = make_uid("kinds", number, index)
        ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = uid
        after = index * groups + number if slice_by_slice else number * SLICES + index
        ds.InstanceNumber = after + 1
        if callable(attributes):
            attributes(index, ds)
            return
        for keyword, value in attributes.items():
            setattr(ds, keyword, value)

    chosen = SMALL | {"seed": number, "noise": 0.05} | options
    return make_series(folder / f"group{number}", change=change, **chosen)


def values_of(paths: Sequence[Path]) -> NDArray[np.float64]:
    """Real values as pydicom alone gives them, in the order of the files."""
    planes = []
    for path in paths:
        ds = pydicom.dcmread(path)
        slope, intercept = ds.get("RescaleSlope", 1), ds.get("RescaleIntercept", 0)
        planes.append(ds.pixel_array * float(slope) + float(intercept))
    return np.stack(planes)


def finds(outcome: Outcome, groups: Sequence[Sequence[Path]]) -> None:
    """Each group of files, given in slice order, is a volume; and there is no other volume."""
    left = [values_of(paths) for paths in groups]
    assert len(outcome.volumes) == len(left)
    for volume in outcome.volumes:
        same = [
            at
            for at, values in enumerate(left)
            if values.shape == volume.array.shape
            and np.allclose(np.maximum(values, volume.array.min()), volume.array, atol=1e-3)
        ]
        assert len(same) == 1, "a volume that mixes groups"
        del left[same[0]]
    assert len(set(outcome.labels)) == len(outcome.labels)


SPLIT: dict[str, tuple[str, list[Attributes]]] = {
    "echo times": ("MR", [{"EchoTime": "5"}, {"EchoTime": "20"}, {"EchoTime": "40"}]),
    "echo numbers": ("MR", [{"EchoNumbers": "1"}, {"EchoNumbers": "2"}]),
    "inversion times": ("MR", [{"InversionTime": "100"}, {"InversionTime": "900"}]),
    "flip angles": ("MR", [{"FlipAngle": "5"}, {"FlipAngle": "26"}]),
    "temporal positions": (
        "MR",
        [{"TemporalPositionIdentifier": str(time)} for time in (1, 2, 3, 10)],
    ),
    "trigger times": ("MR", [{"TriggerTime": str(time)} for time in (0, 90, 180)]),
    "b-values": ("MR", [{"DiffusionBValue": float(b)} for b in (0, 500, 1000)]),
    "directions": (
        "MR",
        [
            {"DiffusionBValue": 1000.0, "DiffusionGradientOrientation": list(direction)}
            for direction in ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.6, 0.8, 0.0))
        ],
    ),
    "b-values and directions": (
        "MR",
        [
            {"DiffusionBValue": 0.0},
            {"DiffusionBValue": 700.0, "DiffusionGradientOrientation": [1.0, 0.0, 0.0]},
            {"DiffusionBValue": 700.0, "DiffusionGradientOrientation": [0.0, 1.0, 0.0]},
        ],
    ),
    "one b-value of two without directions": (
        "MR",
        [{"DiffusionBValue": 0.0}, {"DiffusionBValue": 9.0}, {"DiffusionBValue": 9.0}],
    ),
    "echoes of phases": (
        "MR",
        [
            {"EchoTime": echo, "TemporalPositionIdentifier": time}
            for echo in ("5", "9")
            for time in ("1", "2")
        ],
    ),
    "magnitude and phase": (
        "MR",
        [
            {"ImageType": ["ORIGINAL", "PRIMARY", "M", "ND"]},
            {"ImageType": ["ORIGINAL", "PRIMARY", "P", "ND"]},
        ],
    ),
    "acquisition numbers": ("MR", [{"AcquisitionNumber": str(n)} for n in (1, 2)]),
    "acquisition times": (
        "MR",
        [{"AcquisitionTime": f"10111{n}"} for n in (2, 4, 6)],
    ),
    "instance numbers alone": ("MR", [{}, {}, {}]),
    "CT perfusion": (
        "CT",
        [{"AcquisitionNumber": str(n), "AcquisitionTime": f"10121{n}.5"} for n in range(1, 5)],
    ),
    "CT phases by time alone": ("CT", [{"ContentTime": f"1012{n}0"} for n in (1, 2)]),
    "CT kernels": ("CT", [{"ConvolutionKernel": kernel} for kernel in ("B30f", "B70f")]),
    "CT energies": ("CT", [{"KVP": "80"}, {"KVP": "140"}]),
    "CT cardiac phases": (
        "CT",
        [{"NominalPercentageOfCardiacPhase": float(phase)} for phase in (30, 75)],
    ),
}
# What a label has to name; the other cases may be told apart by several attributes.
NAMED = {
    "echo times": "EchoTime",
    "inversion times": "InversionTime",
    "flip angles": "FlipAngle",
    "temporal positions": "TemporalPosition",
    "trigger times": "TriggerTime",
    "b-values": "DiffusionBValue",
}


@pytest.mark.parametrize("slice_by_slice", [False, True], ids=["numbered on", "slice by slice"])
@pytest.mark.parametrize("case", SPLIT)
def test_a_series_is_split_by_what_differs(case: str, slice_by_slice: bool, tmp_path: Path) -> None:
    modality, attributes = SPLIT[case]
    groups = [
        make_group(
            tmp_path,
            number,
            each,
            groups=len(attributes),
            slice_by_slice=slice_by_slice,
            modality=modality,
        )
        for number, each in enumerate(attributes)
    ]
    outcome = outcome_of([path for group in groups[::-1] for path in group])
    assert outcome.codes == set()
    finds(outcome, groups)
    assert all(NAMED.get(case, "") in label for label in outcome.labels)


@pytest.mark.parametrize("case", ["echo times", "temporal positions", "b-values"])
def test_numbers_in_labels_are_in_their_order(case: str, tmp_path: Path) -> None:
    modality, attributes = SPLIT[case]
    groups = [
        make_group(tmp_path, number, each, modality=modality)
        for number, each in enumerate(attributes)
    ]
    outcome = outcome_of([path for group in groups[::-1] for path in group])
    for volume, group in zip(outcome.volumes, groups, strict=True):
        np.testing.assert_allclose(volume.array, values_of(group))


def test_times_that_differ_in_each_image_do_not_split(tmp_path: Path) -> None:
    def each(index: int, ds: FileDataset) -> None:
        ds.AcquisitionTime = ds.ContentTime = f"1011{10 + index}"
        ds.TriggerTime = str(index * 31)
        ds.AcquisitionNumber = str(index + 1)
        ds.EchoTime = str(3 + index * 0.001)

    group = make_group(tmp_path, 0, each)
    outcome = outcome_of(group)
    assert (outcome.codes, outcome.labels) == (set(), [""])
    finds(outcome, [group])


def test_phases_whose_slices_have_a_trigger_time_each_are_told_apart(tmp_path: Path) -> None:
    def phase(number: int) -> Callable[[int, FileDataset], None]:
        def each(index: int, ds: FileDataset) -> None:
            ds.TriggerTime = str(number * 500 + index * 31)

        return each

    groups = [make_group(tmp_path, number, phase(number)) for number in range(3)]
    finds(outcome_of([path for group in groups for path in group]), groups)


def test_an_echo_without_one_of_its_slices_is_still_a_volume(tmp_path: Path) -> None:
    whole = make_group(tmp_path, 0, {"EchoTime": "5"})
    lacking = make_group(tmp_path, 1, {"EchoTime": "20"}, missing=[3])
    outcome = outcome_of(whole + lacking)
    assert outcome.codes == set()
    finds(outcome, [whole, lacking])


@pytest.mark.parametrize("attributes", [{}, {"TemporalPositionIdentifier": "3"}])
def test_a_last_phase_that_was_stopped_is_set_aside(attributes: Attributes, tmp_path: Path) -> None:
    named = [{"TemporalPositionIdentifier": str(n)} if attributes else {} for n in (1, 2)]
    groups = [make_group(tmp_path, number, each) for number, each in enumerate(named)]
    stopped = make_group(tmp_path, 2, attributes)[:2]
    outcome = outcome_of([*groups[0], *groups[1], *stopped])
    finds(outcome, groups)
    assert sum(item.images for item in outcome.set_aside) == 2
    assert outcome.codes <= {RefusalCode.TOO_FEW_SLICES, RefusalCode.DUPLICATE_POSITION}


def test_groups_of_too_few_slices_are_refused(tmp_path: Path) -> None:
    groups = [
        make_group(tmp_path, number, {"EchoTime": echo}, slices=3)
        for number, echo in enumerate(("5", "20"))
    ]
    outcome = outcome_of([path for group in groups for path in group])
    assert outcome.volumes == ()
    assert outcome.codes == {RefusalCode.TOO_FEW_SLICES}
    assert outcome.images_aside(RefusalCode.TOO_FEW_SLICES) == 6


def test_dcm2niix_splits_echoes_alike(tmp_path: Path) -> None:
    from tests.outcomes import whole

    groups = [
        make_group(tmp_path, number, {"EchoTime": echo, "EchoNumbers": str(number + 1)})
        for number, echo in enumerate(("5", "20"))
    ]
    paths = [path for group in groups for path in group]
    volumes = [whole(volume) for volume in outcome_of(paths).volumes]
    assert unmatched(volumes, by_dcm2niix(paths)) == []


def test_the_policy_may_choose_the_first_volume(tmp_path: Path) -> None:
    groups = [
        make_group(tmp_path, number, {"EchoTime": echo})
        for number, echo in enumerate(("5", "20", "30"))
    ]
    paths = [path for group in groups for path in group]
    outcome = outcome_of(paths, SeriesSettings(volumes="first"))
    finds(outcome, groups[:1])
    assert outcome.codes == {RefusalCode.NOT_CHOSEN}
    assert outcome.images_aside(RefusalCode.NOT_CHOSEN) == 2 * SLICES
    outcome = outcome_of(paths, SeriesSettings(maximum_volumes=2))
    finds(outcome, groups[:2])
    assert outcome.images_aside(RefusalCode.NOT_CHOSEN) == SLICES


LOCALIZER = {"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"]}

ASIDE: dict[str, tuple[RefusalCode, Attributes, dict[str, Any]]] = {
    "a localizer": (RefusalCode.LOCALIZER, LOCALIZER, {"orientation": SAGITTAL}),
    "a localizer in the same plane": (RefusalCode.LOCALIZER, LOCALIZER, {}),
    "a stray image of another orientation": (
        RefusalCode.MIXED_ORIENTATION,
        {},
        {"orientation": CORONAL},
    ),
    "an image of another matrix": (RefusalCode.MIXED_MATRIX, {}, {"rows": 40, "columns": 40}),
    "an image of another pixel spacing": (
        RefusalCode.MIXED_MATRIX,
        {},
        {"pixel_spacing_mm": (3.0, 3.0)},
    ),
    "a secondary capture": (
        RefusalCode.SECONDARY_CAPTURE,
        {"SOPClassUID": SecondaryCaptureImageStorage},
        {},
    ),
    "a mosaic": (RefusalCode.MOSAIC, {"ImageType": ["ORIGINAL", "PRIMARY", "M", "MOSAIC"]}, {}),
    "a picture in colour": (RefusalCode.NOT_MONOCHROME, {"PhotometricInterpretation": "RGB"}, {}),
    "an image without pixels": (RefusalCode.NO_PIXEL_DATA, {}, {"without": ["PixelData"]}),
    "an image without a position": (
        RefusalCode.NO_GEOMETRY,
        {},
        {"without": ["ImagePositionPatient"]},
    ),
    "an image of another frame of reference": (
        RefusalCode.NO_FRAME_OF_REFERENCE,
        {"FrameOfReferenceUID": "1.2.3"},
        {},
    ),
}


@pytest.mark.parametrize("images", [1, 3])
@pytest.mark.parametrize("case", ASIDE)
def test_what_does_not_belong_is_set_aside_and_the_rest_is_a_volume(
    case: str, images: int, tmp_path: Path
) -> None:
    code, attributes, options = ASIDE[case]
    rest = make_group(tmp_path, 0)
    odd = make_group(tmp_path, 1, attributes, **({"slices": images} | options))
    outcome = outcome_of([*odd, *rest])
    finds(outcome, [rest])
    assert outcome.codes == {code}
    assert outcome.images_aside(code) == images


ALONE: dict[str, tuple[RefusalCode, Attributes]] = {
    "localizers": (RefusalCode.LOCALIZER, LOCALIZER),
    "screenshots": (
        RefusalCode.SECONDARY_CAPTURE,
        {"SOPClassUID": SecondaryCaptureImageStorage, "Modality": "OT"},
    ),
    "screenshots that say CT": (
        RefusalCode.SECONDARY_CAPTURE,
        {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.7.2", "Modality": "CT"},
    ),
    "PET": (
        RefusalCode.NOT_CT_OR_MR,
        {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.128", "Modality": "PT"},
    ),
    "enhanced PET": (
        RefusalCode.NOT_CT_OR_MR,
        {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.130", "Modality": "PT", "NumberOfFrames": 5},
    ),
    "NM": (
        RefusalCode.NOT_CT_OR_MR,
        {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.20", "Modality": "NM", "NumberOfFrames": 60},
    ),
    "US": (
        RefusalCode.NOT_CT_OR_MR,
        {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.6.1", "Modality": "US"},
    ),
    "RGB": (
        RefusalCode.NOT_MONOCHROME,
        {"PhotometricInterpretation": "RGB", "SamplesPerPixel": 3},
    ),
    "palette": (RefusalCode.NOT_MONOCHROME, {"PhotometricInterpretation": "PALETTE COLOR"}),
    "mosaics": (RefusalCode.MOSAIC, {"ImageType": ["ORIGINAL", "PRIMARY", "M", "ND", "MOSAIC"]}),
}


@pytest.mark.parametrize("case", ALONE)
def test_what_is_no_volume_says_why(case: str, tmp_path: Path) -> None:
    code, attributes = ALONE[case]
    outcome = outcome_of(make_group(tmp_path, 0, attributes))
    assert outcome.volumes == ()
    assert outcome.codes == {code}
    assert outcome.images_aside(code) == SLICES
    refusal = outcome.set_aside[0].refusal
    assert refusal.attribute
    assert refusal.values
    assert len(refusal.sentence.split()) > 3


@pytest.mark.parametrize(
    "options", [{"orientation": SAGITTAL}, {"rows": 48, "columns": 48}], ids=["planes", "matrices"]
)
def test_two_stacks_in_one_series_are_two_volumes(options: dict[str, Any], tmp_path: Path) -> None:
    groups = [make_group(tmp_path, 0), make_group(tmp_path, 1, **options)]
    outcome = outcome_of(groups[0] + groups[1])
    assert outcome.codes == set()
    finds(outcome, groups)


def test_two_orientations_of_too_few_slices_each_are_mixed(tmp_path: Path) -> None:
    paths = make_group(tmp_path, 0, slices=2) + make_group(
        tmp_path, 1, slices=2, orientation=SAGITTAL
    )
    outcome = outcome_of(paths)
    assert outcome.volumes == ()
    assert outcome.codes == {RefusalCode.MIXED_ORIENTATION}


@pytest.mark.parametrize("copies", [1, SLICES])
def test_the_same_pixels_under_another_uid_are_set_aside(copies: int, tmp_path: Path) -> None:
    paths = make_group(tmp_path, 0, _unnumbered)
    again = make_group(tmp_path, 1, _unnumbered, seed=0)[:copies]
    outcome = outcome_of(paths + again)
    finds(outcome, [paths])
    assert outcome.codes == {RefusalCode.DUPLICATE_POSITION}
    assert outcome.images_aside(RefusalCode.DUPLICATE_POSITION) == copies


def test_other_pixels_at_one_place_that_nothing_tells_apart_are_refused(tmp_path: Path) -> None:
    groups = [make_group(tmp_path, number, _unnumbered) for number in range(2)]
    outcome = outcome_of(groups[0] + groups[1])
    assert outcome.volumes == ()
    assert outcome.codes == {RefusalCode.DUPLICATE_POSITION}


def _unnumbered(index: int, ds: FileDataset) -> None:
    ds.InstanceNumber = index + 1


@pytest.mark.parametrize("numbered_alike", [False, True])
def test_phases_with_equal_slices_keep_them(numbered_alike: bool, tmp_path: Path) -> None:
    """Slices of plain air look like copies of each other, and are none."""
    volume = _smooth(1500)
    volume[[0, -1]] = 0

    def phase(number: int) -> Callable[[int, FileDataset], None]:
        def change(index: int, ds: FileDataset) -> None:
            ds.AcquisitionTime = f"10111{number}"
            if numbered_alike:
                _unnumbered(index, ds)

        return change

    groups = [
        make_group(tmp_path, number, phase(number), volume=volume + (volume > 0) * number)
        for number in (0, 1)
    ]
    outcome = outcome_of(groups[0] + groups[1])
    assert outcome.codes == set()
    finds(outcome, groups)


def _same_numbers(attributes: Callable[[int], Attributes]) -> Callable[[int, FileDataset], None]:
    def change(index: int, ds: FileDataset) -> None:
        _unnumbered(index, ds)
        for keyword, value in attributes(index).items():
            setattr(ds, keyword, value)

    return change


SAME_NUMBERS: dict[str, Callable[[int, int], Attributes]] = {
    "acquisition times": lambda number, _: {"AcquisitionTime": f"10111{number}.5"},
    "a time for each image": lambda number, index: {
        "AcquisitionTime": f"10{10 + number}{10 + index}",
        "ContentTime": f"10{20 + number}{10 + index}",
    },
    "content times": lambda number, _: {"ContentTime": f"10111{number}"},
    "energies": lambda number, _: {"KVP": str(80 + 20 * number)},
}


@pytest.mark.parametrize("case", SAME_NUMBERS)
def test_groups_that_are_numbered_alike_are_told_apart(case: str, tmp_path: Path) -> None:
    groups = [
        make_group(
            tmp_path,
            number,
            _same_numbers(lambda index, number=number: SAME_NUMBERS[case](number, index)),  # type: ignore[misc]
            modality="CT",
        )
        for number in range(3)
    ]
    outcome = outcome_of([path for group in groups for path in group])
    assert outcome.codes == set()
    finds(outcome, groups)


def test_echoes_on_interleaved_positions_are_not_mixed(tmp_path: Path) -> None:
    def second(_: int, ds: FileDataset) -> None:
        x, y, z = (float(value) for value in ds.ImagePositionPatient)
        ds.ImagePositionPatient = [x, y, z + 2]
        ds.EchoTime = "80"

    groups = [make_group(tmp_path, 0), make_group(tmp_path, 1, second)]
    outcome = outcome_of(groups[0] + groups[1])
    assert outcome.codes == set()
    finds(outcome, groups)


@pytest.mark.parametrize("off_mm", [(0, 0, 0.05), (0.5, 0, 0), (3.0, 1.0, 0)])
def test_phases_that_were_corrected_for_motion_are_not_mixed(
    off_mm: tuple[float, float, float], tmp_path: Path
) -> None:
    def phase(number: int) -> Callable[[int, FileDataset], None]:
        def change(_: int, ds: FileDataset) -> None:
            place = [float(value) for value in ds.ImagePositionPatient]
            moved = np.array(place) + number * np.array(off_mm)
            ds.ImagePositionPatient = [f"{value:.6g}" for value in moved]
            ds.TemporalPositionIdentifier = str(number + 1)

        return change

    groups = [make_group(tmp_path, number, phase(number)) for number in range(3)]
    finds(outcome_of([path for group in groups for path in group]), groups)


def test_one_place_that_was_imaged_again_is_said(tmp_path: Path) -> None:
    paths = make_group(tmp_path, 0)
    again = make_group(tmp_path, 1)[3:4]
    outcome = outcome_of(paths + again)
    assert outcome.codes == {RefusalCode.DUPLICATE_POSITION}
    assert len(outcome.volumes) <= 1


@pytest.mark.parametrize("modality", ["CT", "MR"])
@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize(
    ("bits", "high_bit"), [(8, 7), (10, 9), (12, 11), (12, 15), (14, 13), (16, 15)]
)
def test_gray_values_are_found_in_whatever_bits(
    modality: str, signed: bool, bits: int, high_bit: int, tmp_path: Path
) -> None:
    lowest = -(2 ** (bits - 1)) if signed else 0
    shape = (5, 36, 34)
    values = np.linspace(lowest, lowest + 2**bits - 1, np.prod(shape)).round().reshape(shape)
    shift = high_bit + 1 - bits

    def move(_: int, ds: FileDataset) -> None:
        if shift:
            words = np.frombuffer(ds.PixelData, "<u2")
            ds.PixelData = (words << shift).astype("<u2").tobytes()
            ds.HighBit = high_bit

    paths = make_series(
        tmp_path,
        **(SMALL | {"slices": 5}),
        modality=modality,
        volume=values,
        signed=signed,
        bits_stored=bits,
        slope=1.0,
        intercept=0.0,
        change=move,
    )
    (volume,) = outcome_of(paths).volumes
    expected = np.maximum(values, -1024) if modality == "CT" else values
    np.testing.assert_array_equal(volume.array, expected)


@pytest.mark.parametrize("declared", [True, False])
@pytest.mark.parametrize(
    ("modality", "padding", "signed"),
    [
        ("CT", -2000, True),
        ("CT", -1024, True),
        ("CT", -3024, True),
        ("CT", 0, False),
        ("CT", 0, True),
        ("MR", 0, False),
        ("MR", -2000, True),
    ],
)
def test_padding_is_air_and_never_tissue(
    modality: str, padding: int, signed: bool, declared: bool, tmp_path: Path
) -> None:
    if padding == 0 and signed and not declared:
        pytest.skip("0 HU is water unless the header says that it is padding")
    lacking = [] if declared else ["PixelPaddingValue"]
    paths = make_series(
        tmp_path, modality=modality, padding=padding, signed=signed, without=lacking, noise=0
    )
    (volume,) = outcome_of(paths).volumes
    air = -1000.0 if modality == "CT" else 0.0
    if modality == "MR" and padding < 0 and not declared:
        pytest.skip("an MR value below zero may be real")
    assert volume.array[:, :2].max() <= air
    assert volume.array[:, 2:].max() > air + 300


DCMTK: dict[str, tuple[list[str], float, int]] = {
    "RLE": (["dcmcrle"], 0, 16),
    "JPEG lossless, first order": (["dcmcjpeg", "+e1"], 0, 16),
    "JPEG lossless": (["dcmcjpeg", "+el", "+sv", "6"], 0, 16),
    "JPEG baseline": (["dcmcjpeg", "+eb", "+q", "95"], 12, 8),
    "JPEG extended": (["dcmcjpeg", "+ee", "+q", "95"], 60, 12),
    "JPEG-LS": (["dcmcjpls", "+el"], 0, 16),
    "JPEG-LS near lossless": (["dcmcjpls", "+en", "+md", "2"], 2, 16),
    "big endian": (["dcmconv", "+tb"], 0, 16),
    "deflated": (["dcmconv", "+td"], 0, 16),
}


@pytest.mark.peer
@pytest.mark.parametrize("modality", ["CT", "MR"])
@pytest.mark.parametrize("syntax", DCMTK)
def test_what_dcmtk_encoded_is_read(syntax: str, modality: str, tmp_path: Path) -> None:
    command, tolerance, bits = DCMTK[syntax]
    if shutil.which(command[0]) is None:
        pytest.skip(f"{command[0]} of dcmtk is not installed")
    options = SMALL | {"bits_stored": bits, "volume": _smooth(200 if bits == 8 else 1500)}
    paths = make_series(tmp_path / "plain", modality=modality, **options, slope=1.0)
    encoded = [tmp_path / path.name for path in paths]
    for path, into in zip(paths, encoded, strict=True):
        subprocess.run([*command, str(path), str(into)], check=True, capture_output=True)
    (expected,), (found,) = outcome_of(paths).volumes, outcome_of(encoded).volumes
    np.testing.assert_allclose(found.array, expected.array, atol=tolerance)


def _smooth(highest: float) -> NDArray[np.float64]:
    slices, rows, columns = np.meshgrid(*map(np.arange, (SLICES, 36, 34)), indexing="ij")
    waves = 2 + np.sin(rows / 6) + np.cos((columns + slices) / 7)
    return np.asarray((waves / 4 * highest).round())


@pytest.mark.parametrize(
    ("syntax", "tolerance"),
    [
        (ImplicitVRLittleEndian, 0),
        (ExplicitVRBigEndian, 0),
        (DeflatedExplicitVRLittleEndian, 0),
        (RLELossless, 0),
        (JPEG2000Lossless, 0),
        (JPEG2000, 40),
    ],
)
@pytest.mark.parametrize("signed", [False, True])
def test_what_pydicom_encoded_is_read(
    syntax: str, tolerance: float, signed: bool, tmp_path: Path
) -> None:
    values = _smooth(1500) - (400 if signed else 0)
    options = SMALL | {"volume": values, "signed": signed}
    if syntax != JPEG2000:
        options["transfer_syntax"] = syntax
    paths = make_series(tmp_path, **options)
    if syntax == JPEG2000:
        for path in paths:
            ds = pydicom.dcmread(path)
            ds.compress(JPEG2000, j2k_psnr=[90], generate_instance_uid=False)
            ds.save_as(path)
    (volume,) = outcome_of(paths).volumes
    np.testing.assert_allclose(volume.array, values, atol=tolerance)


@pytest.mark.parametrize("signed", [False, True])
def test_htj2k_is_read(signed: bool, tmp_path: Path) -> None:
    imagecodecs = pytest.importorskip("imagecodecs", reason="no HTJ2K encoder is installed")
    values = _smooth(1500) - (400 if signed else 0)
    paths = make_series(tmp_path, **SMALL, volume=values, signed=signed)
    for path in paths:
        ds = pydicom.dcmread(path)
        stream = imagecodecs.htj2k_encode(
            ds.pixel_array,
            reversible=True,
        )
        ds.PixelData = encapsulate([bytes(stream)])
        ds["PixelData"].is_undefined_length = True
        ds["PixelData"].VR = "OB"
        ds.file_meta.TransferSyntaxUID = HTJ2KLossless
        ds.save_as(path)
    (volume,) = outcome_of(paths).volumes
    np.testing.assert_array_equal(volume.array, values)


def _stars(_: int, ds: FileDataset) -> None:
    for keyword in ("PatientName", "PatientBirthDate", "PatientAge", "StudyDate", "SeriesTime"):
        setattr(ds, keyword, "***")


def _private(_: int, ds: FileDataset) -> None:
    block = ds.private_block(0x0019, "VENDOR HEADER", create=True)
    block.add_new(0x10, "OB", bytes(range(256)))
    block.add_new(0x11, "UN", b"not a number")
    inner = pydicom.Dataset()
    inner.ImagePositionPatient = [9, 9, 9]
    inner.SOPInstanceUID = "1.2.3"
    block.add_new(0x12, "SQ", [inner])
    ds.add_new(0x00191213, "LO", "an element without its creator")


def _zeros(_: int, ds: FileDataset) -> None:
    ds.StudyInstanceUID, ds.SeriesInstanceUID = "1.2.03.4", "1.2.003.04.5"
    ds.SOPInstanceUID += ".007"
    ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID


def _named(character_set: str | list[str], name: str) -> Callable[[int, FileDataset], None]:
    def change(_: int, ds: FileDataset) -> None:
        ds.SpecificCharacterSet = character_set
        ds.PatientName = ds.ReferringPhysicianName = name

    return change


def _bytes_of_no_character_set(_: int, ds: FileDataset) -> None:
    ds.SpecificCharacterSet = "ISO_IR 999"
    ds.add_new(0x00100010, "PN", b"\xff\xfe\x80^\x1b$B")


HEADERS: dict[str, dict[str, Any]] = {
    "missing type 2 attributes": {
        "without": [
            "PatientName",
            "PatientID",
            "PatientBirthDate",
            "PatientSex",
            "StudyID",
            "AccessionNumber",
            "ReferringPhysicianName",
            "StudyDate",
            "StudyTime",
            "SeriesNumber",
            "PositionReferenceIndicator",
            "PatientPosition",
            "SpecificCharacterSet",
        ]
    },
    "empty type 2 attributes": {
        "change": dict.fromkeys(("PatientName", "PatientID", "StudyDate", "SeriesNumber"), "")
    },
    "stars": {"change": _stars},
    "Latin 1": {"change": _named("ISO_IR 100", "Müller^Jörg")},
    "Japanese": {"change": _named(["", "ISO 2022 IR 87"], "Yamada^Tarou=山田^太郎=やまだ^たろう")},
    "Chinese": {"change": _named("GB18030", "Wang^XiaoDong=王^小东")},
    "UTF-8": {"change": _named("ISO_IR 192", "Wang^XiaoDong=王^小东")},
    "an unknown character set": {"change": _bytes_of_no_character_set},
    "private groups": {"change": _private},
    "UIDs with leading zeros": {"change": _zeros},
    "no instance numbers": {"without": ["InstanceNumber"]},
    "no image type": {"without": ["ImageType"]},
    "no slice thickness": {"without": ["SliceThickness"]},
    "positions with spaces and exponents": {
        "change": lambda index, ds: setattr(
            ds, "ImagePositionPatient", ["-3.4e1 ", " -36.0", f"{index * 4.0 - 14:+.3e}"]
        )
    },
}


@disable_value_validation()
def make_odd(folder: Path, **options: Any) -> list[Path]:
    return make_series(folder, **(SMALL | options))


@pytest.mark.parametrize("case", HEADERS)
def test_headers_as_scanners_write_them_make_the_same_volume(case: str, tmp_path: Path) -> None:
    (expected,) = outcome_of(make_series(tmp_path / "plain", **SMALL)).volumes
    outcome = outcome_of(make_odd(tmp_path / "odd", **HEADERS[case]))
    assert outcome.codes == set()
    (volume,) = outcome.volumes
    np.testing.assert_array_equal(volume.array, expected.array)
    np.testing.assert_allclose(volume.geometry.positions_mm, expected.geometry.positions_mm)


def test_each_slice_has_its_own_rescale(tmp_path: Path) -> None:
    slopes = [0.5, 1, 2, 4, 0.25, 1, 3, 0.125]
    paths = make_series(tmp_path, **SMALL, slope=slopes, intercept=5.0)
    (volume,) = outcome_of(paths).volumes
    np.testing.assert_allclose(volume.array, values_of(paths), rtol=1e-6)


@pytest.mark.parametrize("empty", [True, False])
def test_a_missing_frame_of_reference_follows_the_policy(empty: bool, tmp_path: Path) -> None:
    lacking: dict[str, Any] = (
        {"change": {"FrameOfReferenceUID": ""}} if empty else {"without": ["FrameOfReferenceUID"]}
    )
    paths = make_series(tmp_path, **SMALL, **lacking)
    accepted = outcome_of(paths, SeriesSettings(missing_frame_of_reference="accept"))
    assert len(accepted.volumes) == 1
    assert accepted.stacks[0].frame_of_reference_uid is None
    refused = outcome_of(paths, SeriesSettings(missing_frame_of_reference="refuse"))
    assert refused.volumes == ()
    assert refused.codes == {RefusalCode.NO_FRAME_OF_REFERENCE}
    assert refused.images_aside(RefusalCode.NO_FRAME_OF_REFERENCE) == SLICES


def test_a_damaged_file_among_good_ones_is_said(tmp_path: Path) -> None:
    paths = make_series(tmp_path, **SMALL)
    paths[2].write_bytes(b"no DICOM at all")
    assert RefusalCode.UNREADABLE_OBJECT in outcome_of(paths).codes


def test_the_order_of_the_files_does_not_matter(tmp_path: Path) -> None:
    groups = [
        make_group(tmp_path, number, {"EchoTime": echo}, orientation=AXIAL)
        for number, echo in enumerate(("5", "20"))
    ]
    paths = np.array([path for group in groups for path in group])
    one, other = (
        outcome_of(list(paths)),
        outcome_of(list(paths[np.random.default_rng(1).permutation(len(paths))])),
    )
    assert one.labels == other.labels
    for first, second in zip(one.volumes, other.volumes, strict=True):
        np.testing.assert_array_equal(first.array, second.array)
