"""Where the voxels of a stack of slices lie in the patient (PS3.3 C.7.6.2).

All coordinates are millimetres in the patient's system: +x left, +y posterior, +z head (LPS).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float64]

# A slice counts as being on the regular grid when it is off by less than this part of a voxel.
ON_GRID_VOXELS = 0.1
# Two slices this many times farther apart than usual: something is missing between them.
GAP = 1.5


@dataclass(frozen=True)
class SliceGeometry:
    """A stack of parallel slices of one size, sorted along their normal.

    `positions_mm` (n, 3): centre of the first voxel of each slice. `row_cosines`: direction of a
    growing column index; `column_cosines`: of a growing row index. `pixel_spacing_mm`: between
    rows, between columns. `thicknesses_mm`: of each slice, 0 where the scanner doesn't say. Each
    slice has its own position, so tilt and gaps are just values.
    """

    positions_mm: Vector
    row_cosines: Vector
    column_cosines: Vector
    pixel_spacing_mm: tuple[float, float]
    rows: int
    columns: int
    thicknesses_mm: Vector | None = None

    @property
    def shape(self) -> tuple[int, int, int]:
        return len(self.positions_mm), self.rows, self.columns

    @cached_property
    def normal(self) -> Vector:
        return np.asarray(np.cross(self.row_cosines, self.column_cosines))

    @cached_property
    def distances_mm(self) -> Vector:
        """Along the normal, from the first slice; increasing."""
        return np.asarray((self.positions_mm - self.positions_mm[0]) @ self.normal)

    @cached_property
    def offsets_voxels(self) -> Vector:
        """(n, 2): in-plane shift of each slice against the first, in rows and columns."""
        moved = self.positions_mm - self.positions_mm[0]
        down = moved @ self.column_cosines / self.pixel_spacing_mm[0]
        across = moved @ self.row_cosines / self.pixel_spacing_mm[1]
        return np.stack([down, across], axis=1)

    @cached_property
    def gaps_mm(self) -> Vector:
        return np.diff(self.distances_mm)

    @cached_property
    def is_gap(self) -> NDArray[np.bool_]:
        """Which of `gaps_mm` lack slices: longer than usual, by more than slices grow thicker."""
        return np.asarray(self.gaps_mm > GAP * self.slice_spacing_mm * self._growth)

    @property
    def missing_mm(self) -> Vector:
        """The distances of slices between which others are missing."""
        return np.asarray(self.gaps_mm[self.is_gap])

    @property
    def widest_gap_mm(self) -> float:
        """The longest way between two slices that their thickness leaves open; 0.0: none."""
        if self.thicknesses_mm is None or not self.thicknesses_mm.any():
            return float(self.missing_mm.max(initial=0.0))
        return float(self.gaps_mm[self.gaps_mm > GAP * self._thicker_mm].max(initial=0.0))

    @property
    def _thicker_mm(self) -> Vector:
        """Of each two neighbours the thickness of the thicker one; 0 where it isn't known."""
        known = np.zeros(self.shape[0]) if self.thicknesses_mm is None else self.thicknesses_mm
        return np.asarray(np.maximum(known[:-1], known[1:]))

    @property
    def _growth(self) -> Vector:
        """How many times thicker than usual the slices on either side are."""
        usual = float(np.quantile(self._thicker_mm, 0.25))
        return np.maximum(self._thicker_mm / usual, 1.0) if usual > 0 else np.ones(1)

    @property
    def slice_spacing_mm(self) -> float:
        """The usual distance of two slices: the median."""
        return float(np.median(self.gaps_mm))

    @property
    def is_sheared(self) -> bool:
        """The slices don't lie straight above each other: gantry tilt, or a table that moved."""
        return bool(np.ptp(self.offsets_voxels, axis=0).max() > ON_GRID_VOXELS)

    @property
    def is_evenly_spaced(self) -> bool:
        steps = len(self.positions_mm) - 1
        even = np.linspace(0.0, self.distances_mm[-1], steps + 1)
        worst = np.abs(self.distances_mm - even).max()
        return bool(worst <= ON_GRID_VOXELS * self.distances_mm[-1] / steps)

    @property
    def is_regular(self) -> bool:
        return self.is_evenly_spaced and not self.is_sheared

    @property
    def affine_lps(self) -> NDArray[np.float64]:
        """(slice, row, column, 1) to patient millimetres; exact where slices are evenly spaced."""
        affine = np.eye(4)
        way = self.positions_mm[-1] - self.positions_mm[0]
        affine[:3, 0] = way / (len(self.positions_mm) - 1)
        affine[:3, 1] = self.column_cosines * self.pixel_spacing_mm[0]
        affine[:3, 2] = self.row_cosines * self.pixel_spacing_mm[1]
        affine[:3, 3] = self.positions_mm[0]
        return affine

    @property
    def tilt_degrees(self) -> float:
        """Angle between the way from first to last slice and the normal; from positions only."""
        way = self.positions_mm[-1] - self.positions_mm[0]
        return float(np.degrees(np.arccos(np.clip(way @ self.normal / np.linalg.norm(way), -1, 1))))

    def centroid_lps_mm(self, mask: NDArray[np.uint8]) -> Vector | None:
        """Mean patient position of the voxels of a mask (slice, row, column); None if empty."""
        counts = np.count_nonzero(mask, axis=(1, 2)).astype(np.float64)
        if not counts.any():
            return None
        rows = np.count_nonzero(mask, axis=2).sum(axis=0) @ np.arange(self.rows)
        columns = np.count_nonzero(mask, axis=1).sum(axis=0) @ np.arange(self.columns)
        first = counts @ self.positions_mm
        down = rows * self.pixel_spacing_mm[0] * self.column_cosines
        across = columns * self.pixel_spacing_mm[1] * self.row_cosines
        return np.asarray((first + down + across) / counts.sum())
