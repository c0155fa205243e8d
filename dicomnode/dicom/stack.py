"""Are the slices one stack? Each check passes, or raises with a code, a sentence, the values."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from pydicom.dataset import Dataset

from dicomnode.dicom.geometry import SliceGeometry, Vector
from dicomnode.dicom.header import numbers
from dicomnode.dicom.refusals import distinct, refuse
from dicomnode.domain import RefusalCode

MINIMUM_SLICES = 4
MAXIMUM_GAP_MM = 30.0
SAME_DIRECTION = 1e-3  # largest difference of direction cosines; 0.25 mm over a field of 250 mm
SAME_POSITION_MM = 0.01

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


def sorted_stack(datasets: Sequence[Dataset]) -> tuple[SliceGeometry, list[int]]:
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
            f"a volume takes {MINIMUM_SLICES} slices or more, the series has {len(datasets)}",
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
            distinct(datasets, "ImageOrientationPatient"),
        )
    if np.abs(found - found[0]).max() > SAME_DIRECTION:
        refuse(
            RefusalCode.MIXED_ORIENTATION,
            "the images have different orientations, so they are not slices of one stack",
            "ImageOrientationPatient",
            distinct(datasets, "ImageOrientationPatient"),
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
            distinct(datasets, "PixelSpacing"),
        )
    if np.abs(found / found[0] - 1).max() > SAME_DIRECTION:
        refuse(
            RefusalCode.MIXED_MATRIX,
            "the images have different pixel spacings",
            "PixelSpacing",
            distinct(datasets, "PixelSpacing"),
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
        found = distinct(datasets, keyword)
        if len(found) > 1:
            return keyword, found
    return "", []


def _vector(position: Vector) -> str:
    return "\\".join(f"{item:g}" for item in position)
