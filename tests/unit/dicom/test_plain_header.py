"""What is read the quick way is what pydicom reads."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import Any

import pydicom
import pytest
from pydicom.dataset import Dataset, FileDataset
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from dicomnode.dicom.header import number
from dicomnode.dicom.images import SourceImage, plain_headers, read_images
from tests.factories import make_series


def _code(value: str) -> Dataset:
    code = Dataset()
    code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = value, "DCM", "Ganz, größer"
    return code


def _told(_: int, ds: FileDataset) -> None:
    ds.SpecificCharacterSet = "ISO_IR 100"
    ds.ContrastBolusAgent = "Größe"
    ds.DeidentificationMethod = ["one", "two"]
    ds.DeidentificationMethodCodeSequence = [_code("113100"), _code("113102")]
    ds.PixelPaddingValue = -2000 if ds.PixelRepresentation else 63536
    ds.ScanningSequence = ["SE", "IR"]
    ds.private_block(0x19, "SIEMENS MR HEADER", create=True).add_new(0x0A, "US", 1)


def _everything(found: tuple[SourceImage, ...]) -> list[Any]:
    return [
        (image.pixels, image.transfer_syntax, [(e.tag, e.VR, e.value) for e in image.ds])
        for image in found
    ]


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian])
@pytest.mark.parametrize("modality", ["CT", "MR"])
def test_the_quick_way_gives_what_pydicom_gives(tmp_path: Path, syntax: str, modality: Any) -> None:
    paths = make_series(tmp_path, modality=modality, slices=4, change=_told, transfer_syntax=syntax)
    plain = plain_headers()
    for path in paths:
        assert plain.read(path) is not None
        assert _everything(read_images(path, plain)) == _everything(read_images(path))


def test_slices_share_what_they_have_in_common_and_nothing_else(tmp_path: Path) -> None:
    plain = plain_headers()
    first, second = (read_images(path, plain)[0].ds for path in make_series(tmp_path, slices=4)[:2])
    assert first["ImageOrientationPatient"] is second["ImageOrientationPatient"]
    assert first.SOPInstanceUID != second.SOPInstanceUID
    assert first.ImagePositionPatient != second.ImagePositionPatient


@pytest.mark.parametrize("syntax", [DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian])
def test_other_encodings_are_left_to_pydicom(tmp_path: Path, syntax: str) -> None:
    (path, *_) = make_series(tmp_path, slices=4, transfer_syntax=syntax)
    assert plain_headers().read(path) is None
    assert read_images(path, plain_headers())[0].ds.Rows


def _twice(data: bytes) -> bytes:
    """Patient's Name before what comes before it."""
    return data.replace(b"\x08\x00\x60\x00CS", b"\x10\x00\x10\x00PN")


def _cut_off(data: bytes) -> bytes:
    return data[:600]


def _no_dicom(data: bytes) -> bytes:
    return bytes(len(data))


def _undefined_length(data: bytes) -> bytes:
    """The sequence that is wanted, with delimiters."""
    ds, out = pydicom.dcmread(BytesIO(data)), BytesIO()
    ds["DeidentificationMethodCodeSequence"].is_undefined_length = True
    ds.save_as(out)
    return out.getvalue()


def test_a_value_that_is_none_counts_as_absent_either_way(tmp_path: Path) -> None:
    (path, *_) = make_series(tmp_path, slices=4, modality="CT", change={"SliceThickness": "2.5"})
    path.write_bytes(path.read_bytes().replace(b"2.5 ", b"abc "))
    plain = plain_headers()
    assert plain.read(path) is not None
    for found in (read_images(path, plain), read_images(path)):
        assert number(found[0].ds, "SliceThickness") is None


@pytest.mark.parametrize("damage", [_twice, _cut_off, _no_dicom, _undefined_length])
def test_what_is_not_plain_is_left_to_pydicom(tmp_path: Path, damage: Any) -> None:
    (path, *_) = make_series(tmp_path, slices=4, change=_told)
    path.write_bytes(damage(path.read_bytes()))
    assert plain_headers().read(path) is None
