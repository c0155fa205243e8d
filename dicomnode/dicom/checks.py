"""Can this image be a slice of a volume? Passes, or refuses with a code, a sentence, the values.

The sentences speak of images in general, so that the same finding in many images is one record.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from pydicom.dataset import Dataset
from pydicom.tag import Tag
from pydicom.uid import UID

from dicomnode.dicom.header import code_strings, number, numbers, private_number, text, texts
from dicomnode.dicom.images import TILES, SourceImage
from dicomnode.dicom.pixels import check_length
from dicomnode.dicom.refusals import distinct, refuse
from dicomnode.dicom.sop_classes import EXAMINED_SOP_CLASSES
from dicomnode.domain import RefusalCode

_GEOMETRY = (("ImagePositionPatient", 3), ("ImageOrientationPatient", 6), ("PixelSpacing", 2))
_SKEW = 0.01
_SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"

_TILED = "a mosaic or grid tiles all slices of a volume into one image"

# Values of Image Type that say that an image is no slice of the patient (PS3.3 C.7.6.1.1.2).
_TELLING_IMAGE_TYPES = {
    "LOCALIZER": (RefusalCode.LOCALIZER, "a localizer is no slice of a volume"),
    "MOSAIC": (RefusalCode.MOSAIC, _TILED),
    "SCREEN SAVE": (
        RefusalCode.SECONDARY_CAPTURE,
        "a screen save is a picture of images, not a slice of the patient",
    ),
}


def identity(datasets: Sequence[Dataset]) -> None:
    """One study and one series, or `SeriesRefusedError`."""
    for keyword in ("StudyInstanceUID", "SeriesInstanceUID"):
        found = distinct(datasets, keyword)
        if len(found) > 1:
            refuse(
                RefusalCode.NOT_VOLUMETRIC,
                f"the objects belong to {len(found)} different ones by their {keyword}",
                keyword,
                found,
            )


def image(found: SourceImage) -> None:
    """Raises `SeriesRefusedError` for an image that no volume can hold."""
    _identified(found.ds)
    _kind(found)
    _image_type(found.ds)
    _tiles(found.ds)
    _pixels(found)
    _geometry(found.ds)


def _identified(ds: Dataset) -> None:
    for keyword in ("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID"):
        if text(ds, keyword) is None:
            refuse(RefusalCode.UNREADABLE_OBJECT, f"an object has no {keyword}", keyword)


def _kind(found: SourceImage) -> None:
    """CT and MR images, single-frame or with functional groups (PS3.3 A.3, A.4, A.36, A.38).

    A Modality that is absent is that of the SOP Class.
    """
    sop_class = UID(text(found.ds, "SOPClassUID") or "")
    examined, modality = EXAMINED_SOP_CLASSES.get(sop_class), text(found.ds, "Modality")
    if sop_class == _SECONDARY_CAPTURE or sop_class.startswith(_SECONDARY_CAPTURE + "."):
        refuse(
            RefusalCode.SECONDARY_CAPTURE,
            "a secondary capture is a picture of images, not a slice of the patient",
            "SOPClassUID",
            [sop_class],
        )
    if examined is None or modality not in (None, examined):
        shown = code_strings(found.ds, "Modality")
        refuse(
            RefusalCode.NOT_CT_OR_MR,
            "only CT and MR images of gray values are examined, not "
            f"{sop_class.name if sop_class.is_valid else '(invalid)'} of modality {shown}",
            "SOPClassUID, Modality",
            [sop_class, shown],
        )


def _image_type(ds: Dataset) -> None:
    found = texts(ds, "ImageType")
    for word in map(str.upper, found):
        if word in _TELLING_IMAGE_TYPES:
            code, sentence = _TELLING_IMAGE_TYPES[word]
            refuse(code, sentence, "ImageType", [code_strings(ds, "ImageType")])


def _tiles(ds: Dataset) -> None:
    """Siemens and UIH say how many images they tiled, in words that Image Type may have lost."""
    for group, element, creator in TILES:
        if Tag(group, 0x0010) not in ds:  # the only block that was read
            continue
        tiles = private_number(ds, group, element, creator)
        if tiles is not None and tiles > 1:
            refuse(RefusalCode.MOSAIC, _TILED, f"({group:04X},10{element:02X})", [f"{tiles:g}"])


def _pixels(found: SourceImage) -> None:
    """Gray values with a size (PS3.3 C.7.6.3)."""
    ds = found.ds
    if found.pixels is None:
        refuse(RefusalCode.NO_PIXEL_DATA, "an image has no pixel data", "PixelData")
    photometric = code_strings(ds, "PhotometricInterpretation")
    samples = number(ds, "SamplesPerPixel") or 1
    if photometric not in ("MONOCHROME1", "MONOCHROME2") or samples != 1:
        refuse(
            RefusalCode.NOT_MONOCHROME,
            f"an image holds pixels of Photometric Interpretation {photometric} with "
            f"{samples:g} samples, not gray values",
            "PhotometricInterpretation, SamplesPerPixel",
            [photometric, f"{samples:g}"],
        )
    for keyword in ("Rows", "Columns", "BitsAllocated"):
        if (number(ds, keyword) or 0) <= 0:
            refuse(
                RefusalCode.NO_PIXEL_DATA,
                f"{keyword} is absent or zero, so the pixel data can't be read",
                keyword,
            )
    check_length(found)


def _geometry(ds: Dataset) -> None:
    """A place in the patient (PS3.3 C.7.6.2)."""
    for keyword, count in _GEOMETRY:
        if numbers(ds, keyword, count) is None:
            refuse(RefusalCode.NO_GEOMETRY, f"an image has no valid {keyword}", keyword)
    cosines = np.array(numbers(ds, "ImageOrientationPatient", 6)).reshape(2, 3)
    lengths = np.linalg.norm(cosines, axis=1)
    if np.abs(lengths - 1).max() > _SKEW or abs(cosines[0] @ cosines[1]) > _SKEW:
        refuse(
            RefusalCode.NO_GEOMETRY,
            "the direction cosines are not two unit vectors at a right angle",
            "ImageOrientationPatient",
            distinct([ds], "ImageOrientationPatient"),
        )
    if min(numbers(ds, "PixelSpacing", 2) or (0.0,)) <= 0:
        refuse(
            RefusalCode.NO_GEOMETRY,
            "the pixel spacing is not positive",
            "PixelSpacing",
            distinct([ds], "PixelSpacing"),
        )
