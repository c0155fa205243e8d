"""A SEG is read again from disk and must hold the mask, on the right slices, at the right place.

Read with pydicom alone, bit by bit: what wrote it must not be what finds it right.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.config import disable_value_validation
from pydicom.dataset import Dataset

from dicomnode.dicom.geometry import SliceGeometry, Vector
from dicomnode.dicom.header import PARSE_ERRORS, reason
from dicomnode.dicom.series import SourceSeries
from dicomnode.domain import SegmentationFile
from dicomnode.errors import SegmentationError

MAXIMUM_CENTROID_ERROR_MM = 0.01
_POSITION_TOLERANCE_MM = 1e-3


@disable_value_validation()
def verify_segmentation(
    file: SegmentationFile, mask: NDArray[np.uint8], source: SourceSeries
) -> None:
    """Compare every voxel and the centroid in patient millimetres.

    Raises `SegmentationError` with the first thing that is wrong.
    """
    try:
        seg = pydicom.dcmread(file.path)
        _same_study(seg, file, source)
        decoded, weighted = _decode(seg, source)
    except PARSE_ERRORS as error:
        raise SegmentationError(
            f"{file.path.name}: can't be read again: {reason(error)}"
        ) from error
    wrong = int(np.count_nonzero(decoded != (mask != 0)))
    if wrong:
        raise SegmentationError(f"{file.path.name}: {wrong} voxels differ from the mask")
    expected = _as_delivered(source).centroid_lps_mm(mask)
    if expected is not None:
        error_mm = float(np.linalg.norm(weighted - expected))
        if not error_mm <= MAXIMUM_CENTROID_ERROR_MM:
            raise SegmentationError(f"{file.path.name}: centroid is off by {error_mm:.3f} mm")


def _as_delivered(source: SourceSeries) -> SliceGeometry:
    """The geometry with the direction cosines as rounded by the scanner, which the SEG repeats."""
    cosines = np.array(source.datasets[0].ImageOrientationPatient, dtype=float)
    return replace(source.geometry, row_cosines=cosines[:3], column_cosines=cosines[3:])


def _same_study(seg: Dataset, file: SegmentationFile, source: SourceSeries) -> None:
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


def _decode(seg: Dataset, source: SourceSeries) -> tuple[NDArray[np.bool_], Vector]:
    """The mask (slice, row, column), placed by the referenced SOP Instance UIDs, and its centroid
    by the SEG's own geometry."""
    slice_of = {str(ds.SOPInstanceUID): index for index, ds in enumerate(source.datasets)}
    decoded = np.zeros(source.geometry.shape, np.bool_)
    total, count = np.zeros(3), 0
    axes = _axes(seg)
    for frame, item in zip(_frames(seg), seg.PerFrameFunctionalGroupsSequence, strict=True):
        reference = item.DerivationImageSequence[0].SourceImageSequence[0]
        index = slice_of[str(reference.ReferencedSOPInstanceUID)]
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


def _frames(seg: Dataset) -> Iterator[NDArray[np.bool_]]:
    """BINARY frames follow each other without padding, the first pixel in the lowest bit
    (PS3.5 8.1.1)."""
    pixels = int(seg.Rows) * int(seg.Columns)
    packed = np.frombuffer(seg.PixelData, np.uint8)
    for index in range(int(seg.NumberOfFrames)):
        first, last = index * pixels, (index + 1) * pixels
        bits = np.unpackbits(packed[first // 8 : (last + 7) // 8], bitorder="little")
        frame = bits[first % 8 : first % 8 + pixels]
        yield frame.reshape(seg.Rows, seg.Columns).view(np.bool_)
