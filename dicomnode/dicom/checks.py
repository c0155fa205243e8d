"""Can this image be a slice of a volume? Passes, or refuses with a code, a sentence, the values.

The sentences speak of images in general, so that the same finding in many images is one record.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from pydicom.dataset import Dataset
from pydicom.uid import UID

from dicomnode.dicom.header import number, numbers, text, texts
from dicomnode.dicom.images import SourceImage
from dicomnode.dicom.refusals import distinct, refuse
from dicomnode.dicom.sop_classes import EXAMINED_SOP_CLASSES
from dicomnode.domain import RefusalCode

_GEOMETRY = (("ImagePositionPatient", 3), ("ImageOrientationPatient", 6), ("PixelSpacing", 2))
_SKEW = 0.01
_SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"

# Values of Image Type that say that an image is no slice of the patient (PS3.3 C.7.6.1.1.2).
_TELLING_IMAGE_TYPES = {
    "LOCALIZER": (RefusalCode.LOCALIZER, "a localizer is no slice of a volume"),
    "MOSAIC": (RefusalCode.MOSAIC, "a Siemens mosaic tiles all slices of a volume into one image"),
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
    _pixels(found)
    _geometry(found.ds)


def _identified(ds: Dataset) -> None:
    for keyword in ("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID"):
        if text(ds, keyword) is None:
            refuse(RefusalCode.UNREADABLE_OBJECT, f"an object has no {keyword}", keyword)


def _kind(found: SourceImage) -> None:
    """CT and MR images, single-frame or with functional groups (PS3.3 A.3, A.4, A.36, A.38)."""
    sop_class = UID(text(found.ds, "SOPClassUID") or "")
    modality = text(found.ds, "Modality") or ""
    if sop_class == _SECONDARY_CAPTURE or sop_class.startswith(_SECONDARY_CAPTURE + "."):
        refuse(
            RefusalCode.SECONDARY_CAPTURE,
            "a secondary capture is a picture of images, not a slice of the patient",
            "SOPClassUID",
            [sop_class],
        )
    if EXAMINED_SOP_CLASSES.get(sop_class) != modality:
        refuse(
            RefusalCode.NOT_CT_OR_MR,
            f"{sop_class.name} of modality {modality or '(none)'} is not a CT or MR image",
            "SOPClassUID, Modality",
            [sop_class, modality],
        )


def _image_type(ds: Dataset) -> None:
    found = texts(ds, "ImageType")
    for word in map(str.upper, found):
        if word in _TELLING_IMAGE_TYPES:
            code, sentence = _TELLING_IMAGE_TYPES[word]
            refuse(code, sentence, "ImageType", ["\\".join(found)])


def _pixels(found: SourceImage) -> None:
    """Gray values with a size (PS3.3 C.7.6.3)."""
    ds = found.ds
    if found.pixels is None:
        refuse(RefusalCode.NO_PIXEL_DATA, "an image has no pixel data", "PixelData")
    photometric = text(ds, "PhotometricInterpretation")
    samples = number(ds, "SamplesPerPixel") or 1
    if photometric not in ("MONOCHROME1", "MONOCHROME2") or samples != 1:
        refuse(
            RefusalCode.NOT_MONOCHROME,
            f"an image holds {photometric or 'an unnamed kind of'} pixels with "
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
