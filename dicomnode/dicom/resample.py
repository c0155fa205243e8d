"""Between the slices as delivered and the regular grid that the networks see.

A regular stack is only turned: axes permuted and flipped, no value changes, a mask comes back
voxel for voxel. A tilted or unevenly spaced stack is interpolated linearly onto a grid with the
same in-plane axes; its masks come back onto every source slice at its own position.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import permutations
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from dicomnode.dicom.geometry import ON_GRID_VOXELS, SliceGeometry, Vector
from dicomnode.dicom.pixels import MAXIMUM_VOXELS
from dicomnode.dicom.refusals import refuse
from dicomnode.dicom.volume import Volume
from dicomnode.domain import RefusalCode

# LPS components of the directions in which the network's axes (z, y, x) grow: head, posterior,
# left ("HPL").
_TARGET_AXES = (2, 1, 0)
_HAIR_VOXELS = 1e-3
_MOST_PLANES_PER_SLICE = 4


@dataclass(frozen=True)
class CanonicalVolume:
    """`array` float32 (z, y, x), growing toward head, posterior and left, or as close to that
    as the stack's own axes come: oblique stacks are not turned.

    `affine_lps` takes (z, y, x, 1) to patient millimetres. `axes` and `flips` lead back.
    `in_gap`, which broadcasts to the array, is true where slices are missing: what stands there
    is interpolated from beyond the gap.
    """

    array: NDArray[np.float32]
    spacing_mm: tuple[float, float, float]
    affine_lps: NDArray[np.float64]
    axes: tuple[int, int, int]
    flips: tuple[int, ...]
    in_gap: NDArray[np.bool_]

    @property
    def voxel_ml(self) -> float:
        return float(np.prod(self.spacing_mm)) / 1000.0


@dataclass(frozen=True)
class StackGrid:
    """The regular grid that holds a stack: slice k lies at plane `planes[k]` (a fraction where
    between two) and `shifts[k]` rows and columns into it."""

    shape: tuple[int, int, int]
    slice_spacing_mm: float
    origin_mm: Vector
    planes: Vector
    shifts: Vector


def to_canonical(volume: Volume) -> CanonicalVolume:
    """The volume on the network's grid; outside the slices it holds the volume's lowest value.

    Raises `SeriesRefusedError` where no grid of a bearable size holds the slices.
    """
    geometry = volume.geometry
    grid = stack_grid(geometry)
    array = volume.array if geometry.is_regular else _onto_grid(volume.array, grid)
    affine = _grid_affine(geometry, grid)
    axes, flips = _closest_axes(affine)
    spacing = np.linalg.norm(affine[:3, :3], axis=0)[list(axes)]
    return CanonicalVolume(
        array=np.ascontiguousarray(np.flip(array.transpose(axes), flips)),
        spacing_mm=(float(spacing[0]), float(spacing[1]), float(spacing[2])),
        affine_lps=_turned_affine(affine, grid.shape, axes, flips),
        axes=axes,
        flips=flips,
        in_gap=np.flip(_in_gap(geometry, grid)[:, None, None].transpose(axes), flips),
    )


def mask_to_source(
    mask: NDArray[np.uint8], canonical: CanonicalVolume, geometry: SliceGeometry
) -> NDArray[np.uint8]:
    """A mask (z, y, x) on the canonical grid as a mask (slice, row, column) on every source
    slice: exact for a regular stack, else by its shape at the slice's own place."""
    if mask.shape != canonical.array.shape:
        raise ValueError(f"mask has shape {mask.shape}, its volume {canonical.array.shape}")
    on_grid = np.flip(mask, canonical.flips).transpose(np.argsort(canonical.axes))
    if geometry.is_regular:
        return np.ascontiguousarray(on_grid, dtype=np.uint8)
    return _off_grid(on_grid, stack_grid(geometry), geometry.shape)


def stack_grid(geometry: SliceGeometry) -> StackGrid:
    spacing, planes = _planes(geometry)
    offsets = geometry.offsets_voxels if geometry.is_sheared else np.zeros((len(planes), 2))
    lowest = offsets.min(axis=0)
    extent = np.ceil(np.ptp(offsets, axis=0) - 1e-6)
    origin = (
        geometry.positions_mm[0]
        + lowest[0] * geometry.pixel_spacing_mm[0] * geometry.column_cosines
        + lowest[1] * geometry.pixel_spacing_mm[1] * geometry.row_cosines
    )
    shape = (
        int(np.ceil(planes[-1] - 1e-6)) + 1,
        geometry.rows + int(extent[0]),
        geometry.columns + int(extent[1]),
    )
    if math.prod(shape) > MAXIMUM_VOXELS:
        refuse(
            RefusalCode.IRREGULAR_SPACING,
            "the slices lie so far apart that a regular grid of them has more voxels than the "
            "node holds",
            "ImagePositionPatient",
            [" x ".join(map(str, shape))],
        )
    return StackGrid(shape, spacing, origin, planes, _off_the_middle(offsets - lowest))


def _off_the_middle(shifts: Vector) -> Vector:
    """A mask that is shifted by exactly half a voxel grows by it on both sides, and again on its
    way back; a hair beside the middle it is rounded to one side, and back."""
    in_the_middle = np.abs(shifts % 1 - 0.5) < _HAIR_VOXELS
    return np.asarray(shifts + 2 * _HAIR_VOXELS * in_the_middle)


def _planes(geometry: SliceGeometry) -> tuple[float, Vector]:
    """A slice spacing whose multiples meet the slices where there is one (missing slices,
    mixed spacings), and the plane of each slice.

    Never more than `_MOST_PLANES_PER_SLICE`: positions, which anybody may write into a header,
    must not ask for all memory."""
    if geometry.is_evenly_spaced:
        count = len(geometry.positions_mm)
        return float(geometry.distances_mm[-1]) / (count - 1), np.arange(count, dtype=float)
    whole = float(geometry.distances_mm[-1])
    most = _MOST_PLANES_PER_SLICE * len(geometry.positions_mm) - 1
    # Overlapping slices may lie very close: the grid doesn't have to follow below a quarter.
    smallest = max(float(geometry.gaps_mm.min()), geometry.slice_spacing_mm / 4, whole / most)
    for divisor in (1, 2, 3):
        count = min(round(whole / (smallest / divisor)), most)
        spacing = whole / count
        planes = geometry.distances_mm / spacing
        nearest = np.rint(planes)
        if np.abs(planes - nearest).max() <= ON_GRID_VOXELS:
            return spacing, nearest
    planes = geometry.distances_mm / smallest
    nearest = np.rint(planes)
    return smallest, np.where(np.abs(planes - nearest) < _HAIR_VOXELS, nearest, planes)


def _in_gap(geometry: SliceGeometry, grid: StackGrid) -> NDArray[np.bool_]:
    """For each plane of the grid whether it lies in a gap, more than half a slice from its ends."""
    half = geometry.slice_spacing_mm / grid.slice_spacing_mm / 2
    planes = np.arange(grid.shape[0])
    found = np.zeros(len(planes), np.bool_)
    for index in np.flatnonzero(geometry.is_gap):
        low, high = grid.planes[index], grid.planes[index + 1]
        found |= (planes - low > half) & (high - planes > half)
    return found


def _grid_affine(geometry: SliceGeometry, grid: StackGrid) -> NDArray[np.float64]:
    """(slice, row, column, 1) of the grid to patient millimetres."""
    affine = np.eye(4)
    affine[:3, 0] = geometry.normal * grid.slice_spacing_mm
    if geometry.is_regular:
        steps = len(geometry.positions_mm) - 1
        affine[:3, 0] = (geometry.positions_mm[-1] - geometry.positions_mm[0]) / steps
    affine[:3, 1] = geometry.column_cosines * geometry.pixel_spacing_mm[0]
    affine[:3, 2] = geometry.row_cosines * geometry.pixel_spacing_mm[1]
    affine[:3, 3] = grid.origin_mm
    return affine


def _closest_axes(affine: NDArray[np.float64]) -> tuple[tuple[int, int, int], tuple[int, ...]]:
    """Which grid axis becomes z, y, x, and which of these have to be flipped."""
    directions = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)

    def closeness(axes: tuple[int, ...]) -> float:
        return sum(
            abs(float(directions[target, axis]))
            for target, axis in zip(_TARGET_AXES, axes, strict=True)
        )

    z, y, x = max(permutations(range(3)), key=closeness)
    turned = enumerate(zip(_TARGET_AXES, (z, y, x), strict=True))
    flips = tuple(index for index, (target, axis) in turned if directions[target, axis] < 0)
    return (z, y, x), flips


def _turned_affine(
    affine: NDArray[np.float64],
    shape: tuple[int, int, int],
    axes: tuple[int, int, int],
    flips: tuple[int, ...],
) -> NDArray[np.float64]:
    turned = affine.copy()
    turned[:, :3] = affine[:, list(axes)]
    for index in flips:
        turned[:3, 3] += turned[:3, index] * (shape[axes[index]] - 1)
        turned[:3, index] *= -1
    return turned


def _onto_grid(array: NDArray[np.float32], grid: StackGrid) -> NDArray[np.float32]:
    outside = float(array.min())
    result = np.empty(grid.shape, np.float32)
    for plane in range(grid.shape[0]):
        above = int(np.searchsorted(grid.planes, plane, side="left"))
        above = min(above, len(grid.planes) - 1)
        below = above if grid.planes[above] <= plane else above - 1
        result[plane] = _placed(array[below], grid.shifts[below], grid, outside)
        if below != above:
            part = (plane - grid.planes[below]) / (grid.planes[above] - grid.planes[below])
            result[plane] *= 1 - part
            result[plane] += part * _placed(array[above], grid.shifts[above], grid, outside)
    return result


def _off_grid(
    mask: NDArray[np.uint8], grid: StackGrid, shape: tuple[int, int, int]
) -> NDArray[np.uint8]:
    result = np.zeros(shape, np.uint8)
    for index, plane in enumerate(grid.planes):
        below = int(plane)
        values = mask[below].astype(np.float32)
        if plane > below:
            values = _between(mask[below] != 0, mask[below + 1] != 0, plane - below)
        result[index] = _cut_out(values, grid.shifts[index], shape[1:]) >= 0.5
    return result


def _between(
    below: NDArray[np.bool_], above: NDArray[np.bool_], part: float
) -> NDArray[np.float32]:
    """The shape on its way from one plane to the next, 0.5 at its edge: signed distances are
    interpolated, not the masks, of which only the nearer one would be seen (Raya and Udupa 1990).
    """
    if not (below.any() and above.any()):
        return np.asarray((1 - part) * below + part * above, np.float32)
    inside = (1 - part) * _signed_distance(below) + part * _signed_distance(above)
    return np.asarray(np.clip(0.5 + inside / 2, 0.0, 1.0), np.float32)


def _signed_distance(mask: NDArray[np.bool_]) -> NDArray[np.float64]:
    """In pixels; positive inside."""
    return np.asarray(ndimage.distance_transform_edt(mask) - ndimage.distance_transform_edt(~mask))


def _placed(
    plane: NDArray[Any], shift: Vector, grid: StackGrid, outside: float
) -> NDArray[np.float32]:
    """A source slice drawn into the larger grid plane, moved down and right by `shift`."""
    rows, columns = plane.shape
    top, left = int(shift[0]), int(shift[1])
    canvas = np.full((grid.shape[1] + 1, grid.shape[2] + 1), outside, np.float32)
    canvas[top : top + rows, left : left + columns] = plane
    for axis, part in enumerate(shift - (top, left)):
        if part > 0:
            before = np.roll(canvas, 1, axis)
            canvas = ((1 - part) * canvas + part * before).astype(np.float32)
    return canvas[:-1, :-1]


def _cut_out(plane: NDArray[Any], shift: Vector, shape: tuple[int, int]) -> NDArray[np.float32]:
    """The inverse of `_placed`: the source slice at `shift` out of a grid plane."""
    top, left = int(shift[0]), int(shift[1])
    canvas = np.pad(plane.astype(np.float32), ((0, 1), (0, 1)))
    for axis, part in enumerate(shift - (top, left)):
        if part > 0:
            after = np.roll(canvas, -1, axis)
            canvas = ((1 - part) * canvas + part * after).astype(np.float32)
    return canvas[top : top + shape[0], left : left + shape[1]]
