"""A body drawn in the patient comes back to every source slice, however the slices lie.

The body is an ellipsoid of the size of a head, given in patient millimetres. Three ways lead
through the grid of the networks: the mask sent there and back, the body found by its image there,
and the body drawn there. All are compared with the body on the source slices themselves.
"""

import itertools
import math
import os
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from hypothesis import Phase, example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from dicomnode.dicom.geometry import SliceGeometry
from dicomnode.dicom.resample import CanonicalVolume, mask_to_source, to_canonical
from dicomnode.dicom.volume import Volume
from tests.factories import oblique, slice_positions

RADII_MM = np.array([75.0, 95.0, 85.0])  # left, posterior, head
FIELD_MM = (230.0, 215.0, 236.0)  # across rows, across columns, across slices

_AXES = [tuple(sign * step for step in np.eye(3)[axis]) for axis in range(3) for sign in (1, -1)]
# Every frame along the axes of the patient: all patient positions, planes, swaps and mirrors.
STRAIGHT = [
    (*row, *column) for row, column in itertools.product(_AXES, _AXES) if not np.dot(row, column)
]

straight = st.sampled_from(STRAIGHT)
turned = st.builds(oblique, *[st.floats(-180, 180)] * 3)
orientations = st.one_of(straight, turned)
pixel_spacings = st.sampled_from([(1.8, 1.8), (1.6, 2.4), (3.0, 1.7)])
slice_spacings = st.sampled_from([3.0, 4.8, 6.0])


# 1 and more for those who look for faults.
SHARE = float(os.environ.get("DICOMNODE_EXAMPLES", "0.5"))


def examples(count: int) -> settings:
    """Without shrinking: each example is a whole volume."""
    most = math.ceil(count * SHARE)
    return settings(max_examples=most, deadline=None, phases=[Phase.explicit, Phase.generate])


@dataclass(frozen=True)
class Found:
    """How one of the three ways ended: overlap, shift, and voxels wrong beyond their own box."""

    dice: float
    centroid_off_voxels: float
    far_off: int


def stack(
    orientation: Any,
    pixel_spacing_mm: tuple[float, float] = (1.8, 1.8),
    slice_spacing_mm: float = 4.0,
    tilt_degrees: float = 0.0,
    missing: Any = (),
    moves_mm: Any = None,
) -> SliceGeometry:
    """A field that holds the body; `moves_mm(slices)` (n, 3) shifts slices by (slice, row, column)
    directions of the image; slices that change places are put in order again."""
    rows, columns = (
        round(field / step) for field, step in zip(FIELD_MM, pixel_spacing_mm, strict=False)
    )
    slices = round(FIELD_MM[2] / slice_spacing_mm)
    cosines = np.array(orientation)
    normal = np.cross(cosines[:3], cosines[3:])
    extent = (rows * pixel_spacing_mm[0], columns * pixel_spacing_mm[1])
    positions = slice_positions(orientation, slices, slice_spacing_mm, extent, tilt_degrees)
    if moves_mm is not None:
        positions = positions + moves_mm(slices) @ np.stack([normal, cosines[3:], cosines[:3]])
    kept = np.array([index for index in range(slices) if index not in set(missing)])
    positions = positions[kept]
    positions = positions[np.argsort(positions @ normal)]
    return SliceGeometry(positions, cosines[:3], cosines[3:], pixel_spacing_mm, rows, columns)


def steps_of(geometry: SliceGeometry) -> NDArray[np.float64]:
    """(3, 3): the way to the next slice, row and column, each a row."""
    return np.stack(
        [
            geometry.normal * geometry.slice_spacing_mm,
            geometry.column_cosines * geometry.pixel_spacing_mm[0],
            geometry.row_cosines * geometry.pixel_spacing_mm[1],
        ]
    )


def points_of(geometry: SliceGeometry) -> NDArray[np.float64]:
    """Patient position of every voxel, (slice, row, column, 3)."""
    rows, columns = np.meshgrid(
        np.arange(geometry.rows), np.arange(geometry.columns), indexing="ij"
    )
    _, down, across = steps_of(geometry)
    in_plane = rows[..., None] * down + columns[..., None] * across
    return np.asarray(geometry.positions_mm[:, None, None] + in_plane)


def points_on_grid(canonical: CanonicalVolume) -> NDArray[np.float64]:
    indices = np.moveaxis(np.indices(canonical.array.shape), 0, -1)
    affine = canonical.affine_lps
    return np.asarray(indices @ affine[:3, :3].T + affine[:3, 3])


def depth(points_mm: NDArray[np.float64], centre_mm: NDArray[np.float64]) -> NDArray[np.float64]:
    """Below 1 inside of the body."""
    return np.asarray(np.sum(((points_mm - centre_mm) / RADII_MM) ** 2, axis=-1))


def dice(one: NDArray[Any], other: NDArray[Any]) -> float:
    return 2.0 * np.count_nonzero(one & other) / (np.count_nonzero(one) + np.count_nonzero(other))


def three_ways(geometry: SliceGeometry) -> dict[str, Found]:
    points = points_of(geometry)
    centre = (points[0].mean(axis=(0, 1)) + points[-1].mean(axis=(0, 1))) / 2
    body = (depth(points, centre) < 1).astype(np.uint8)
    image = Volume(np.where(body, 40.0, -1000.0).astype(np.float32), geometry, "CT")
    mask = to_canonical(Volume(body.astype(np.float32), geometry, "MR"))
    seen = to_canonical(image)
    on_grid = {
        "there and back": mask.array >= 0.5,
        "seen there": seen.array > -480.0,
        "drawn there": depth(points_on_grid(seen), centre) < 1,
    }
    return {
        way: _judged(
            mask_to_source(found.astype(np.uint8), seen, geometry), body, points, centre, geometry
        )
        for way, found in on_grid.items()
    }


def _judged(
    found: NDArray[np.uint8],
    body: NDArray[np.uint8],
    points: NDArray[np.float64],
    centre: NDArray[np.float64],
    geometry: SliceGeometry,
) -> Found:
    steps = steps_of(geometry)
    moved = points[found == 1].mean(axis=0) - points[body == 1].mean(axis=0)
    off_voxels = np.abs(np.linalg.solve(steps.T, moved)).max()
    wrong = points[found != body]
    corners = np.array(list(itertools.product((-0.5, 0, 0.5), repeat=3))) @ steps
    depths = depth(wrong[:, None] + corners, centre)
    through = (depths.min(axis=1) <= 1) & (depths.max(axis=1) >= 1)
    return Found(dice(found, body), float(off_voxels), int(np.count_nonzero(~through)))


def comes_back(geometry: SliceGeometry) -> None:
    """More than 0.99 of it, in its place, and wrong voxels only where the surface passes."""
    for way, found in three_ways(geometry).items():
        assert found.dice > 0.99, (way, found)
        assert found.centroid_off_voxels < 0.5, (way, found)
        assert found.far_off == 0, (way, found)


def comes_back_exactly(geometry: SliceGeometry) -> None:
    for way, found in three_ways(geometry).items():
        assert found == Found(1.0, 0.0, 0), (way, found)


@pytest.mark.parametrize("orientation", STRAIGHT)
def test_every_patient_position_and_plane_loses_no_voxel(orientation: Any) -> None:
    comes_back_exactly(stack(orientation, (2.4, 3.0), 6.0))


@examples(20)
@given(turned, pixel_spacings, slice_spacings)
def test_oblique_stacks_of_any_spacing_lose_no_voxel(
    orientation: Any, pixel_spacing_mm: tuple[float, float], slice_spacing_mm: float
) -> None:
    comes_back_exactly(stack(orientation, pixel_spacing_mm, slice_spacing_mm))


@examples(20)
@given(orientations, slice_spacings, st.sets(st.integers(2, 36), max_size=8))
def test_slices_beside_missing_ones_lose_no_voxel(
    orientation: Any, slice_spacing_mm: float, missing: set[int]
) -> None:
    comes_back_exactly(stack(orientation, (2.4, 2.0), slice_spacing_mm, missing=missing))


@examples(20)
@given(orientations, pixel_spacings, slice_spacings, st.floats(-30, 30))
def test_a_tilted_gantry_keeps_the_body(
    orientation: Any,
    pixel_spacing_mm: tuple[float, float],
    slice_spacing_mm: float,
    tilt_degrees: float,
) -> None:
    comes_back(stack(orientation, pixel_spacing_mm, slice_spacing_mm, tilt_degrees))


@examples(15)
@given(orientations, st.floats(-30, 30), st.sets(st.integers(2, 36), max_size=6))
def test_a_tilted_gantry_and_missing_slices_keep_the_body(
    orientation: Any, tilt_degrees: float, missing: set[int]
) -> None:
    comes_back(stack(orientation, tilt_degrees=tilt_degrees, missing=missing))


@examples(15)
@given(orientations, pixel_spacings, st.integers(0, 1000), st.floats(0.1, 1.9))
def test_uneven_spacing_keeps_the_body(
    orientation: Any, pixel_spacing_mm: tuple[float, float], seed: int, jitter_mm: float
) -> None:
    def moves(slices: int) -> NDArray[np.float64]:
        result = np.zeros((slices, 3))
        result[:, 0] = np.random.default_rng(seed).uniform(-jitter_mm, jitter_mm, slices)
        return result

    comes_back(stack(orientation, pixel_spacing_mm, 4.0, moves_mm=moves))


@examples(8)
@given(orientations, st.sampled_from([(2.0, 5.0), (3.0, 6.0), (2.5, 4.0)]), st.floats(-25, 25))
def test_two_spacings_in_one_stack_keep_the_body(
    orientation: Any, spacings_mm: tuple[float, float], tilt_degrees: float
) -> None:
    """Thin slices below and thick ones above, as head CT is often made."""
    thin, thick = spacings_mm

    def moves(slices: int) -> NDArray[np.float64]:
        result = np.zeros((slices, 3))
        above = np.maximum(np.arange(slices) - slices // 2, 0)
        result[:, 0] = above * (thick - thin)
        result[:, 1] = above * (thick - thin) * np.tan(np.radians(tilt_degrees))
        result[:, 0] -= result[:, 0].mean()
        return result

    comes_back(stack(orientation, (1.8, 1.8), thin, tilt_degrees, moves_mm=moves))


# No way is exactly half a voxel: there the edge of a mask lies on voxel centres, and rounding it
# twice, there and back, may cost a whole voxel.
ways_mm = st.integers(-80, 80).map(lambda steps: steps * 0.31)


@examples(15)
@given(orientations, st.integers(5, 40), ways_mm, ways_mm)
def test_a_table_that_moved_sideways_keeps_the_body(
    orientation: Any, at: int, down_mm: float, across_mm: float
) -> None:
    def moves(slices: int) -> NDArray[np.float64]:
        result = np.zeros((slices, 3))
        result[at:, 1], result[at:, 2] = down_mm, across_mm
        return result

    comes_back(stack(orientation, moves_mm=moves))


@examples(8)
@given(orientations, st.integers(10, 40), st.floats(0.3, 9.0))
def test_a_table_that_moved_along_keeps_the_body(
    orientation: Any, at: int, along_mm: float
) -> None:
    """Forward: a gap that fits no grid. The same way back, slices overlap and change places."""
    for sign in (1, -1):

        def moves(slices: int, sign: int = sign) -> NDArray[np.float64]:
            result = np.zeros((slices, 3))
            result[at:, 0] = sign * along_mm
            return result

        geometry = stack(orientation, moves_mm=moves)
        if geometry.gaps_mm.min() > 0.05:  # images at one place are another matter
            comes_back(geometry)


@examples(10)
@given(orientations, st.floats(0.2, 3.8), st.integers(5, 50))
@example(oblique(-106.6773603917401, 117.43228185181152, 114.77084872716358), 3.45264515545, 25)
def test_one_slice_close_to_another_keeps_the_body(
    orientation: Any, nearer_mm: float, at: int
) -> None:
    def moves(slices: int) -> NDArray[np.float64]:
        result = np.zeros((slices, 3))
        result[at, 0] = -nearer_mm
        return result

    comes_back(stack(orientation, moves_mm=moves))


@examples(10)
@given(orientations, st.floats(-25, 25), st.integers(0, 100))
def test_values_on_the_grid_are_those_at_their_place_in_the_patient(
    orientation: Any, tilt_degrees: float, seed: int
) -> None:
    """A ramp over the patient is a ramp on the grid, wherever it lies between slices."""
    geometry = stack(orientation, (2.4, 2.4), 6.0, tilt_degrees)
    slope = np.random.default_rng(seed).normal(size=3)
    ramp = points_of(geometry) @ slope
    canonical = to_canonical(Volume(ramp.astype(np.float32), geometry, "MR"))
    expected = points_on_grid(canonical) @ slope
    inside = _inside(points_on_grid(canonical), geometry)
    assert np.count_nonzero(inside) > 0.4 * ramp.size
    np.testing.assert_allclose(canonical.array[inside], expected[inside], atol=0.05)


def _inside(points_mm: NDArray[np.float64], geometry: SliceGeometry) -> NDArray[np.bool_]:
    """Which points lie in a source slice, more than a voxel from its rim."""
    planes = (points_mm - geometry.positions_mm[0]) @ geometry.normal / geometry.gaps_mm[0]
    nearest = np.clip(np.rint(planes).astype(int), 0, len(geometry.positions_mm) - 1)
    at = points_mm - geometry.positions_mm[nearest]
    row = at @ geometry.column_cosines / geometry.pixel_spacing_mm[0]
    column = at @ geometry.row_cosines / geometry.pixel_spacing_mm[1]
    return np.asarray(
        (row > 1) & (row < geometry.rows - 2) & (column > 1) & (column < geometry.columns - 2)
    )
