"""Values: what the scanner measured, however it was stored."""

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.dataset import FileDataset
from pydicom.encaps import encapsulate, encapsulate_extended, generate_frames
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    RLELossless,
)

from dicomnode.dicom import frames, pixels
from dicomnode.dicom.frames import EncodedObject, WantedFrame
from dicomnode.dicom.volume import Volume, read_volume
from dicomnode.domain import Refusal, RefusalCode
from dicomnode.errors import SeriesRefusedError
from tests.factories import make_series
from tests.multiframe import make_multiframe
from tests.outcomes import outcome_of
from tests.stacks import only_stack

SMALL: dict[str, Any] = {"slices": 5, "rows": 36, "columns": 34}


def volume_of(folder: Path, **options: Any) -> Volume:
    return read_volume(only_stack(make_series(folder, **(SMALL | options))))


def refusal_of(paths: list[Path]) -> Refusal:
    with pytest.raises(SeriesRefusedError) as refused:
        read_volume(only_stack(paths))
    assert isinstance(refused.value.refusal, Refusal)
    return refused.value.refusal


def ramp(low: float, high: float) -> np.ndarray[Any, Any]:
    return np.linspace(low, high, 5 * 36 * 34).round().reshape(5, 36, 34)


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
@pytest.mark.parametrize(("signed", "bits"), [(False, 16), (True, 16), (False, 12), (False, 8)])
def test_every_transfer_syntax_gives_the_same_values(
    syntax: str, signed: bool, bits: int, tmp_path: Path
) -> None:
    values = ramp(-100 if signed else 0, 200)
    volume = volume_of(
        tmp_path, volume=values, transfer_syntax=syntax, signed=signed, bits_stored=bits
    )
    assert volume.array.dtype == np.float32
    np.testing.assert_array_equal(volume.array, values)


def test_each_slice_has_its_own_rescale(tmp_path: Path) -> None:
    values = ramp(100, 900)
    volume = volume_of(tmp_path, volume=values, slope=[0.5, 1, 2, 4, 0.25], intercept=3)
    np.testing.assert_allclose(volume.array, values, atol=2.01)
    np.testing.assert_allclose(volume.array[4], values[4], atol=0.13)


def test_an_invalid_rescale_counts_as_none(tmp_path: Path) -> None:
    values = ramp(0, 900)
    volume = volume_of(tmp_path, volume=values, change={"RescaleSlope": "0"})
    np.testing.assert_array_equal(volume.array, values)


def test_bits_above_the_stored_ones_are_ignored(tmp_path: Path) -> None:
    values = ramp(-2000, 2000)

    def overlay(_: int, ds: FileDataset) -> None:
        words = np.frombuffer(ds.PixelData, np.uint16)
        ds.PixelData = (words & 0x0FFF | 0x5000).astype(np.uint16).tobytes()

    volume = volume_of(tmp_path, volume=values, signed=True, bits_stored=12, change=overlay)
    np.testing.assert_array_equal(volume.array, values)


def test_ct_ends_at_minus_1024_and_padding_is_air(tmp_path: Path) -> None:
    volume = volume_of(tmp_path, modality="CT", signed=True, padding=-2000, noise=0)
    assert volume.array.min() >= -1024
    assert (volume.array[:, :2] <= -1000).all()
    assert any("padding" in warning for warning in volume.warnings)


def test_padding_of_ct_is_as_low_as_values_go(tmp_path: Path) -> None:
    """So do other readers, with the same lower end."""
    values = ramp(-200, 900)
    volume = volume_of(tmp_path, modality="CT", volume=values, signed=True, padding=-2000)
    assert (volume.array[:, :2] == -1024).all()
    np.testing.assert_array_equal(volume.array[:, 2:], values[:, 2:])


def test_padding_named_with_the_wrong_sign_is_found(tmp_path: Path) -> None:
    def wrong(_: int, ds: FileDataset) -> None:
        del ds.PixelPaddingValue
        ds.add_new("PixelPaddingValue", "US", 63536)

    volume = volume_of(tmp_path, signed=True, padding=-2000, volume=ramp(-50, 900), change=wrong)
    assert volume.array.min() >= -50


def test_bright_padding_in_mr_becomes_air(tmp_path: Path) -> None:
    volume = volume_of(tmp_path, volume=ramp(5, 900), padding=4095)
    assert volume.array.max() <= 900
    assert (volume.array[:, :2] < 60).all()


def test_a_padding_range_over_tissue_is_not_believed(tmp_path: Path) -> None:
    def claim(_: int, ds: FileDataset) -> None:
        ds.add_new("PixelPaddingRangeLimit", "US", 4000)

    values = ramp(-1000, 1500)
    volume = volume_of(tmp_path, modality="CT", volume=values, padding=0, change=claim)
    np.testing.assert_array_equal(volume.array[:, 2:], values[:, 2:])


def head_in_air(modality: str) -> np.ndarray[Any, Any]:
    values = np.full((5, 36, 34), -1000.0 if modality == "CT" else 0.0)
    values[:, 9:27, 9:25] = 40 if modality == "CT" else 800
    values[2, 15, 15] = 1500
    return values


@pytest.mark.parametrize("modality", ["CT", "MR"])
def test_monochrome1_with_bright_air_is_inverted(modality: str, tmp_path: Path) -> None:
    volume = volume_of(
        tmp_path,
        modality=modality,
        volume=head_in_air(modality),
        photometric="MONOCHROME1",
        bits_stored=12,
    )
    np.testing.assert_array_equal(volume.array, head_in_air(modality))


def test_monochrome1_with_true_hounsfield_units_stays(tmp_path: Path) -> None:
    values = head_in_air("CT")
    change = {"PhotometricInterpretation": "MONOCHROME1"}
    volume = volume_of(tmp_path, modality="CT", volume=values, change=change)
    np.testing.assert_array_equal(volume.array, values)


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, ExplicitVRBigEndian])
def test_a_truncated_slice_alone_is_set_aside(syntax: str, tmp_path: Path) -> None:
    values = ramp(0, 900)
    paths = make_series(tmp_path, **SMALL, volume=values, transfer_syntax=syntax)
    paths[1].write_bytes(paths[1].read_bytes()[:-50])
    outcome = outcome_of(paths)
    (aside,) = outcome.set_aside
    assert (aside.refusal.code, aside.images) == (RefusalCode.UNREADABLE_PIXELS, 1)
    assert aside.refusal.values[0] == "2398"
    (volume,) = outcome.volumes
    np.testing.assert_array_equal(volume.array, np.delete(values, 1, axis=0))


def test_a_high_bit_that_is_too_low_cuts_nothing_off(tmp_path: Path) -> None:
    values = ramp(0, 4000)
    volume = volume_of(tmp_path, volume=values, bits_stored=12, change={"HighBit": 10})
    np.testing.assert_array_equal(volume.array, values)


def test_frames_without_an_offset_table_are_parted_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = make_multiframe(tmp_path, slices=24, transfer_syntax=RLELossless)
    ds = dcmread(made.paths[0])
    parts = list(generate_frames(ds.PixelData, number_of_frames=24))
    ds.PixelData = encapsulate(parts, has_bot=False)
    ds.save_as(made.paths[0])
    np.testing.assert_allclose(read_volume(only_stack(made.paths)).array, made.values[0])
    walks = []

    def counted(*args: Any, **options: Any) -> Any:
        walks.append(1)
        return generate_frames(*args, **options)

    monkeypatch.setattr(frames, "generate_frames", counted)
    with made.paths[0].open("rb") as stream:
        opened = EncodedObject(stream)
    for frame in range(24):
        opened.values(WantedFrame(frame, 24, ds.Rows, ds.Columns, ds.BitsAllocated))
    assert len(walks) == 1


def test_frames_are_found_by_an_extended_offset_table(tmp_path: Path) -> None:
    made = make_multiframe(tmp_path, slices=9, transfer_syntax=JPEG2000Lossless)
    ds = dcmread(made.paths[0])
    parts = list(generate_frames(ds.PixelData, number_of_frames=9))
    pixel_data, ds.ExtendedOffsetTable, ds.ExtendedOffsetTableLengths = encapsulate_extended(parts)
    ds.PixelData = pixel_data
    ds.save_as(made.paths[0])
    np.testing.assert_allclose(read_volume(only_stack(made.paths)).array, made.values[0])


def test_an_object_of_fewer_frames_than_it_says_is_refused(tmp_path: Path) -> None:
    made = make_multiframe(tmp_path, slices=9, transfer_syntax=JPEG2000Lossless)
    ds = dcmread(made.paths[0])
    parts = list(generate_frames(ds.PixelData, number_of_frames=9))
    ds.PixelData = encapsulate(parts[:-2])
    ds.save_as(made.paths[0])
    refusal = refusal_of(made.paths)
    assert refusal.code == RefusalCode.UNREADABLE_PIXELS
    assert "7 of 9 frames" in refusal.sentence


def test_rows_and_columns_beyond_the_data_are_refused(tmp_path: Path) -> None:
    paths = make_series(tmp_path, **SMALL, change={"Rows": 4000, "Columns": 4000})
    assert refusal_of(paths).code == RefusalCode.UNREADABLE_PIXELS


@pytest.mark.parametrize("syntax", [JPEG2000Lossless, RLELossless])
def test_a_picture_beyond_the_ceiling_is_refused_before_decoding(
    syntax: str, tmp_path: Path
) -> None:
    paths = make_series(tmp_path, **SMALL, transfer_syntax=syntax)
    _overwrite(paths, {"Rows": 65535, "Columns": 65535})
    refusal = refusal_of(paths)
    assert refusal.code == RefusalCode.UNREADABLE_PIXELS
    assert "65535" in refusal.sentence


def test_a_code_stream_of_another_size_is_refused_before_decoding(tmp_path: Path) -> None:
    paths = make_series(tmp_path, **SMALL, transfer_syntax=JPEG2000Lossless)
    for path in paths:
        content = path.read_bytes()
        at = content.index(b"\xff\x4f\xff\x51") + 8
        path.write_bytes(content[:at] + (60000).to_bytes(4, "big") * 2 + content[at + 8 :])
    refusal = refusal_of(paths)
    assert refusal.code == RefusalCode.UNREADABLE_PIXELS
    assert "60000" in refusal.sentence


@pytest.mark.parametrize("syntax", [JPEG2000Lossless, RLELossless, DeflatedExplicitVRLittleEndian])
def test_broken_compressed_pixels_are_refused(syntax: str, tmp_path: Path) -> None:
    paths = make_series(tmp_path, **SMALL, transfer_syntax=syntax)
    content = paths[0].read_bytes()
    paths[0].write_bytes(content[: len(content) - len(content) // 8])
    assert refusal_of(paths).code in (
        RefusalCode.UNREADABLE_PIXELS,
        RefusalCode.UNREADABLE_OBJECT,
        RefusalCode.NO_PIXEL_DATA,
    )


def test_an_unknown_transfer_syntax_is_refused(tmp_path: Path) -> None:
    paths = make_series(tmp_path, **SMALL, transfer_syntax=RLELossless)
    for path in paths:
        known, unknown = b"1.2.840.10008.1.2.5\0", b"1.2.840.10008.1.2.9\0"
        path.write_bytes(path.read_bytes().replace(known, unknown))
    refusal = refusal_of(paths)
    assert refusal.code == RefusalCode.UNREADABLE_PIXELS
    assert "no decoder is installed for it" in refusal.sentence


@pytest.mark.parametrize(
    "change", [{"BitsAllocated": 12}, {"BitsStored": 17}, {"HighBit": 16}, {"BitsAllocated": 1}]
)
def test_impossible_bits_are_refused(change: dict[str, int], tmp_path: Path) -> None:
    paths = make_series(tmp_path, **SMALL, change=change)
    assert refusal_of(paths).code == RefusalCode.UNREADABLE_PIXELS


def test_the_ceiling_of_a_whole_volume_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pixels, "MAXIMUM_VOXELS", 5 * 36 * 34 - 1)
    assert refusal_of(make_series(tmp_path, **SMALL)).code == RefusalCode.UNREADABLE_PIXELS


def _overwrite(paths: list[Path], values: dict[str, int]) -> None:
    import pydicom

    for path in paths:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            ds = pydicom.dcmread(path)
        for keyword, value in values.items():
            setattr(ds, keyword, value)
        ds.save_as(path)
