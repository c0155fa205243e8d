"""Coarser grids hold what the finer one holds."""

from __future__ import annotations

import numpy as np
import pytest

from dicomnode.defacing.grid import as_blocks, block_means, in_blocks, sizes_of

STEPS = [(1, 1, 1), (2, 3, 1), (4, 4, 4)]


@pytest.mark.parametrize("step", STEPS)
def test_no_voxel_is_lost_on_the_way_to_a_coarser_grid_and_back(step: tuple[int, ...]) -> None:
    mask = np.random.default_rng(1).random((7, 9, 10)) > 0.97
    coarse = in_blocks(mask, step)
    back = as_blocks(coarse, mask.shape, step)
    assert not (mask & ~back).any()
    assert np.array_equal(in_blocks(back, step), coarse)


@pytest.mark.parametrize("step", STEPS)
def test_a_mean_is_that_of_its_block(step: tuple[int, ...]) -> None:
    array = np.random.default_rng(1).random((7, 9, 10)).astype(np.float32)
    found = block_means(array, step)
    z, y, x = step
    assert found[0, 0, 0] == pytest.approx(array[:z, :y, :x].mean())
    last = tuple(slice((n - 1) // k * k, None) for n, k in zip(array.shape, step, strict=True))
    assert found[-1, -1, -1] == pytest.approx(array[last].mean())


def test_pieces_are_counted_by_their_label() -> None:
    labels = np.array([[[0, 1, 1]], [[2, 0, 1]]], np.int32)
    assert sizes_of(labels).tolist() == [0, 3, 1]
