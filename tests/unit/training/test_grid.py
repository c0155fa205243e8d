"""Axes, affines and resampling of training volumes."""

from __future__ import annotations

import numpy as np
import pytest

from dicomnode.training.grid import Grid, sample, to_hpl
from dicomnode.training.metrics import dice

HPL = np.array([[0.0, 0, 1, 5], [0, 1, 0, -3], [1, 0, 0, 7], [0, 0, 0, 1]])


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 2, 0), (0, 2, 1)])
@pytest.mark.parametrize("flips", [(), (0,), (1, 2), (0, 1, 2)])
def test_any_orientation_comes_back_to_the_same_places(
    order: tuple[int, int, int], flips: tuple[int, ...]
) -> None:
    rng = np.random.default_rng(0)
    wanted = rng.normal(size=(4, 5, 6))
    array, affine = wanted.transpose(order), HPL[:, [*order, 3]].copy()
    for axis in flips:
        affine[:3, 3] += affine[:3, axis] * (array.shape[axis] - 1)
        affine[:3, axis] *= -1
        array = np.flip(array, axis)
    out, out_affine = to_hpl(array, affine)
    assert np.array_equal(out, wanted)
    assert np.allclose(out_affine, HPL)


def test_another_spacing_covers_the_same_box() -> None:
    grid = Grid((40, 50, 60), HPL).at_spacing((2.0, 2.5, 3.0))
    assert grid.shape == (20, 20, 20)
    assert np.allclose(grid.spacing_mm, (2.0, 2.5, 3.0))
    assert np.allclose(grid.affine @ [-0.5, -0.5, -0.5, 1], HPL @ [-0.5, -0.5, -0.5, 1])


def test_sampling_keeps_a_ramp() -> None:
    ramp = np.broadcast_to(np.arange(20, dtype=np.float32)[:, None, None], (20, 8, 8)).copy()
    grid = Grid((20, 8, 8), HPL).at_spacing((2.0, 1.0, 1.0))
    out = sample(ramp, HPL, grid, np.eye(4), 0.0)
    assert np.allclose(out[:, 4, 4], np.arange(10) * 2 + 0.5)


def test_dice_of_two_empty_masks_is_one_and_of_one_empty_mask_zero() -> None:
    empty, full = np.zeros(4, bool), np.ones(4, bool)
    assert dice(empty, empty) == 1.0
    assert dice(empty, full) == 0.0
