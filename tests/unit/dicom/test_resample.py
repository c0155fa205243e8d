"""The grid that the networks see; test_geometry_properties.py sends bodies through it."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from dicomnode.dicom import resample
from dicomnode.dicom.geometry import SliceGeometry
from dicomnode.dicom.resample import CanonicalVolume, mask_to_source, to_canonical
from dicomnode.dicom.volume import Volume
from dicomnode.domain import RefusalCode
from dicomnode.errors import SeriesRefusedError
from tests.factories import AXIAL, CORONAL, SAGITTAL, oblique, slice_positions

RADII_MM = np.array([45.0, 50.0, 47.0])  # a small head

orientations = st.one_of(
    st.sampled_from([AXIAL, SAGITTAL, CORONAL, (-1.0, 0.0, 0.0, 0.0, -1.0, 0.0)]),
    st.builds(oblique, *[st.floats(-180, 180)] * 3),
)


def stack(
    orientation: Any = AXIAL,
    tilt_degrees: float = 0.0,
    missing: Any = (),
    jitter_mm: NDArray[Any] | None = None,
    slice_spacing_mm: float = 3.0,
) -> SliceGeometry:
    rows, columns, spacing = 120, 112, (1.0, 1.1)
    extent = (rows * spacing[0], columns * spacing[1])
    positions = slice_positions(orientation, 40, slice_spacing_mm, extent, tilt_degrees, missing)
    cosines = np.array(orientation)
    if jitter_mm is not None:
        normal = np.cross(cosines[:3], cosines[3:])
        positions = positions + jitter_mm[: len(positions), None] * normal
    return SliceGeometry(positions, cosines[:3], cosines[3:], spacing, rows, columns)


def points_of(geometry: SliceGeometry) -> NDArray[Any]:
    """Patient position of every voxel, (slice, row, column, 3)."""
    rows, columns = np.meshgrid(
        np.arange(geometry.rows), np.arange(geometry.columns), indexing="ij"
    )
    in_plane = (
        rows[..., None] * geometry.pixel_spacing_mm[0] * geometry.column_cosines
        + columns[..., None] * geometry.pixel_spacing_mm[1] * geometry.row_cosines
    )
    return np.asarray(geometry.positions_mm[:, None, None] + in_plane)


def points_of_canonical(canonical: CanonicalVolume) -> NDArray[Any]:
    indices = np.moveaxis(np.indices(canonical.array.shape), 0, -1)
    affine = canonical.affine_lps
    return np.asarray(indices @ affine[:3, :3].T + affine[:3, 3])


def ellipsoid(points_mm: NDArray[Any], centre_mm: NDArray[Any]) -> NDArray[np.uint8]:
    return (np.sum(((points_mm - centre_mm) / RADII_MM) ** 2, axis=-1) < 1).astype(np.uint8)


@settings(max_examples=25, deadline=None)
@given(orientations)
def test_the_canonical_axes_grow_toward_head_posterior_and_left(orientation: Any) -> None:
    geometry = stack(orientation)
    canonical = to_canonical(Volume(np.zeros(geometry.shape, np.float32), geometry, "MR"))
    directions = canonical.affine_lps[:3, :3] / canonical.spacing_mm
    best = np.abs(directions).sum(axis=None)
    for axis, component in enumerate((2, 1, 0)):
        assert directions[component, axis] > -1e-9
    assert np.abs(np.linalg.det(directions)) == pytest.approx(1.0)
    assert best >= 3.0 - 1e-6


@settings(max_examples=25, deadline=None)
@given(orientations)
def test_a_regular_stack_is_only_turned(orientation: Any) -> None:
    geometry = stack(orientation)
    values = np.random.default_rng(0).normal(size=geometry.shape).astype(np.float32)
    canonical = to_canonical(Volume(values, geometry, "MR"))
    assert canonical.array.flags.c_contiguous
    assert np.array_equal(np.sort(canonical.array, axis=None), np.sort(values, axis=None))
    marked = np.zeros(canonical.array.shape, np.uint8)
    marked[3, 5, 7] = 1
    at = tuple(np.argwhere(mask_to_source(marked, canonical, geometry))[0])
    assert canonical.array[3, 5, 7] == values[at]
    np.testing.assert_allclose(
        points_of_canonical(canonical)[3, 5, 7], points_of(geometry)[at], atol=1e-6
    )


def test_a_tilted_stack_shows_the_patient_upright() -> None:
    geometry = stack(tilt_degrees=20)
    values = points_of(geometry)[..., 1].astype(np.float32)
    canonical = to_canonical(Volume(values, geometry, "CT"))
    middle = canonical.array[20, 40:60, 30]
    expected = points_of_canonical(canonical)[20, 40:60, 30, 1]
    np.testing.assert_allclose(middle, expected, atol=1e-3)


def test_a_mask_of_another_shape_is_an_error() -> None:
    geometry = stack()
    canonical = to_canonical(Volume(np.zeros(geometry.shape, np.float32), geometry, "MR"))
    with pytest.raises(ValueError, match="shape"):
        mask_to_source(np.zeros((1, 2, 3), np.uint8), canonical, geometry)


def test_overlapping_slices_do_not_blow_up_the_grid() -> None:
    jitter = np.zeros(40)
    jitter[20] = -2.97
    geometry = stack(jitter_mm=jitter)
    canonical = to_canonical(Volume(np.zeros(geometry.shape, np.float32), geometry, "MR"))
    assert canonical.array.shape[0] <= 200


def test_the_centroid_is_that_of_the_drawn_body() -> None:
    geometry = stack(oblique(10, 20, 30), tilt_degrees=15)
    points = points_of(geometry)
    centre = points.reshape(-1, 3).mean(axis=0)
    mask = ellipsoid(points, centre)
    expected = points[mask == 1].mean(axis=0)
    np.testing.assert_allclose(geometry.centroid_lps_mm(mask), expected, atol=1e-6)
    assert geometry.centroid_lps_mm(np.zeros_like(mask)) is None


@pytest.mark.parametrize("orientation", [AXIAL, SAGITTAL, (-1.0, 0.0, 0.0, 0.0, 1.0, 0.0)])
@pytest.mark.parametrize("tilt", [0.0, 15.0])
def test_only_the_planes_of_missing_slices_are_in_a_gap(orientation: Any, tilt: float) -> None:
    missing = {10, 11, 20}
    geometry = stack(orientation, tilt_degrees=tilt, missing=missing)
    canonical = to_canonical(Volume(np.zeros(geometry.shape, np.float32), geometry, "CT"))
    in_gap = np.broadcast_to(canonical.in_gap, canonical.array.shape)
    assert in_gap.sum() == 3 * in_gap.size / 40
    middle = in_gap.nonzero()
    normal = geometry.normal
    centre = canonical.affine_lps @ [*(index.mean() for index in middle), 1.0]
    usual = geometry.slice_spacing_mm
    away = float((centre[:3] - geometry.positions_mm[0]) @ normal) / usual
    assert away == pytest.approx((10 + 11 + 20) / 3, abs=0.01)


@pytest.mark.parametrize(
    ("distances", "thicknesses", "gaps_mm"),
    [
        ([3.0] * 39, [], []),
        ([3.0, 3.2, 2.9] * 13, [], []),
        ([5.0] * 20 + [10.0] * 19, [5.0] * 20 + [10.0] * 20, []),
        ([5.0] * 20 + [10.0] * 10 + [5.0] * 9, [5.0] * 40, [10.0] * 10),
        ([5.0] * 20 + [20.0] * 5 + [5.0] * 14, [], [20.0] * 5),
        ([0.6] * 20 + [1.2] + [0.6] * 18, [1.25] * 40, [1.2]),
    ],
)
def test_a_gap_is_a_distance_that_thicker_slices_do_not_explain(
    distances: list[float], thicknesses: list[float], gaps_mm: list[float]
) -> None:
    jitter = np.concatenate([[0.0], np.cumsum(distances)]) - 3.0 * np.arange(40)
    known = np.array(thicknesses) if thicknesses else None
    geometry = replace(stack(jitter_mm=jitter), thicknesses_mm=known)
    assert list(np.round(geometry.missing_mm, 3)) == gaps_mm
    canonical = to_canonical(Volume(np.zeros(geometry.shape, np.float32), geometry, "CT"))
    assert canonical.in_gap.any() == bool(gaps_mm)


def test_thin_slices_far_apart_leave_a_gap_although_none_is_missing() -> None:
    geometry = replace(stack(slice_spacing_mm=28.0), thicknesses_mm=np.full(40, 5.0))
    assert not len(geometry.missing_mm)
    assert geometry.widest_gap_mm == pytest.approx(28.0)
    assert replace(geometry, thicknesses_mm=np.full(40, 25.0)).widest_gap_mm == 0.0


def columns_of_slices(distances_mm: list[float], size: int = 8) -> SliceGeometry:
    positions = np.array([[0.0, 0.0, distance] for distance in distances_mm])
    return SliceGeometry(
        positions, np.array(AXIAL[:3]), np.array(AXIAL[3:]), (1.0, 1.0), size, size
    )


@pytest.mark.parametrize("beside", [0.02, 0.5, 0.013])
def test_gaps_beside_close_slices_do_not_blow_up_the_grid(beside: float) -> None:
    close = [beside * index for index in range(20)]
    distances = close + [close[-1] + 29.0 * (index + 1) for index in range(8)]
    geometry = columns_of_slices(distances)
    values = np.arange(28, dtype=np.float32)[:, None, None] * np.ones((1, 8, 8), np.float32)
    canonical = to_canonical(Volume(values, geometry, "CT"))
    assert canonical.array.shape[0] <= 4 * 28
    ends = (canonical.affine_lps @ [[0, 27], [0, 0], [0, 0], [1, 1]])[2]
    assert ends[0] == pytest.approx(0.0)
    assert canonical.array[-1].max() == 27


def test_a_grid_beyond_the_ceiling_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    distances = [*(0.5 * index for index in range(20)), 15.0, 25.3]
    geometry = columns_of_slices(distances)
    monkeypatch.setattr(resample, "MAXIMUM_VOXELS", 22 * 8 * 8)
    with pytest.raises(SeriesRefusedError) as refused:
        to_canonical(Volume(np.zeros(geometry.shape, np.float32), geometry, "CT"))
    assert refused.value.refusal.code == RefusalCode.IRREGULAR_SPACING  # type: ignore[attr-defined]


def test_the_last_slice_of_a_stack_that_leans_a_little_is_at_its_place() -> None:
    positions = np.array([[0.019 * index, 0.0, 4.0 * index] for index in range(11)])
    geometry = SliceGeometry(
        positions, np.array(AXIAL[:3]), np.array(AXIAL[3:]), (2.0, 2.0), 16, 16
    )
    assert geometry.is_regular
    canonical = to_canonical(Volume(np.zeros(geometry.shape, np.float32), geometry, "MR"))
    last = canonical.affine_lps @ [10, 0, 0, 1]
    np.testing.assert_allclose(last[:3], positions[-1], atol=1e-9)
