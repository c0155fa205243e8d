from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from dicomnode.inference import pieces
from dicomnode.inference.pieces import Mask, largest_piece_voxels


def by_scipy(mask: Mask) -> int:
    labels, count = ndimage.label(mask)
    return int(np.bincount(labels.ravel(), minlength=count + 1)[1:].max(initial=0))


def test_specks_do_not_add_up_to_a_piece() -> None:
    mask = np.zeros((8, 8, 8), np.uint8)
    mask[::2, ::2, ::2] = 1
    assert largest_piece_voxels(mask) == 1
    mask[4, 4, :] = 1
    assert largest_piece_voxels(mask) == 8


def test_an_empty_mask_has_no_piece() -> None:
    assert largest_piece_voxels(np.zeros((3, 3, 3), np.uint8)) == 0


def test_a_full_mask_is_one_piece_and_any_value_marks() -> None:
    assert largest_piece_voxels(np.full((3, 4, 5), 7, np.uint8)) == 60


def test_the_end_of_a_row_or_plane_does_not_touch_the_next_ones_begin() -> None:
    mask = np.zeros((2, 2, 3), np.uint8)
    mask[0, 0, 2] = mask[0, 1, 0] = 1
    mask[0, 1, 2] = 1  # below the first, so these two touch
    mask[1, 0, 0] = 1
    assert largest_piece_voxels(mask) == 2


@pytest.mark.parametrize("most_runs_a_voxel", [1.0, 0.0])
def test_pieces_are_those_of_scipy_by_runs_and_by_voxels(
    monkeypatch: pytest.MonkeyPatch, most_runs_a_voxel: float
) -> None:
    monkeypatch.setattr(pieces, "_MOST_RUNS_A_VOXEL", most_runs_a_voxel)
    random = np.random.default_rng(0)
    for _ in range(200):
        mask = (random.random(random.integers(1, 9, 3)) < random.random()).astype(np.uint8)
        assert largest_piece_voxels(mask) == by_scipy(mask)
