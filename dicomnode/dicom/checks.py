"""Is a series a volume? Each check passes, or raises with a code, a sentence, and the values."""

from __future__ import annotations

from collections.abc import Sequence

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

from dicomnode.dicom.geometry import SliceGeometry
from dicomnode.dicom.header import number, text, texts
from dicomnode.dicom.refusals import distinct, refuse
from dicomnode.domain import RefusalCode

_SINGLE_FRAME = {CTImageStorage, MRImageStorage}
_MULTI_FRAME = {
    EnhancedCTImageStorage,
    EnhancedMRImageStorage,
    LegacyConvertedEnhancedCTImageStorage,
    LegacyConvertedEnhancedMRImageStorage,
}
_SECONDARY_CAPTURE = UID("1.2.840.10008.5.1.4.1.1.7")


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
        found = distinct(datasets, keyword)
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


def frame_of_reference(datasets: Sequence[Dataset]) -> str | None:
    """The one Frame of Reference UID, or None where no image has one; see docs/conformance.md."""
    found = distinct(datasets, "FrameOfReferenceUID")
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


def _one_value(datasets: Sequence[Dataset], keyword: str, code: RefusalCode) -> None:
    found = distinct(datasets, keyword)
    if len(found) > 1:
        refuse(code, f"the images have {len(found)} different values of {keyword}", keyword, found)
