"""Dice, HD95 and surface Dice against hand-computed, brute-force and SimpleITK's answers."""

from __future__ import annotations

import itertools
import math
import time

import numpy as np
import numpy.typing as npt
import pytest
import SimpleITK
from hypothesis import given, settings
from hypothesis import strategies as st

from dicomnode.training.metrics import Agreement, Triple, agreement

Mask = npt.NDArray[np.bool_]
THICK: Triple = (5.0, 1.0, 0.5)


def _box(shape: tuple[int, int, int], *sides: slice) -> Mask:
    mask = np.zeros(shape, bool)
    mask[sides] = True
    return mask


def _blobs(seed: int) -> tuple[Mask, Mask]:
    rng = np.random.default_rng(seed)
    return rng.random((5, 6, 7)) < 0.35, rng.random((5, 6, 7)) < 0.25


def _slow(a: Mask, b: Mask, spacing: Triple, tolerance_mm: float) -> Agreement:
    """Written apart from the real one: loops over voxels and their six neighbours."""

    def faces(mask: Mask) -> list[tuple[list[float], float]]:
        found = []
        for at in itertools.product(*(range(n) for n in mask.shape)):
            if not mask[at]:
                continue
            for axis, step in itertools.product(range(3), (-1, 1)):
                beside = list(at)
                beside[axis] += step
                outside = not 0 <= beside[axis] < mask.shape[axis]
                if outside or not mask[tuple(beside)]:
                    middle = [float(i) * mm for i, mm in zip(at, spacing, strict=True)]
                    middle[axis] += step * spacing[axis] / 2
                    found.append((middle, math.prod(spacing) / spacing[axis]))
        return found

    one, other = faces(a), faces(b)
    away = [(min(math.dist(p, q) for q, _ in other), area) for p, area in one]
    away += [(min(math.dist(p, q) for q, _ in one), area) for p, area in other]
    whole = sum(area for _, area in away)
    reached, hd95 = 0.0, 0.0
    for distance, area in sorted(away):
        reached += area
        if reached >= 0.95 * whole - 1e-9:
            hd95 = distance
            break
    near = sum(area for distance, area in away if distance <= tolerance_mm + 1e-9)
    overlap = 2 * (a & b).sum() / (a.sum() + b.sum())
    return Agreement(float(overlap), hd95, near / whole)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), THICK, (0.7, 3.1, 1.3)])
def test_figures_are_those_of_a_slow_implementation(seed: int, spacing: Triple) -> None:
    a, b = _blobs(seed)
    fast, slow = agreement(a, b, spacing, 1.05), _slow(a, b, spacing, 1.05)
    assert fast.dice == pytest.approx(slow.dice)
    assert fast.hd95_mm == pytest.approx(slow.hd95_mm)
    assert fast.surface_dice == pytest.approx(slow.surface_dice)


def test_two_voxels_side_by_side_by_hand() -> None:
    """Each has six faces of 1 mm2; one is shared. From the other five of each, four lie 1 mm from
    their like, and the far one 1 mm from the shared face."""
    a, b = np.zeros((1, 1, 2), bool), np.zeros((1, 1, 2), bool)
    a[0, 0, 0] = b[0, 0, 1] = True
    assert agreement(a, b, (1.0, 1.0, 1.0), 0.5).surface_dice == pytest.approx(2 / 12)
    found = agreement(a, b, (1.0, 1.0, 1.0), 1.0)
    assert (found.dice, found.surface_dice) == (0.0, 1.0)
    # The nearest face of the other voxel, seen from the middle of a side: the shared face.
    assert found.hd95_mm == pytest.approx(1.0)


def test_slices_count_by_their_thickness() -> None:
    """A plate that is moved by one slice of 5 mm is 5 mm away, moved by one column 0.5 mm."""
    plate = _box((9, 12, 12), slice(4, 5), slice(2, 10), slice(2, 10))
    assert agreement(plate, np.roll(plate, 2, 0), THICK, 4.9).surface_dice == 0.0
    assert agreement(plate, np.roll(plate, 1, 0), THICK).hd95_mm == pytest.approx(5.0)
    assert agreement(plate, np.roll(plate, 1, 2), THICK, 0.5).surface_dice == 1.0


def test_empty_masks_follow_the_convention() -> None:
    empty, full = np.zeros((4, 5, 6), bool), _box((4, 5, 6), slice(1, 2))
    diagonal_mm = math.hypot(4 * 5.0, 5 * 1.0, 6 * 0.5)
    assert agreement(empty, empty, THICK) == Agreement(1.0, 0.0, 1.0)
    for pair in ((empty, full), (full, empty)):
        found = agreement(*pair, THICK)
        assert (found.dice, found.surface_dice) == (0.0, 0.0)
        assert found.hd95_mm == pytest.approx(diagonal_mm)


def test_masks_of_other_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match="shape"):
        agreement(np.ones((2, 2, 2)), np.ones((2, 2, 3)), THICK)


def _image(mask: Mask, spacing: Triple) -> SimpleITK.Image:
    image = SimpleITK.GetImageFromArray(mask.astype(np.uint8))
    image.SetSpacing([float(mm) for mm in reversed(spacing)])
    return image


def test_simpleitk_gives_the_same_overlap_and_distance() -> None:
    """Its Hausdorff distance is the maximum over voxels: the same where a thin plate is moved."""
    a = _box((12, 12, 12), slice(2, 3), slice(1, 11), slice(1, 11))
    b = np.roll(a, 3, 0) | np.roll(a, 4, 0)
    overlap, distance = (
        SimpleITK.LabelOverlapMeasuresImageFilter(),
        SimpleITK.HausdorffDistanceImageFilter(),
    )
    blobs = _blobs(9)
    overlap.Execute(*(_image(mask, THICK) for mask in blobs))
    assert agreement(*blobs, THICK).dice == pytest.approx(overlap.GetDiceCoefficient())
    distance.Execute(_image(a, THICK), _image(a | b, THICK))
    assert agreement(a, a | b, THICK).hd95_mm <= distance.GetHausdorffDistance()
    far = np.roll(a, 3, 0)
    distance.Execute(_image(a, THICK), _image(far, THICK))
    assert agreement(a, far, THICK).hd95_mm == pytest.approx(distance.GetHausdorffDistance())


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.floats(0.2, 5.0))
def test_figures_are_symmetric_and_scale_with_the_voxels(seed: int, factor: float) -> None:
    a, b = _blobs(seed)
    there, back = agreement(a, b, THICK), agreement(b, a, THICK)
    assert there == back
    scaled: Triple = (THICK[0] * factor, THICK[1] * factor, THICK[2] * factor)
    assert agreement(a, b, scaled).hd95_mm == pytest.approx(factor * there.hd95_mm)
    assert 0.0 <= there.surface_dice <= 1.0
    assert agreement(a, a, THICK) == Agreement(1.0, 0.0, 1.0)


def test_a_large_volume_takes_seconds() -> None:
    place = np.indices((256, 256, 256), dtype=np.float32)
    radius = np.sqrt(((place - 128) ** 2).sum(axis=0))
    began = time.process_time()  # of this process: the machine may be busy
    found = agreement(radius < 100, radius < 103, (1.0, 1.0, 1.0), 5.0)
    assert time.process_time() - began < 20
    assert 2.0 < found.hd95_mm < 4.5
    assert found.surface_dice == 1.0
