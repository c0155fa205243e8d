"""Masks as DICOM Segmentation objects (PS3.3 A.51), one segment each, against the source slices."""

from __future__ import annotations

import hashlib
import logging
import os
import tempfile
from pathlib import Path

import highdicom as hd
import numpy as np
from highdicom.coding_schemes import CodingSchemeIdentificationItem
from numpy.typing import NDArray
from pydicom.config import disable_value_validation
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes
from pydicom.uid import UID, ExplicitVRLittleEndian

from dicomnode import __version__
from dicomnode.config import SegmentationSettings
from dicomnode.dicom.header import number
from dicomnode.dicom.segment_codes import PRIVATE_SCHEME, SEGMENTS
from dicomnode.dicom.series import SourceSeries
from dicomnode.dicom.source_images import (
    clean_source_images,
    slice_thickness_mm,
    valid_date_and_time,
)
from dicomnode.dicom.uids import IMPLEMENTATION_CLASS_UID, result_uid
from dicomnode.dicom.verification import verify_segmentation
from dicomnode.domain import ModelIdentity, SegmentationFile, SegmentKind
from dicomnode.errors import SegmentationError

__all__ = ["verify_segmentation", "write_segmentation"]

logger = logging.getLogger("dicomnode.dicom")


@disable_value_validation()
def write_segmentation(
    mask: NDArray[np.uint8],
    source: SourceSeries,
    *,
    kind: SegmentKind,
    model: ModelIdentity,
    series_instance_uid: str,
    sop_instance_uid: str,
    instance_number: int,
    settings: SegmentationSettings,
    out: Path,
    own_series: bool = False,
) -> SegmentationFile:
    """Write the mask (slice, row, column) as a BINARY SEG, explicit VR little endian, durably.

    `own_series` puts the kind into the Series Description, for kinds that don't share a series:
    OHIF shows the newest instance of a SEG series only (OHIF/Viewers 6243).
    The same arguments make the same bytes. Raises `SegmentationError` for a mask of another
    shape, and for an empty one unless `settings.send_empty`.
    """
    _check(mask, source, kind, settings)
    seg = _build(mask, source, kind, model, settings, series_instance_uid, sop_instance_uid)
    seg.InstanceNumber = instance_number
    if own_series:
        seg.SeriesDescription = f"{settings.series_description}: {SEGMENTS[kind].label}"[:64]
    _keep_segment_number_per_frame(seg)
    _make_reproducible(seg, source)
    if source.frame_of_reference_uid is None:
        del seg.FrameOfReferenceUID
        del seg.PositionReferenceIndicator
    return SegmentationFile(kind, sop_instance_uid, series_instance_uid, out, _save(seg, out))


def _build(
    mask: NDArray[np.uint8],
    source: SourceSeries,
    kind: SegmentKind,
    model: ModelIdentity,
    settings: SegmentationSettings,
    series_instance_uid: str,
    sop_instance_uid: str,
) -> Dataset:
    clean = clean_source_images(source)
    if clean.repairs:
        context = {"series": source.series_instance_uid, "repairs": clean.repairs}
        logger.warning("source header repaired for SEG", extra=context)
    segment = SEGMENTS[kind]
    private = segment.type.scheme_designator == PRIVATE_SCHEME
    try:
        seg = hd.seg.Segmentation(
            source_images=clean.images,
            pixel_array=mask.astype(bool, copy=False),
            segmentation_type=hd.seg.SegmentationTypeValues.BINARY,
            segment_descriptions=[_describe(kind, model)],
            series_instance_uid=series_instance_uid,
            series_number=_series_number(source, settings),
            sop_instance_uid=sop_instance_uid,
            instance_number=1,
            manufacturer="dicomnode",
            manufacturer_model_name="dicomnode",
            software_versions=__version__,
            device_serial_number=model.sha256[:16] or "unknown",
            content_label=kind.name,
            content_description=segment.label,
            content_creator_name="Dicomnode^Automatic",
            series_description=settings.series_description,
            coding_schemes=[_private_scheme()] if private else None,
            pixel_measures=_pixel_measures(source),
            transfer_syntax_uid=ExplicitVRLittleEndian,
            omit_empty_frames=bool(mask.any()),
        )
    except (ValueError, TypeError, AttributeError, KeyError) as error:
        raise SegmentationError(f"the {kind} SEG could not be made: {error}") from error
    # Names bypass highdicom, which would write an unusual one into its log.
    seg.PatientName, seg.ReferringPhysicianName = clean.patient_name, clean.referring_physician
    return seg


def _check(
    mask: NDArray[np.uint8], source: SourceSeries, kind: SegmentKind, settings: SegmentationSettings
) -> None:
    if mask.shape != source.geometry.shape:
        raise SegmentationError(
            f"the {kind} mask has shape {mask.shape}, its series {source.geometry.shape}"
        )
    if not settings.send_empty and not mask.any():
        raise SegmentationError(f"the {kind} mask is empty; viewers can't load an empty SEG")


def _describe(kind: SegmentKind, model: ModelIdentity) -> hd.seg.SegmentDescription:
    codes_of_kind = SEGMENTS[kind]
    return hd.seg.SegmentDescription(
        segment_number=1,
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


def _pixel_measures(source: SourceSeries) -> hd.PixelMeasuresSequence:
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


def _series_number(source: SourceSeries, settings: SegmentationSettings) -> int:
    """The source's number plus an offset, within what VR IS and viewers can hold."""
    given = int(number(source.datasets[0], "SeriesNumber") or 0)
    total = settings.series_number_offset + max(given, 0)
    return total if 1 <= total <= 2**31 - 1 else max(settings.series_number_offset, 1)


def _make_reproducible(seg: Dataset, source: SourceSeries) -> None:
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
    seg.file_meta.ImplementationVersionName = f"DICOMNODE_{__version__}"[:16]


def _save(seg: Dataset, out: Path) -> str:
    """Temporary file, fsync, rename, directory fsync; the digest of the bytes."""
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=out.parent, prefix=".seg-")
    except OSError as error:
        raise SegmentationError(f"{out}: the SEG could not be written: {error}") from error
    try:
        with os.fdopen(handle, "w+b") as stream:
            seg.save_as(stream, enforce_file_format=True)
            stream.flush()
            os.fsync(stream.fileno())
            stream.seek(0)
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
        Path(name).replace(out)
    except OSError as error:
        Path(name).unlink(missing_ok=True)
        raise SegmentationError(f"{out}: the SEG could not be written: {error}") from error
    folder = os.open(out.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
    return digest
