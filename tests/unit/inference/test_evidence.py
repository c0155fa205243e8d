from __future__ import annotations

import numpy as np

from dicomnode.domain import HeaderClaims, SegmentKind
from dicomnode.inference.evidence import largest_component_voxels, measure


def test_volumes_are_in_millilitres_of_the_grid() -> None:
    mask = np.zeros((10, 10, 10), np.uint8)
    mask[2:7, 2:7, 2:7] = 1
    found = measure(
        {SegmentKind.FOREGROUND: mask}, (2.0, 4.0, 5.0), models=(), claims=HeaderClaims()
    )
    assert found.volumes_ml[SegmentKind.FOREGROUND] == 125 * 40 / 1000
    assert found.field_of_view_mm == (20.0, 40.0, 50.0)
    assert found.matrix == (10, 10, 10)


def test_specks_do_not_add_up_to_a_piece() -> None:
    mask = np.zeros((8, 8, 8), np.uint8)
    mask[::2, ::2, ::2] = 1
    assert largest_component_voxels(mask) == 1
    mask[4, 4, :] = 1
    assert largest_component_voxels(mask) == 8


def test_an_empty_mask_has_no_piece() -> None:
    assert largest_component_voxels(np.zeros((3, 3, 3), np.uint8)) == 0
