"""Masks as one DICOM Segmentation object (PS3.3 A.51), a segment each, on the source slices."""

from __future__ import annotations

import hashlib
import logging
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import BinaryIO

import highdicom as hd
import numpy as np
from highdicom.coding_schemes import CodingSchemeIdentificationItem
from numpy.typing import NDArray
from pydicom.config import disable_value_validation
from pydicom.dataset import Dataset
from pydicom.filebase import DicomIO
from pydicom.filewriter import correct_ambiguous_vr_element, write_dataset
from pydicom.sr.codedict import codes
from pydicom.uid import UID, ExplicitVRLittleEndian

from dicomnode import __version__
from dicomnode.config import SegmentationSettings
from dicomnode.dicom.encoded import peek
from dicomnode.dicom.encoding import encoded_sequence
from dicomnode.dicom.file_format import split_file
from dicomnode.dicom.header import number
from dicomnode.dicom.references import refer_to_frames
from dicomnode.dicom.segment_codes import PRIVATE_SCHEME, SEGMENTS
from dicomnode.dicom.series import SourceStack
from dicomnode.dicom.source_images import (
    clean_source_images,
    slice_thickness_mm,
    valid_date_and_time,
)
from dicomnode.dicom.uids import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME, result_uid
from dicomnode.dicom.verification import verify_segmentation
from dicomnode.domain import ModelIdentity, SegmentationFile, SegmentKind
from dicomnode.durable import sync
from dicomnode.errors import SegmentationError

__all__ = ["verify_segmentation", "write_segmentation"]

logger = logging.getLogger("dicomnode.dicom")

_FRAMES = 0x52009230  # Per-Frame Functional Groups Sequence


@disable_value_validation()
def write_segmentation(
    masks: Mapping[ModelIdentity, NDArray[np.uint8]],
    source: SourceStack,
    *,
    series_instance_uid: str,
    sop_instance_uid: str,
    settings: SegmentationSettings,
    out: Path,
) -> SegmentationFile:
    """Write the masks (slice, row, column) as a BINARY SEG, explicit VR little endian, durably.

    Segments are numbered from 1 in the order of `SegmentKind`, and may overlap. They share one
    instance, because OHIF shows only the newest one of a SEG series (OHIF/Viewers 6243).
    The same arguments make the same bytes. Raises `SegmentationError` for no masks, for one of
    another shape, and for an empty one, which viewers can't load.
    """
    models = sorted(masks, key=lambda model: list(SegmentKind).index(model.kind))
    _check(masks, source)
    stack = _stack([masks[model] for model in models])
    seg = _build(stack, source, models, settings, series_instance_uid, sop_instance_uid)
    _keep_segment_number_per_frame(seg)
    refer_to_frames(seg, source)
    _make_reproducible(seg, source)
    if source.frame_of_reference_uid is None:
        del seg.FrameOfReferenceUID
        del seg.PositionReferenceIndicator
    segments = tuple(model.kind for model in models)
    sha256 = _save(seg, out)
    return SegmentationFile(
        segments, sop_instance_uid, series_instance_uid, out, sha256, _pixel_sha256(out)
    )


def _pixel_sha256(file: Path) -> str:
    """As the intake takes it: of the encoded value, which may be padded when it is written."""
    meta, data_set = split_file(file.read_bytes())
    return peek(data_set, meta.transfer_syntax_uid).pixel_sha256


def _check(masks: Mapping[ModelIdentity, NDArray[np.uint8]], source: SourceStack) -> None:
    if not masks:
        raise SegmentationError("there is no mask to write")
    if len({model.kind for model in masks}) < len(masks):
        raise SegmentationError("two masks are of the same kind")
    for model, mask in masks.items():
        if mask.shape != source.geometry.shape:
            raise SegmentationError(
                f"the {model.kind} mask has shape {mask.shape}, its series {source.geometry.shape}"
            )
        if not mask.any():
            raise SegmentationError(
                f"the {model.kind} mask is empty; viewers can't load an empty segment"
            )


class _Stack(np.ndarray[tuple[int, int, int, int], np.dtype[np.bool_]]):
    """Axes (slice, row, column, segment), made slice by slice of masks that lie where they lie.

    Whole it would take as much memory as the masks, and to see whether segments overlap highdicom
    sums it up, for which NumPy takes eight bytes a voxel: 1.3 GB for 600 slices of 512 x 512. What
    highdicom does not ask for is an error; `verify_segmentation` sees the rest.
    """

    masks: Sequence[NDArray[np.uint8]]

    def __getitem__(self, index: object) -> NDArray[np.bool_]:
        if not isinstance(index, int | np.integer):
            raise TypeError(f"only whole slices are made, not {index!r}")
        planes = np.stack([mask[index] != 0 for mask in self.masks])
        return np.moveaxis(planes, 0, -1)  # each segment in one piece: read twice as fast

    def __iter__(self) -> Iterator[NDArray[np.bool_]]:
        return (self[index] for index in range(len(self)))

    def max(self) -> bool:  # type: ignore[override]
        return any(mask.any() for mask in self.masks)

    def sum(self, axis: int) -> NDArray[np.uint8]:  # type: ignore[override]
        """The largest sum in each slice: highdicom asks whether any is above 1."""
        assert axis == -1
        marked = ([mask[index] != 0 for mask in self.masks] for index in range(len(self)))
        return np.array([np.add.reduce(each, 0, np.uint8).max() for each in marked], np.uint8)


def _stack(masks: Sequence[NDArray[np.uint8]]) -> _Stack:
    made = np.broadcast_to(np.False_, (*masks[0].shape, len(masks))).view(_Stack)
    made.masks = masks
    return made


def _build(
    stack: _Stack,
    source: SourceStack,
    models: Sequence[ModelIdentity],
    settings: SegmentationSettings,
    series_instance_uid: str,
    sop_instance_uid: str,
) -> Dataset:
    clean = clean_source_images(source)
    if clean.repairs:
        context = {"series": source.series_instance_uid, "repairs": clean.repairs}
        logger.warning("source header repaired for SEG", extra=context)
    segments = [SEGMENTS[model.kind] for model in models]
    private = any(item.type.scheme_designator == PRIVATE_SCHEME for item in segments)
    networks = hashlib.sha256("\n".join(model.sha256 for model in models).encode())
    try:
        seg = hd.seg.Segmentation(
            source_images=clean.images,
            pixel_array=stack,
            segmentation_type=hd.seg.SegmentationTypeValues.BINARY,
            segment_descriptions=[_describe(*item) for item in enumerate(models, start=1)],
            series_instance_uid=series_instance_uid,
            series_number=_series_number(source, settings),
            sop_instance_uid=sop_instance_uid,
            instance_number=1,
            manufacturer="dicomnode",
            manufacturer_model_name="dicomnode",
            software_versions=__version__,
            device_serial_number=networks.hexdigest()[:16],
            content_label="MASKS",
            content_description=", ".join(item.label for item in segments)[:64],
            content_creator_name="Dicomnode^Automatic",
            series_description=_description(source, settings),
            coding_schemes=[_private_scheme()] if private else None,
            pixel_measures=_pixel_measures(source),
            transfer_syntax_uid=ExplicitVRLittleEndian,
            omit_empty_frames=True,
        )
    except (ValueError, TypeError, AttributeError, KeyError) as error:
        raise SegmentationError(f"the SEG could not be made: {error}") from error
    # Names bypass highdicom, which would write an unusual one into its log.
    seg.PatientName, seg.ReferringPhysicianName = clean.patient_name, clean.referring_physician
    return seg


def _describe(segment_number: int, model: ModelIdentity) -> hd.seg.SegmentDescription:
    codes_of_kind = SEGMENTS[model.kind]
    return hd.seg.SegmentDescription(
        segment_number=segment_number,
        segment_label=codes_of_kind.label,
        segmented_property_category=codes_of_kind.category,
        segmented_property_type=codes_of_kind.type,
        algorithm_type=hd.seg.SegmentAlgorithmTypeValues.AUTOMATIC,
        algorithm_identification=hd.AlgorithmIdentificationSequence(
            name=model.name[:64],
            family=codes.DCM.ArtificialIntelligence,
            version=model.version[:64],
            parameters={"sha256": model.sha256},
        ),
        display_color=codes_of_kind.colour,
    )


def _private_scheme() -> CodingSchemeIdentificationItem:
    return CodingSchemeIdentificationItem(
        PRIVATE_SCHEME,
        name="dicomnode private codes",
        responsible_organization="dicomnode",
    )


def _pixel_measures(source: SourceStack) -> hd.PixelMeasuresSequence:
    """The spacing between slices only where it is the same everywhere."""
    geometry = source.geometry
    return hd.PixelMeasuresSequence(
        pixel_spacing=[float(item) for item in source.datasets[0].PixelSpacing],
        slice_thickness=slice_thickness_mm(source),
        spacing_between_slices=(
            round(geometry.slice_spacing_mm, 6) if geometry.is_evenly_spaced else None
        ),
    )


def _keep_segment_number_per_frame(seg: Dataset) -> None:
    """highdicom shares what is equal in all frames; dcmjs and older viewers look for the
    Segment Identification (PS3.3 C.8.20.3.1) in each frame only."""
    shared = seg.SharedFunctionalGroupsSequence[0]
    if "SegmentIdentificationSequence" in shared:
        for item in seg.PerFrameFunctionalGroupsSequence:
            item.SegmentIdentificationSequence = shared.SegmentIdentificationSequence
        del shared.SegmentIdentificationSequence


def _description(source: SourceStack, settings: SegmentationSettings) -> str:
    """Of several volumes in a series each says which one it is of."""
    label = f" ({source.label})" if source.label else ""
    return f"{settings.series_description}{label}"[:64]


def _series_number(source: SourceStack, settings: SegmentationSettings) -> int:
    """The source's number plus an offset, within what VR IS and viewers can hold."""
    given = int(number(source.datasets[0], "SeriesNumber") or 0)
    total = settings.series_number_offset + max(given, 0)
    return total if 1 <= total <= 2**31 - 1 else max(settings.series_number_offset, 1)


def _make_reproducible(seg: Dataset, source: SourceStack) -> None:
    """Replace the clock and random UIDs that highdicom puts in."""
    date, time = valid_date_and_time(source)
    for keyword in ("ContentDate", "SeriesDate"):
        setattr(seg, keyword, date)
    for keyword in ("ContentTime", "SeriesTime"):
        setattr(seg, keyword, time)
    for keyword in ("InstanceCreationDate", "InstanceCreationTime"):
        if keyword in seg:
            delattr(seg, keyword)
    for item in seg.get("ContributingEquipmentSequence", []):
        if "ContributionDateTime" in item:
            del item.ContributionDateTime
    organization = result_uid(seg.SOPInstanceUID, "dimension organization")
    for sequence in (seg.DimensionOrganizationSequence, seg.DimensionIndexSequence):
        for item in sequence:
            item.DimensionOrganizationUID = organization
    seg.file_meta.ImplementationClassUID = UID(IMPLEMENTATION_CLASS_UID)
    seg.file_meta.ImplementationVersionName = IMPLEMENTATION_VERSION_NAME


def _write(seg: Dataset, stream: BinaryIO) -> None:
    """As `seg.save_as`, but for the groups of the frames, which pydicom takes seconds for."""
    head, tail = seg[:_FRAMES], seg[_FRAMES + 1 :]
    head.file_meta = seg.file_meta
    head.save_as(stream, implicit_vr=False, little_endian=True, enforce_file_format=True)
    stream.write(encoded_sequence(_FRAMES, seg[_FRAMES].value))
    correct_ambiguous_vr_element(tail["PixelData"], seg, is_little_endian=True)
    rest = DicomIO(stream)
    rest.is_implicit_VR, rest.is_little_endian = False, True
    write_dataset(rest, tail)


def _save(seg: Dataset, out: Path) -> str:
    """Temporary file, fsync, rename, directory fsync; the digest of the bytes."""
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=out.parent, prefix=".seg-")
    except OSError as error:
        raise SegmentationError(f"{out}: the SEG could not be written: {error}") from error
    try:
        with os.fdopen(handle, "w+b") as stream:
            _write(seg, stream)
            stream.flush()
            os.fsync(stream.fileno())
            stream.seek(0)
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
        Path(name).replace(out)
    except OSError as error:
        Path(name).unlink(missing_ok=True)
        raise SegmentationError(f"{out}: the SEG could not be written: {error}") from error
    sync(out.parent)
    return digest
