"""Is a series a volume? Each check passes, or raises with a code, a sentence, and the values."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NoReturn

import numpy as np
from pydicom.dataset import Dataset
from pydicom.uid import (
    UID,
    CTImageStorage,
    EnhancedCTImageStorage,
    EnhancedMRImageStorage,
    LegacyConvertedEnhancedCTImageStorage,
    LegacyConvertedEnhancedMRImageStorage,
    MRImageStorage,
)

from dicomnode.dicom.geometry import SliceGeometry, Vector
from dicomnode.dicom.header import number, numbers, text, texts, value
from dicomnode.domain import Refusal, RefusalCode
from dicomnode.errors import SeriesRefusedError

MINIMUM_SLICES = 4
MAXIMUM_GAP_MM = 30.0
SAME_DIRECTION = 1e-3  # largest difference of direction cosines; 0.25 mm over a field of 250 mm
SAME_POSITION_MM = 0.01

_SINGLE_FRAME = {CTImageStorage, MRImageStorage}
_MULTI_FRAME = {
    EnhancedCTImageStorage,
    EnhancedMRImageStorage,
    LegacyConvertedEnhancedCTImageStorage,
    LegacyConvertedEnhancedMRImageStorage,
}
_SECONDARY_CAPTURE = UID("1.2.840.10008.5.1.4.1.1.7")

# What tells images at one position apart, the most telling first.
_SEPARATORS = (
    "EchoTime",
    "EchoNumbers",
    "InversionTime",
    "FlipAngle",
    "DiffusionBValue",
    "TemporalPositionIdentifier",
    "TriggerTime",
    "AcquisitionNumber",
    "ImageType",
    "AcquisitionTime",
    "InstanceNumber",
)


def refuse(
    code: RefusalCode, sentence: str, attribute: str = "", values: Iterable[object] = ()
) -> NoReturn:
    """At most eight values, each at most 64 characters, so that a record stays readable."""
    shown = tuple(str(item)[:64] for item in values)
    if len(shown) > 8:
        shown = (*shown[:7], f"and {len(shown) - 7} more")
    raise SeriesRefusedError(Refusal(code, sentence, attribute, shown))


def identity(datasets: Sequence[Dataset]) -> None:
    """One study, one series, and a UID on everything."""
    if not datasets:
        refuse(RefusalCode.TOO_FEW_SLICES, "the series has no objects")
    for keyword in ("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID"):
        lacking = sum(text(ds, keyword) is None for ds in datasets)
        if lacking:
            refuse(
                RefusalCode.UNREADABLE_OBJECT,
                f"{lacking} of {len(datasets)} objects have no {keyword}",
                keyword,
            )
    for keyword in ("StudyInstanceUID", "SeriesInstanceUID"):
        found = _distinct(datasets, keyword)
        if len(found) > 1:
            refuse(
                RefusalCode.NOT_VOLUMETRIC,
                f"the objects belong to {len(found)} different ones by their {keyword}",
                keyword,
                found,
            )


def kind(datasets: Sequence[Dataset]) -> None:
    """Single-frame CT or MR images, no localizer, no mosaic (PS3.3 A.3, A.4, C.7.6.1.1.2)."""
    for ds in datasets:
        sop_class = UID(text(ds, "SOPClassUID") or "")
        modality = text(ds, "Modality") or ""
        if sop_class in _MULTI_FRAME or (number(ds, "NumberOfFrames") or 1) > 1:
            refuse(
                RefusalCode.MULTIFRAME,
                f"{sop_class.name} holds several frames in one object, which is not examined yet",
                "SOPClassUID",
                [sop_class],
            )
        if sop_class == _SECONDARY_CAPTURE or sop_class.startswith(_SECONDARY_CAPTURE + "."):
            refuse(
                RefusalCode.NOT_VOLUMETRIC,
                "a secondary capture is a picture of images, not a slice of the patient",
                "SOPClassUID",
                [sop_class],
            )
        if sop_class not in _SINGLE_FRAME or modality not in ("CT", "MR"):
            refuse(
                RefusalCode.NOT_CT_OR_MR,
                f"{sop_class.name} of modality {modality or '(none)'} is not a CT or MR image",
                "SOPClassUID, Modality",
                [sop_class, modality],
            )
    _image_type(datasets, "LOCALIZER", RefusalCode.LOCALIZER, "a localizer is no volume")
    _image_type(
        datasets, "MOSAIC", RefusalCode.MOSAIC, "a Siemens mosaic tiles its slices into one image"
    )


def _image_type(datasets: Sequence[Dataset], word: str, code: RefusalCode, why: str) -> None:
    having = [ds for ds in datasets if word in map(str.upper, texts(ds, "ImageType"))]
    if having:
        refuse(
            code,
            f"{len(having)} of {len(datasets)} images have {word} in Image Type: {why}",
            "ImageType",
            sorted({"\\".join(texts(ds, "ImageType")) for ds in having}),
        )


def pixel_data_present(images: int, with_pixels: int) -> None:
    if with_pixels < images:
        refuse(
            RefusalCode.NO_PIXEL_DATA,
            f"{images - with_pixels} of {images} images have no pixel data",
            "PixelData",
        )


def pixel_description(datasets: Sequence[Dataset]) -> None:
    """Gray values of one matrix size (PS3.3 C.7.6.3)."""
    for ds in datasets:
        photometric = text(ds, "PhotometricInterpretation")
        samples = number(ds, "SamplesPerPixel") or 1
        if photometric not in ("MONOCHROME1", "MONOCHROME2") or samples != 1:
            refuse(
                RefusalCode.NOT_MONOCHROME,
                f"the images hold {photometric or 'an unnamed kind of'} pixels with "
                f"{samples:g} samples, not gray values",
                "PhotometricInterpretation",
                [photometric, f"{samples:g}"],
            )
        for keyword in ("Rows", "Columns", "BitsAllocated"):
            if (number(ds, keyword) or 0) <= 0:
                refuse(
                    RefusalCode.NO_PIXEL_DATA,
                    f"{keyword} is absent or zero, so the pixel data can't be read",
                    keyword,
                )
    _one_value(datasets, "PhotometricInterpretation", RefusalCode.NOT_VOLUMETRIC)
    for keyword in ("Rows", "Columns"):
        _one_value(datasets, keyword, RefusalCode.MIXED_MATRIX)


def stack(datasets: Sequence[Dataset]) -> tuple[SliceGeometry, list[int]]:
    """The geometry of the sorted stack, and the order that sorts it.

    Which of two directions the normal has is given by the image orientation; slices are sorted
    along it.
    """
    orientation = _orientation(datasets)
    spacing = _pixel_spacing(datasets)
    positions = _positions(datasets)
    if len(datasets) < MINIMUM_SLICES:
        refuse(
            RefusalCode.TOO_FEW_SLICES,
            f"{len(datasets)} slices are too few for a volume; it takes {MINIMUM_SLICES}",
            "number of slices",
            [len(datasets)],
        )
    distances = positions @ np.cross(orientation[:3], orientation[3:])
    order = [int(index) for index in np.argsort(distances, kind="stable")]
    _no_duplicates([datasets[index] for index in order], distances[order], positions[order])
    geometry = SliceGeometry(
        positions_mm=positions[order],
        row_cosines=orientation[:3],
        column_cosines=orientation[3:],
        pixel_spacing_mm=spacing,
        rows=int(datasets[0].Rows),
        columns=int(datasets[0].Columns),
    )
    if geometry.gaps_mm.max() > MAXIMUM_GAP_MM:
        refuse(
            RefusalCode.IRREGULAR_SPACING,
            f"two neighbouring slices are {geometry.gaps_mm.max():.1f} mm apart, too far to know "
            "what lies between them",
            "ImagePositionPatient",
            [f"{gap:.2f}" for gap in np.unique(np.round(geometry.gaps_mm, 2))[::-1]],
        )
    return geometry, order


def frame_of_reference(datasets: Sequence[Dataset]) -> str | None:
    """The one Frame of Reference UID, or None where no image has one; see docs/conformance.md."""
    found = _distinct(datasets, "FrameOfReferenceUID")
    if len(found) > 1:
        refuse(
            RefusalCode.NO_FRAME_OF_REFERENCE,
            f"the images lie in {len(found)} different frames of reference",
            "FrameOfReferenceUID",
            found,
        )
    return text(datasets[0], "FrameOfReferenceUID")


def unusual(datasets: Sequence[Dataset], geometry: SliceGeometry) -> list[str]:
    """Sentences on what could be dealt with, for the record."""
    found: list[str] = []
    if text(datasets[0], "FrameOfReferenceUID") is None:
        found.append("the images have no Frame of Reference UID; the SEG has none either")
    if geometry.is_sheared:
        found.append(
            f"the stack is sheared by {geometry.tilt_degrees:.1f} degrees (gantry tilt); "
            "resampled for the networks"
        )
    if not geometry.is_evenly_spaced:
        found.append(
            f"slice distances vary from {geometry.gaps_mm.min():.2f} to "
            f"{geometry.gaps_mm.max():.2f} mm; resampled for the networks"
        )
    if text(datasets[0], "PhotometricInterpretation") == "MONOCHROME1":
        found.append("Photometric Interpretation is MONOCHROME1")
    if any("ModalityLUTSequence" in ds for ds in datasets):
        found.append("a Modality LUT is present and was not applied")
    return found


def _orientation(datasets: Sequence[Dataset]) -> Vector:
    found = _geometry_of_each(datasets, "ImageOrientationPatient", 6)
    row, column = found[:, :3], found[:, 3:]
    lengths = np.linalg.norm(found.reshape(-1, 3), axis=1)
    skew = np.abs(np.sum(row * column, axis=1))
    if np.abs(lengths - 1).max() > 0.01 or skew.max() > 0.01:
        refuse(
            RefusalCode.NO_GEOMETRY,
            "the direction cosines are not two unit vectors at a right angle",
            "ImageOrientationPatient",
            _distinct(datasets, "ImageOrientationPatient"),
        )
    if np.abs(found - found[0]).max() > SAME_DIRECTION:
        refuse(
            RefusalCode.MIXED_ORIENTATION,
            "the images have different orientations, so they are not slices of one stack",
            "ImageOrientationPatient",
            _distinct(datasets, "ImageOrientationPatient"),
        )
    first = row[0] / np.linalg.norm(row[0])
    second = column[0] - (column[0] @ first) * first
    return np.concatenate([first, second / np.linalg.norm(second)])


def _pixel_spacing(datasets: Sequence[Dataset]) -> tuple[float, float]:
    found = _geometry_of_each(datasets, "PixelSpacing", 2)
    if found.min() <= 0:
        refuse(
            RefusalCode.NO_GEOMETRY,
            "the pixel spacing is not positive",
            "PixelSpacing",
            _distinct(datasets, "PixelSpacing"),
        )
    if np.abs(found / found[0] - 1).max() > SAME_DIRECTION:
        refuse(
            RefusalCode.MIXED_MATRIX,
            "the images have different pixel spacings",
            "PixelSpacing",
            _distinct(datasets, "PixelSpacing"),
        )
    return float(found[0, 0]), float(found[0, 1])


def _positions(datasets: Sequence[Dataset]) -> Vector:
    return _geometry_of_each(datasets, "ImagePositionPatient", 3)


def _geometry_of_each(datasets: Sequence[Dataset], keyword: str, count: int) -> Vector:
    found = [numbers(ds, keyword, count) for ds in datasets]
    lacking = found.count(None)
    if lacking:
        refuse(
            RefusalCode.NO_GEOMETRY,
            f"{lacking} of {len(datasets)} images have no valid {keyword}",
            keyword,
        )
    return np.array(found, dtype=np.float64)


def _no_duplicates(ordered: Sequence[Dataset], distances: Vector, positions: Vector) -> None:
    """At most one image at each distance along the normal."""
    same = np.flatnonzero(np.diff(distances) < SAME_POSITION_MM)
    if not len(same):
        return
    at = int(same[0])
    if np.abs(positions[at + 1] - positions[at]).max() > 1.0:
        refuse(
            RefusalCode.NOT_VOLUMETRIC,
            "images lie side by side in one plane, so they are not one stack",
            "ImagePositionPatient",
            [_vector(positions[at]), _vector(positions[at + 1])],
        )
    together = [
        ds
        for ds, distance in zip(ordered, distances, strict=True)
        if abs(distance - distances[at]) < SAME_POSITION_MM
    ]
    separator, values = _what_differs(together)
    planes = len(distances) - len(same)
    reason = f"they differ in {separator}" if separator else "nothing tells them apart"
    refuse(
        RefusalCode.DUPLICATE_POSITION,
        f"{len(ordered)} images share {planes} positions: {len(together)} at one place, "
        f"{reason}; several volumes in one series are not examined yet",
        separator or "ImagePositionPatient",
        values or [_vector(positions[at])],
    )


def _what_differs(datasets: Sequence[Dataset]) -> tuple[str, list[str]]:
    for keyword in _SEPARATORS:
        found = _distinct(datasets, keyword)
        if len(found) > 1:
            return keyword, found
    return "", []


def _one_value(datasets: Sequence[Dataset], keyword: str, code: RefusalCode) -> None:
    found = _distinct(datasets, keyword)
    if len(found) > 1:
        refuse(code, f"the images have {len(found)} different values of {keyword}", keyword, found)


def _distinct(datasets: Sequence[Dataset], keyword: str) -> list[str]:
    found = {_shown(value(ds, keyword)) for ds in datasets}
    return sorted(found)


def _shown(found: object) -> str:
    if found is None:
        return "(absent)"
    if isinstance(found, Iterable) and not isinstance(found, str):
        return "\\".join(map(str, found))
    return str(found)


def _vector(position: Vector) -> str:
    return "\\".join(f"{item:g}" for item in position)
