"""The images of a series: one header each, whether they came in one object or in hundreds."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import BinaryIO

import pydicom
from pydicom.dataset import Dataset, FileDataset
from pydicom.tag import Tag
from pydicom.uid import UID, DeflatedExplicitVRLittleEndian

from dicomnode.dicom.functional_groups import (
    FRAME_KEYWORDS,
    FUNCTIONAL_GROUPS,
    frame_headers,
    is_multi_frame,
)
from dicomnode.dicom.header import (
    PARSE_ERRORS,
    guard,
    is_of_the_machine,
    number,
    reason,
    tag_of,
    text,
)
from dicomnode.dicom.pixel_format import PixelFormat, pixel_format
from dicomnode.dicom.plain_header import PlainHeaders
from dicomnode.dicom.sop_classes import EXAMINED_SOP_CLASSES
from dicomnode.domain import Refusal, RefusalCode
from dicomnode.errors import SeriesRefusedError, UnreadableObjectError

# All that the volume, the SEG and the evidence need of each image; private groups stay on disk.
KEYWORDS = (
    "SpecificCharacterSet",
    "ImageType",
    "SOPClassUID",
    "SOPInstanceUID",
    "SeriesDate",
    "SeriesTime",
    "AcquisitionDate",
    "AcquisitionTime",
    "AcquisitionDateTime",
    "ContentDate",
    "ContentTime",
    "StudyDate",
    "StudyTime",
    "Modality",
    "BodyPartExamined",
    "ScanningSequence",
    "SequenceName",
    "EchoPlanarPulseSequence",
    "ConvolutionKernel",
    "FilterType",
    "KVP",
    "ReceiveCoilName",
    "ReconstructionDiameter",
    "SliceThickness",
    "ContrastBolusAgent",
    "EchoTime",
    "EchoNumbers",
    "InversionTime",
    "TriggerTime",
    "FlipAngle",
    "ComplexImageComponent",
    "DiffusionBValue",
    "DiffusionGradientOrientation",
    "PatientIdentityRemoved",
    "DeidentificationMethod",
    "DeidentificationMethodCodeSequence",
    "StudyInstanceUID",
    "SeriesInstanceUID",
    "SeriesNumber",
    "AcquisitionNumber",
    "InstanceNumber",
    "TemporalPositionIdentifier",
    "NominalPercentageOfCardiacPhase",
    "StackID",
    "ConcatenationUID",
    "InConcatenationNumber",
    "InConcatenationTotalNumber",
    "DimensionIndexValues",
    "ImagePositionPatient",
    "ImageOrientationPatient",
    "FrameOfReferenceUID",
    "SamplesPerPixel",
    "PhotometricInterpretation",
    "NumberOfFrames",
    "Rows",
    "Columns",
    "PixelSpacing",
    "BitsAllocated",
    "BitsStored",
    "HighBit",
    "PixelRepresentation",
    "PixelPaddingValue",
    "PixelPaddingRangeLimit",
    "BurnedInAnnotation",
    "RecognizableVisualFeatures",
    "RescaleIntercept",
    "RescaleSlope",
    "ModalityLUTSequence",
)
# How many images one picture is tiled of, with the creator of the private block it is read from.
TILES = ((0x0019, 0x0A, "SIEMENS MR HEADER"), (0x0065, 0x50, "Image Private Header"))
_TILE_TAGS = (0x00190010, 0x0019100A, 0x00650010, 0x00651050)
UNDEFINED_LENGTH = 0xFFFFFFFF
_NAMED = (*KEYWORDS, *FRAME_KEYWORDS, *FUNCTIONAL_GROUPS)
_READ = [*map(tag_of, _NAMED), *map(Tag, _TILE_TAGS)]
_KNOWN = frozenset(KEYWORDS)


@dataclass(frozen=True)
class PixelLocation:
    """Where the native pixel data of an image lie in its file; `offset` None: to be decoded."""

    offset: int | None
    length: int


@dataclass(frozen=True)
class SourceImage:
    """One slice as delivered: a single-frame image, or one frame of a multi-frame image.

    `ds` is the header that the image has, or would have, alone. `frame` counts from 0 and is None
    for a single-frame image; `frames` is how many its object has.
    """

    path: Path
    ds: Dataset
    pixels: PixelLocation | None
    transfer_syntax: UID
    frame: int | None = None
    frames: int = 1

    @cached_property
    def layout(self) -> PixelFormat:
        """Raises as `pixel_format`."""
        return pixel_format(self.ds)

    @property
    def order(self) -> tuple[float, int]:
        """The order in which the scanner numbered the images of a series."""
        return number(self.ds, "InstanceNumber") or 0.0, self.frame or 0


def plain_headers() -> PlainHeaders:
    """For the files of one series, which share most of what their headers say."""
    return PlainHeaders(_READ)


def read_images(path: Path, plain: PlainHeaders | None = None) -> tuple[SourceImage, ...]:
    """The images of one object: headers only, through `plain` where it can.

    Raises `SeriesRefusedError` for what is no DICOM object and for frames without a place, and
    `OSError` where the disk fails.
    """
    try:
        if plain is not None and (found := plain.read(path)) is not None:
            offset = None if found.transfer_syntax.is_compressed else found.pixels_at
            location = PixelLocation(offset, found.pixels_length)
            return _images(path, found.ds, location, found.transfer_syntax)
        with path.open("rb") as stream:
            guard(stream)
            ds = pydicom.dcmread(stream, stop_before_pixels=True, specific_tags=_READ)
            syntax = _transfer_syntax(ds)
            pixels = _locate_pixels(stream, syntax)
            return _images(path, ds, pixels, syntax)
    except PARSE_ERRORS as error:
        if is_of_the_machine(error):
            raise
        raise SeriesRefusedError(
            Refusal(
                RefusalCode.UNREADABLE_OBJECT,
                f"a file can't be read as a DICOM object: {reason(error)}",
            )
        ) from error


def _transfer_syntax(ds: FileDataset) -> UID:
    syntax = text(ds.file_meta, "TransferSyntaxUID")
    if syntax is None:
        raise UnreadableObjectError("it names no transfer syntax")
    return UID(syntax)


def _images(
    path: Path, ds: Dataset, pixels: PixelLocation | None, syntax: UID
) -> tuple[SourceImage, ...]:
    if text(ds, "SOPClassUID") not in EXAMINED_SOP_CLASSES or not is_multi_frame(ds):
        return (SourceImage(path, ds, pixels, syntax),)
    headers = frame_headers(ds, _KNOWN)
    return tuple(
        SourceImage(path, header, _of_frame(pixels, header, index), syntax, index, len(headers))
        for index, header in enumerate(headers)
    )


def _of_frame(pixels: PixelLocation | None, ds: Dataset, frame: int) -> PixelLocation | None:
    """Native frames follow each other without padding (PS3.5 8.1.1); what is left of them."""
    if pixels is None or pixels.offset is None or pixels.length == UNDEFINED_LENGTH:
        return pixels
    bits = (number(ds, "Rows") or 0) * (number(ds, "Columns") or 0)
    before = frame * int(bits * (number(ds, "BitsAllocated") or 0)) // 8
    return PixelLocation(pixels.offset + before, max(0, pixels.length - before))


def _locate_pixels(stream: BinaryIO, syntax: UID) -> PixelLocation | None:
    """The pixel data element at which reading stopped (PS3.5 7.1); None: there is none."""
    if syntax == DeflatedExplicitVRLittleEndian:
        return PixelLocation(offset=None, length=0)
    if not syntax.is_transfer_syntax:
        return PixelLocation(offset=None, length=0)  # unknown: decoding it says so
    endian = "<" if syntax.is_little_endian else ">"
    head = stream.read(8)
    if len(head) < 8 or struct.unpack(endian + "HH", head[:4]) != (0x7FE0, 0x0010):
        return None
    tail = head[4:] if syntax.is_implicit_VR else stream.read(4)
    (length,) = struct.unpack(endian + "L", tail)
    if syntax.is_compressed:
        return PixelLocation(offset=None, length=length)
    return PixelLocation(offset=stream.tell(), length=length)
