"""A series as the headers of its slices: sorted, checked, or refused in plain language."""

from __future__ import annotations

import filecmp
import logging
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import pydicom
from pydicom.config import disable_value_validation
from pydicom.dataset import Dataset
from pydicom.uid import UID, DeflatedExplicitVRLittleEndian

from dicomnode.dicom import checks
from dicomnode.dicom.geometry import SliceGeometry
from dicomnode.dicom.header import PARSE_ERRORS, guard_deflated, is_of_the_machine, reason, text
from dicomnode.dicom.stack import sorted_stack
from dicomnode.domain import Refusal, RefusalCode
from dicomnode.errors import SeriesRefusedError

logger = logging.getLogger("dicomnode.dicom")

# All that the volume, the SEG and the evidence need of each slice; private groups stay on disk.
KEYWORDS = (
    "SpecificCharacterSet",
    "ImageType",
    "SOPClassUID",
    "SOPInstanceUID",
    "SeriesDate",
    "SeriesTime",
    "AcquisitionDate",
    "AcquisitionTime",
    "StudyDate",
    "StudyTime",
    "Modality",
    "BodyPartExamined",
    "SliceThickness",
    "EchoTime",
    "EchoNumbers",
    "InversionTime",
    "TriggerTime",
    "FlipAngle",
    "DiffusionBValue",
    "PatientIdentityRemoved",
    "DeidentificationMethod",
    "DeidentificationMethodCodeSequence",
    "StudyInstanceUID",
    "SeriesInstanceUID",
    "SeriesNumber",
    "AcquisitionNumber",
    "InstanceNumber",
    "TemporalPositionIdentifier",
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


@dataclass(frozen=True)
class PixelLocation:
    """Where the native pixel data of an object lie in its file; `offset` None: to be decoded."""

    offset: int | None
    length: int


@dataclass(frozen=True)
class SourceSeries:
    """The slices of one series as delivered: headers only, sorted along the slice normal.

    `frame_of_reference_uid` is None where the scanner gave none. `warnings` are sentences about
    what is unusual but could be dealt with.
    """

    datasets: tuple[Dataset, ...]
    paths: tuple[Path, ...]
    pixel_locations: tuple[PixelLocation, ...]
    geometry: SliceGeometry
    study_instance_uid: str
    series_instance_uid: str
    modality: str
    frame_of_reference_uid: str | None
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Slice:
    path: Path
    ds: Dataset
    pixels: PixelLocation | None


@disable_value_validation()
def read_series(paths: Sequence[Path]) -> SourceSeries:
    """Read and check the headers of one series of single-frame CT or MR objects.

    Raises `SeriesRefusedError` with the code, the sentence, the attribute and its values.
    """
    slices = _without_copies([_read_slice(path) for path in paths])
    checks.identity([item.ds for item in slices])
    checks.kind([item.ds for item in slices])
    located = [(item.path, item.ds, item.pixels) for item in slices if item.pixels is not None]
    checks.pixel_data_present(len(slices), len(located))
    checks.pixel_description([ds for _, ds, _ in located])
    geometry, order = sorted_stack([ds for _, ds, _ in located])
    located = [located[index] for index in order]
    datasets = tuple(ds for _, ds, _ in located)
    source = SourceSeries(
        datasets=datasets,
        paths=tuple(path for path, _, _ in located),
        pixel_locations=tuple(pixels for _, _, pixels in located),
        geometry=geometry,
        study_instance_uid=text(datasets[0], "StudyInstanceUID") or "",
        series_instance_uid=text(datasets[0], "SeriesInstanceUID") or "",
        modality=text(datasets[0], "Modality") or "",
        frame_of_reference_uid=checks.frame_of_reference(datasets),
        warnings=tuple(checks.unusual(datasets, geometry)),
    )
    context = {"series": source.series_instance_uid, "slices": len(datasets)}
    logger.info("series read", extra=context)
    return source


def _read_slice(path: Path) -> _Slice:
    try:
        with path.open("rb") as stream:
            guard_deflated(stream)
            ds = pydicom.dcmread(stream, stop_before_pixels=True, specific_tags=list(KEYWORDS))
            return _Slice(path, ds, _locate_pixels(stream, ds.file_meta.TransferSyntaxUID))
    except PARSE_ERRORS as error:
        if is_of_the_machine(error):
            raise
        raise SeriesRefusedError(
            Refusal(
                RefusalCode.UNREADABLE_OBJECT,
                f"one of the files can't be read as a DICOM object: {reason(error)}",
            )
        ) from error


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


def _without_copies(slices: list[_Slice]) -> list[_Slice]:
    """Each SOP Instance once; two different objects under one UID are refused."""
    kept: dict[str, _Slice] = {}
    for item in slices:
        uid = text(item.ds, "SOPInstanceUID") or ""
        first = kept.setdefault(uid, item)
        if first is not item and not filecmp.cmp(first.path, item.path, shallow=False):
            raise SeriesRefusedError(
                Refusal(
                    RefusalCode.DUPLICATE_POSITION,
                    "two different objects have the same SOP Instance UID",
                    "SOPInstanceUID",
                    (uid,),
                )
            )
    return list(kept.values())
