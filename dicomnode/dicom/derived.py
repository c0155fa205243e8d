"""Objects derived from the images of a series: the same but for pixels, UIDs and what says so.

Every SOP class goes in and out as it is; compressed objects come out native, Explicit VR Little
Endian. What could carry the old picture in another place (icons, overlays, private elements,
graphics burned into attributes) does not come along.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.config import disable_value_validation
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence as Items
from pydicom.uid import UID, ExplicitVRLittleEndian

from dicomnode import __version__
from dicomnode.dicom.header import guard
from dicomnode.dicom.images import SourceImage
from dicomnode.dicom.pixel_format import PixelFormat, pixel_format
from dicomnode.dicom.uids import (
    IMPLEMENTATION_CLASS_UID,
    IMPLEMENTATION_VERSION_NAME,
    result_uid,
)

Stored = NDArray[np.integer[Any]]

# A picture, or a place for one, that is not the pixel data.
_PICTURES_ELSEWHERE = (
    "IconImageSequence",
    "FloatPixelData",
    "DoubleFloatPixelData",
    "ExtendedOffsetTable",
    "ExtendedOffsetTableLengths",
    "SmallestImagePixelValue",
    "LargestImagePixelValue",
    "SmallestPixelValueInSeries",
    "LargestPixelValueInSeries",
    "DigitalSignaturesSequence",
    "MACParametersSequence",
    "GraphicAnnotationSequence",
)
_OVERLAYS, _CURVES = range(0x6000, 0x6020, 2), range(0x5000, 0x5020, 2)


@dataclass(frozen=True)
class Code:
    value: str
    scheme: str
    meaning: str

    def item(self) -> Dataset:
        ds = Dataset()
        ds.CodeValue, ds.CodingSchemeDesignator, ds.CodeMeaning = (
            self.value,
            self.scheme,
            self.meaning,
        )
        return ds


PIXEL_BY_PIXEL_MASK = Code("113047", "DCM", "Pixel by pixel mask")
SOURCE_IMAGE = Code("121322", "DCM", "Source image for image processing operation")
PROCESSING_EQUIPMENT = Code("109102", "DCM", "Processing Equipment")


@dataclass(frozen=True)
class Derivation:
    """What makes the UIDs of the result, and what its headers say of how it was made.

    `series_instance_uid` is that of the result; `method` is part of every new SOP Instance UID, so
    the same series changed in the same way has the same UIDs.
    """

    series_instance_uid: str
    method: str
    description: str
    series_description_suffix: str


@dataclass(frozen=True)
class Headers:
    """What becomes of a header as it came, before the result says what it is itself.

    `identity` is a part of every new UID: other headers are other objects.
    """

    change: Callable[[Dataset], None] = lambda _: None
    identity: str = ""


AS_THEY_CAME = Headers()


def sop_instance_uid(source: str, derivation: Derivation) -> str:
    return result_uid("derived", source, derivation.method)


@disable_value_validation()
def write_derived(
    images: Sequence[SourceImage],
    planes: Sequence[Stored],
    derivation: Derivation,
    change: Callable[[Dataset], None],
    out: Path,
) -> list[Path]:
    """Write the objects of these images with other stored values; `change` comes first.

    `planes[k]` are the stored values of `images[k]`. Frames that are not among `images` would
    leave unchanged, so an object of which one is missing raises `ValueError`.
    """
    out.mkdir(parents=True, exist_ok=True)
    written = []
    for number, (path, frames) in enumerate(_by_object(images).items(), start=1):
        if len(frames) != images[frames[0]].frames:
            raise ValueError(f"{len(frames)} of {images[frames[0]].frames} frames are given")
        with path.open("rb") as stream:
            guard(stream)
            ds = pydicom.dcmread(stream)
        ordered = sorted(frames, key=lambda index: images[index].frame or 0)
        change(ds)
        _replace_pixels(ds, [planes[index] for index in ordered])
        _describe(ds, derivation)
        target = out / f"{number:05d}.dcm"
        ds.file_meta = _file_meta(ds)
        ds.save_as(target, enforce_file_format=True)
        written.append(target)
    return written


def _by_object(images: Sequence[SourceImage]) -> Mapping[Path, list[int]]:
    found: dict[Path, list[int]] = {}
    for index, image in enumerate(images):
        found.setdefault(image.path, []).append(index)
    return found


def _replace_pixels(ds: Dataset, planes: Sequence[Stored]) -> None:
    layout = pixel_format(ds)
    kind = np.dtype(f"<u{layout.bits_allocated // 8}")
    data = b"".join(_packed(plane, layout, kind).tobytes() for plane in planes)
    ds.PixelData = data if len(data) % 2 == 0 else data + b"\0"
    ds["PixelData"].VR = "OW" if layout.bits_allocated > 8 else "OB"
    for keyword in _PICTURES_ELSEWHERE:
        if keyword in ds:
            del ds[keyword]
    hidden = [e.tag for e in ds if e.tag.group in _OVERLAYS or e.tag.group in _CURVES]
    for tag in hidden:
        del ds[tag]
    ds.remove_private_tags()


def _packed(plane: Stored, layout: PixelFormat, kind: np.dtype[Any]) -> NDArray[Any]:
    """As the header says that values lie in their bits (PS3.5 8.1.1); unused bits are zero."""
    shift = layout.high_bit + 1 - layout.bits_stored
    used = kind.type((1 << layout.bits_stored) - 1)
    return np.asarray((plane.astype(kind) & used) << kind.type(shift))


def _describe(ds: Dataset, derivation: Derivation) -> None:
    """PS3.3 C.7.6.1.1.2 (Image Type), C.7.6.1 (Derivation), C.12.1 (Contributing Equipment)."""
    source_class, source_instance = str(ds.SOPClassUID), str(ds.SOPInstanceUID)
    kinds = [str(kind) for kind in ds.get("ImageType") or ("ORIGINAL", "PRIMARY")]
    ds.ImageType = ["DERIVED", *kinds[1:]]
    _derived_frames(ds)
    ds.SOPInstanceUID = sop_instance_uid(source_instance, derivation)
    ds.SeriesInstanceUID = UID(derivation.series_instance_uid)
    ds.DerivationDescription = derivation.description
    ds.DerivationCodeSequence = Items([PIXEL_BY_PIXEL_MASK.item()])
    said = str(ds.get("SeriesDescription") or "").strip()
    ds.SeriesDescription = f"{said} {derivation.series_description_suffix}".strip()[:64]
    reference = Dataset()
    reference.ReferencedSOPClassUID = source_class
    reference.ReferencedSOPInstanceUID = source_instance
    reference.PurposeOfReferenceCodeSequence = Items([SOURCE_IMAGE.item()])
    ds.SourceImageSequence = Items([reference])
    add_contribution(ds, derivation.description)


def add_contribution(ds: Dataset, description: str) -> None:
    """What this node did to the object (PS3.3 C.12.1, Contributing Equipment)."""
    equipment = Dataset()
    equipment.Manufacturer = "dicomnode"
    equipment.ManufacturerModelName = "dicomnode"
    equipment.SoftwareVersions = __version__
    equipment.ContributionDescription = description
    equipment.PurposeOfReferenceCodeSequence = Items([PROCESSING_EQUIPMENT.item()])
    earlier = list(ds.get("ContributingEquipmentSequence") or ())
    ds.ContributingEquipmentSequence = Items([*earlier, equipment])


def _derived_frames(ds: Dataset) -> None:
    """Enhanced images say of each frame what kind it is (PS3.3 C.8.13.3.1, C.8.15.3.8)."""
    groups = [
        *(ds.get("SharedFunctionalGroupsSequence") or ()),
        *(ds.get("PerFrameFunctionalGroupsSequence") or ()),
    ]
    for group in groups:
        for keyword in ("MRImageFrameTypeSequence", "CTImageFrameTypeSequence"):
            for item in group.get(keyword) or ():
                kinds = [str(kind) for kind in item.get("FrameType") or ("ORIGINAL", "PRIMARY")]
                item.FrameType = ["DERIVED", *kinds[1:]]


def _file_meta(ds: Dataset) -> FileMetaDataset:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = ds.SOPClassUID
    meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.ImplementationClassUID = UID(IMPLEMENTATION_CLASS_UID)
    meta.ImplementationVersionName = IMPLEMENTATION_VERSION_NAME
    return meta
