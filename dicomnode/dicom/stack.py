"""Are these images one stack of slices? Each check passes, or raises with a code and the values."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dicomnode.dicom.geometry import SliceGeometry, Vector
from dicomnode.dicom.header import number, numbers
from dicomnode.dicom.images import SourceImage
from dicomnode.dicom.refusals import refuse
from dicomnode.domain import RefusalCode

MINIMUM_SLICES = 4
MAXIMUM_SPACING_MM = 30.0
SAME_VALUE = 1e-3  # largest difference of cosines, part of a spacing; 0.25 mm over 250 mm
SAME_POSITION_MM = 0.01
PAIR_DISTANCE = 0.1  # of the distance to the slice on the other side
PAIRS = 0.2  # this part of all distances being as short is no chance


def sorted_stack(
    images: Sequence[SourceImage],
) -> tuple[SliceGeometry, tuple[SourceImage, ...]]:
    """The geometry of the stack and its images, sorted along the normal.

    Which of two directions the normal has is given by the image orientation. The images have a
    valid geometry (`checks`), and one orientation and size (`grouping`).
    """
    if len(images) < MINIMUM_SLICES:
        refuse(
            RefusalCode.TOO_FEW_SLICES,
            f"a volume takes {MINIMUM_SLICES} slices or more",
            "number of slices",
            [len(images)],
        )
    row, column = _axes(images[0])
    positions = np.array([numbers(item.ds, "ImagePositionPatient", 3) for item in images])
    distances = positions @ np.cross(row, column)
    order = [int(index) for index in np.argsort(distances, kind="stable")]
    _no_duplicates(distances[order], positions[order])
    ds = images[0].ds
    spacing = numbers(ds, "PixelSpacing", 2) or (1.0, 1.0)
    geometry = SliceGeometry(
        positions_mm=positions[order],
        row_cosines=row,
        column_cosines=column,
        pixel_spacing_mm=(spacing[0], spacing[1]),
        rows=int(ds.Rows),
        columns=int(ds.Columns),
        thicknesses_mm=np.array([number(images[i].ds, "SliceThickness") or 0.0 for i in order]),
    )
    _no_pairs(geometry)
    _above_each_other(geometry)
    _close_enough(geometry)
    return geometry, tuple(images[index] for index in order)


def _axes(image: SourceImage) -> tuple[Vector, Vector]:
    """Unit vectors at an exact right angle: scanners round them."""
    cosines = np.array(numbers(image.ds, "ImageOrientationPatient", 6))
    row = cosines[:3] / np.linalg.norm(cosines[:3])
    column = cosines[3:] - (cosines[3:] @ row) * row
    return row, column / np.linalg.norm(column)


def _no_duplicates(distances: Vector, positions: Vector) -> None:
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
    planes = len(distances) - len(same)
    refuse(
        RefusalCode.DUPLICATE_POSITION,
        f"{len(distances)} images share {planes} positions, and nothing tells them apart",
        "ImagePositionPatient",
        [_vector(positions[index]) for index in same],
    )


def _no_pairs(geometry: SliceGeometry) -> None:
    """Images of one place that lie a hair beside each other: repetitions that nothing names."""
    gaps_mm = geometry.gaps_mm
    beside = np.maximum(np.append(gaps_mm[1:], 0.0), np.insert(gaps_mm[:-1], 0, 0.0))
    pairs = gaps_mm < PAIR_DISTANCE * beside
    if np.mean(pairs) < PAIRS:
        return
    refuse(
        RefusalCode.DUPLICATE_POSITION,
        f"{np.count_nonzero(pairs)} of {len(gaps_mm) + 1} images lie less than a tenth of the "
        "usual distance beside another one, and nothing tells them apart",
        "ImagePositionPatient",
        [f"{gap:.3f}" for gap in np.unique(np.round(gaps_mm[pairs], 3))],
    )


def _above_each_other(geometry: SliceGeometry) -> None:
    """A tilted gantry moves the slices, a table too, but never by all that they show."""
    down, across = np.ptp(geometry.offsets_voxels, axis=0)
    if down <= geometry.rows and across <= geometry.columns:
        return
    refuse(
        RefusalCode.NOT_VOLUMETRIC,
        "the slices lie beside each other by more than their own size, so they are not one stack",
        "ImagePositionPatient",
        [_vector(position) for position in geometry.positions_mm],
    )


def _close_enough(geometry: SliceGeometry) -> None:
    """What lies between two slices is known only where they are near each other."""
    widest = float(geometry.gaps_mm.max())
    if geometry.slice_spacing_mm > MAXIMUM_SPACING_MM:
        why = f"the slices are {geometry.slice_spacing_mm:.4g} mm apart"
    elif widest > MAXIMUM_SPACING_MM and widest > geometry.distances_mm[-1] / 2:
        why = f"a gap of {widest:.4g} mm is longer than all that was imaged"
    else:
        return
    refuse(
        RefusalCode.IRREGULAR_SPACING,
        f"{why}, too far to know what lies between them",
        "ImagePositionPatient",
        [f"{gap:.2f}" for gap in np.unique(np.round(geometry.gaps_mm, 2))[::-1]],
    )


def _vector(position: Vector) -> str:
    return "\\".join(f"{item:g}" for item in position)
