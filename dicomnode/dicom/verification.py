"""A SEG is read again from disk and must hold the masks, on the right slices, at the right place.

Read with pydicom alone, bit by bit: what wrote it must not be what finds it right.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.config import disable_value_validation
from pydicom.dataset import Dataset

from dicomnode.dicom.geometry import SliceGeometry, Vector
from dicomnode.dicom.header import PARSE_ERRORS, reason
from dicomnode.dicom.references import reference, reference_in
from dicomnode.dicom.segment_codes import SEGMENTS
from dicomnode.dicom.series import SourceStack
from dicomnode.domain import ModelIdentity, SegmentationFile
from dicomnode.errors import SegmentationError

MAXIMUM_CENTROID_ERROR_MM = 0.01
_POSITION_TOLERANCE_MM = 1e-3


@disable_value_validation()
def verify_segmentation(
    file: SegmentationFile,
    masks: Mapping[ModelIdentity, NDArray[np.uint8]],
    source: SourceStack,
) -> None:
    """Compare every voxel and the centroid in patient millimetres, segment by segment.

    Raises `SegmentationError` with the first thing that is wrong.
    """
    try:
        seg = pydicom.dcmread(file.path)
        _same_study(seg, file, source)
        frames = _frames_by_segment(seg)
        models = _models_by_segment(seg, file, masks)
        if set(frames) != set(models):
            raise SegmentationError(f"{file.path.name}: frames of segments {sorted(frames)}")
        for number, model in models.items():
            decoded, weighted = _decode(seg, frames[number], source)
            _same_mask(f"{file.path.name}, {model.kind}", decoded, weighted, masks[model], source)
    except PARSE_ERRORS as error:
        raise SegmentationError(
            f"{file.path.name}: can't be read again: {reason(error)}"
        ) from error


def _models_by_segment(
    seg: Dataset, file: SegmentationFile, masks: Mapping[ModelIdentity, NDArray[np.uint8]]
) -> dict[int, ModelIdentity]:
    """Segment numbers with the network that each says it is of."""
    model_of = {model.kind: model for model in masks}
    models = {}
    for kind, segment in zip(file.segments, seg.SegmentSequence, strict=True):
        (algorithm,) = segment.SegmentationAlgorithmIdentificationSequence
        (coded,) = segment.SegmentedPropertyTypeCodeSequence
        said = (coded.CodeValue, algorithm.AlgorithmName)
        if said != (SEGMENTS[kind].type.value, model_of[kind].name[:64]):
            raise SegmentationError(f"{file.path.name}: segment {kind} says it is {said}")
        models[int(segment.SegmentNumber)] = model_of[kind]
    if list(models) != list(range(1, len(masks) + 1)):
        raise SegmentationError(f"{file.path.name}: segments {list(models)} of {len(masks)}")
    return models


def _same_mask(
    name: str,
    decoded: NDArray[np.bool_],
    weighted: Vector,
    mask: NDArray[np.uint8],
    source: SourceStack,
) -> None:
    slices = zip(decoded, mask, strict=True)
    wrong = sum(int(np.count_nonzero(found != (given != 0))) for found, given in slices)
    if wrong:
        raise SegmentationError(f"{name}: {wrong} voxels differ from the mask")
    expected = _as_delivered(source).centroid_lps_mm(mask)
    if expected is not None:
        error_mm = float(np.linalg.norm(weighted - expected))
        if not error_mm <= MAXIMUM_CENTROID_ERROR_MM:
            raise SegmentationError(f"{name}: centroid is off by {error_mm:.3f} mm")


def _as_delivered(source: SourceStack) -> SliceGeometry:
    """The geometry with the direction cosines as rounded by the scanner, which the SEG repeats."""
    cosines = np.array(source.datasets[0].ImageOrientationPatient, dtype=float)
    return replace(source.geometry, row_cosines=cosines[:3], column_cosines=cosines[3:])


def _same_study(seg: Dataset, file: SegmentationFile, source: SourceStack) -> None:
    expected = {
        "SOPInstanceUID": file.sop_instance_uid,
        "SeriesInstanceUID": file.series_instance_uid,
        "StudyInstanceUID": source.study_instance_uid,
        "FrameOfReferenceUID": source.frame_of_reference_uid,
    }
    for keyword, uid in expected.items():
        if seg.get(keyword) != uid:
            raise SegmentationError(f"{file.path.name}: {keyword} is not what it should be")
    referenced = seg.ReferencedSeriesSequence[0].SeriesInstanceUID
    if referenced != source.series_instance_uid:
        raise SegmentationError(f"{file.path.name}: references another series")


def _frames_by_segment(seg: Dataset) -> dict[int, list[tuple[int, Dataset]]]:
    """The frames of each segment number: their index and their functional groups."""
    frames: dict[int, list[tuple[int, Dataset]]] = {}
    items = seg.PerFrameFunctionalGroupsSequence
    for index, item in zip(range(int(seg.NumberOfFrames)), items, strict=True):
        number = int(item.SegmentIdentificationSequence[0].ReferencedSegmentNumber)
        frames.setdefault(number, []).append((index, item))
    return frames


def _decode(
    seg: Dataset, frames: Iterable[tuple[int, Dataset]], source: SourceStack
) -> tuple[NDArray[np.bool_], Vector]:
    """The mask (slice, row, column), placed by the referenced instances and frames, and its
    centroid by the SEG's own geometry."""
    slice_of = {reference(image): index for index, image in enumerate(source.images)}
    decoded = np.zeros(source.geometry.shape, np.bool_)
    total, count = np.zeros(3), 0
    axes = _axes(seg)
    for number, item in frames:
        frame = _frame(seg, number)
        index = slice_of[reference_in(item.DerivationImageSequence[0].SourceImageSequence[0])]
        position = np.array(item.PlanePositionSequence[0].ImagePositionPatient, dtype=float)
        away = np.linalg.norm(position - source.geometry.positions_mm[index])
        if away > _POSITION_TOLERANCE_MM:
            raise SegmentationError(f"a frame lies {away:.3f} mm beside the slice it references")
        decoded[index] |= frame
        per_row, per_column = np.count_nonzero(frame, axis=1), np.count_nonzero(frame, axis=0)
        voxels = int(per_row.sum())
        down, across = per_row @ np.arange(seg.Rows), per_column @ np.arange(seg.Columns)
        total += voxels * position + down * axes[0] + across * axes[1]
        count += voxels
    return decoded, total / max(count, 1)


def _axes(seg: Dataset) -> tuple[Vector, Vector]:
    """Millimetre steps of a growing row and a growing column index."""
    shared = seg.SharedFunctionalGroupsSequence[0]
    spacing = shared.PixelMeasuresSequence[0].PixelSpacing
    cosines = np.array(shared.PlaneOrientationSequence[0].ImageOrientationPatient, dtype=float)
    return cosines[3:] * float(spacing[0]), cosines[:3] * float(spacing[1])


def _frame(seg: Dataset, index: int) -> NDArray[np.bool_]:
    """BINARY frames follow each other without padding, the first pixel in the lowest bit
    (PS3.5 8.1.1)."""
    pixels = int(seg.Rows) * int(seg.Columns)
    first, last = index * pixels, (index + 1) * pixels
    packed = np.frombuffer(seg.PixelData, np.uint8)[first // 8 : (last + 7) // 8]
    bits = np.unpackbits(packed, bitorder="little")[first % 8 : first % 8 + pixels]
    return bits.reshape(seg.Rows, seg.Columns).view(np.bool_)
