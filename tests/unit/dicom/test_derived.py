"""Derived objects: pixels, UIDs and headers; nothing of the old picture in another place."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence as Items

from dicomnode.app.drawn_series import DrawnSeries, write_series
from dicomnode.dicom.derived import Derivation, sop_instance_uid, write_derived
from dicomnode.dicom.images import read_images
from dicomnode.dicom.pixels import PixelReader

DERIVATION = Derivation("2.25.77", "a method", "Changed for a test", "changed")
SERIES = DrawnSeries("intact", "a head", "CT", False, 9001)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_series(SERIES, tmp_path_factory.mktemp("head"))[60]


def derived(path: Path, out: Path, add: int = 1) -> pydicom.FileDataset:
    images = read_images(path)
    with PixelReader() as reader:
        planes = [reader.stored_values(image) + add for image in images]
    (written,) = write_derived(images, planes, DERIVATION, lambda ds: None, out)
    return pydicom.dcmread(written)


def edited(source: Path, tmp_path: Path, **changes: object) -> Path:
    ds = pydicom.dcmread(source)
    for keyword, value in changes.items():
        setattr(ds, keyword, value)
    path = tmp_path / "edited.dcm"
    ds.save_as(path)
    return path


def test_the_values_are_those_given(source: Path, tmp_path: Path) -> None:
    before, after = pydicom.dcmread(source), derived(source, tmp_path)
    assert np.array_equal(after.pixel_array, before.pixel_array + 1)


def test_header_and_geometry_stay_and_the_object_is_a_new_one(source: Path, tmp_path: Path) -> None:
    before, after = pydicom.dcmread(source), derived(source, tmp_path)
    for same in (
        "SOPClassUID",
        "StudyInstanceUID",
        "FrameOfReferenceUID",
        "PixelSpacing",
        "ImagePositionPatient",
        "RescaleIntercept",
        "BitsStored",
    ):
        assert after[same].value == before[same].value, same
    assert after.SOPInstanceUID == sop_instance_uid(before.SOPInstanceUID, DERIVATION)
    assert after.SeriesInstanceUID == "2.25.77"
    assert list(after.ImageType) == ["DERIVED", "PRIMARY", "AXIAL"]
    reference = after.SourceImageSequence[0]
    assert reference.ReferencedSOPInstanceUID == before.SOPInstanceUID
    assert after.ContributingEquipmentSequence[0].Manufacturer == "dicomnode"


def test_the_same_object_changed_in_the_same_way_has_the_same_uid(source: Path) -> None:
    uid = pydicom.dcmread(source).SOPInstanceUID
    assert sop_instance_uid(uid, DERIVATION) == sop_instance_uid(uid, DERIVATION)
    other = Derivation("2.25.77", "another method", "", "")
    assert sop_instance_uid(uid, DERIVATION) != sop_instance_uid(uid, other)


def test_an_icon_an_overlay_and_private_data_do_not_come_along(
    source: Path, tmp_path: Path
) -> None:
    """A thumbnail shows the face that the pixels no longer do."""
    icon = Dataset()
    icon.add_new("PixelData", "OB", b"\1\2")
    path = edited(source, tmp_path, IconImageSequence=Items([icon]))
    ds = pydicom.dcmread(path)
    ds.add_new((0x6000, 0x3000), "OW", b"\1\2")
    ds.add_new("LargestImagePixelValue", "SS", 9)
    ds.private_block(0x0029, "ACME", create=True).add_new(1, "OB", b"a picture")
    ds.save_as(path)
    after = derived(path, tmp_path / "out")
    assert "IconImageSequence" not in after
    assert "LargestImagePixelValue" not in after
    assert (0x6000, 0x3000) not in after
    assert not any(element.tag.is_private for element in after)


def test_values_keep_to_the_bits_that_the_header_names(source: Path, tmp_path: Path) -> None:
    ds = pydicom.dcmread(source)
    ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 12, 11, 1
    ds.PixelData = (np.arange(ds.Rows * ds.Columns) % 2000 - 1000).astype("<i2").tobytes()
    path = tmp_path / "twelve.dcm"
    ds.save_as(path)
    (image,) = read_images(path)
    derived(path, tmp_path / "out", add=3)
    (again,) = read_images(tmp_path / "out" / "00001.dcm")
    with PixelReader() as reader:
        before, after = reader.stored_values(image), reader.stored_values(again)
    assert np.array_equal(after, before + 3)


def test_an_object_of_which_a_frame_is_missing_is_not_written(source: Path, tmp_path: Path) -> None:
    """What is not replaced would leave as it is."""
    from dataclasses import replace

    (image,) = read_images(source)
    part = replace(image, frame=0, frames=2)
    with pytest.raises(ValueError, match="1 of 2 frames"):
        write_derived([part], [np.zeros((4, 4), int)], DERIVATION, lambda ds: None, tmp_path)
