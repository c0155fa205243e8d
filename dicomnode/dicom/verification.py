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
            _same_mask(f"{file.path.name}, {model.kind}", seg, frames[number], masks[model], source)
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
    seg: Dataset,
    frames: Iterable[tuple[int, Dataset]],
    mask: NDArray[np.uint8],
    source: SourceStack,
) -> None:
    """Every voxel of the mask (slice, row, column), placed by the referenced instances and frames,
    and its centroid: by the SEG's own geometry, and by that of the source."""
    slice_of = {reference(image): index for index, image in enumerate(source.images)}
    if (seg.Rows, seg.Columns) != mask.shape[1:]:
        raise SegmentationError(f"{name}: its frames have another shape than the slices")
    left, wrong = set(range(len(mask))), 0
    moments = np.zeros((len(mask), 3))
    positions = np.zeros((len(mask), 3))
    for number, item in frames:
        index = slice_of[reference_in(item.DerivationImageSequence[0].SourceImageSequence[0])]
        if index not in left:
            raise SegmentationError(f"{name}: two frames of one slice")
        left.remove(index)
        positions[index] = item.PlanePositionSequence[0].ImagePositionPatient
        away = np.linalg.norm(positions[index] - source.geometry.positions_mm[index])
        if not away <= _POSITION_TOLERANCE_MM:
            raise SegmentationError(f"a frame lies {away:.3f} mm beside the slice it references")
        frame = _frame(seg, number)
        wrong += int(np.count_nonzero(frame != (mask[index] != 0)))
        moments[index] = _moments(frame)
    wrong += sum(int(np.count_nonzero(mask[index])) for index in left)
    if wrong:
        raise SegmentationError(f"{name}: {wrong} voxels differ from the mask")
    # No voxel differs, so the moments of the frames are those of the mask.
    geometry = _as_delivered(source)
    expected = _centroid(moments, geometry.positions_mm, _steps(geometry))
    error_mm = float(np.linalg.norm(_centroid(moments, positions, _axes(seg)) - expected))
    if not error_mm <= MAXIMUM_CENTROID_ERROR_MM:
        raise SegmentationError(f"{name}: centroid is off by {error_mm:.3f} mm")


def _moments(frame: NDArray[np.bool_]) -> tuple[int, int, int]:
    """How many voxels, and the sums of their row and column indices. No row or column holds more
    voxels than two bytes can count: Rows and Columns have no more (PS3.3 C.7.6.3)."""
    flags = frame.view(np.uint8)
    per_row = np.add.reduce(flags, axis=1, dtype=np.uint16).astype(np.int64)
    per_column = np.add.reduce(flags, axis=0, dtype=np.uint16).astype(np.int64)
    down, across = per_row @ np.arange(len(per_row)), per_column @ np.arange(len(per_column))
    return int(per_row.sum()), int(down), int(across)


def _centroid(
    moments: NDArray[np.float64], positions_mm: Vector, steps_mm: tuple[Vector, Vector]
) -> Vector:
    voxels, down, across = moments.T
    total = voxels @ positions_mm + down.sum() * steps_mm[0] + across.sum() * steps_mm[1]
    return np.asarray(total / voxels.sum())


def _steps(geometry: SliceGeometry) -> tuple[Vector, Vector]:
    """Millimetre steps of a growing row and a growing column index."""
    rows_mm, columns_mm = geometry.pixel_spacing_mm
    return geometry.column_cosines * rows_mm, geometry.row_cosines * columns_mm


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


def _axes(seg: Dataset) -> tuple[Vector, Vector]:
    """As `_steps`, by what the SEG says."""
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
