"""The ears, found without a network: flaps at the sides of the head that a ball can't get into.

By themselves they tell people apart, but no face network masks them; taking them away is an option.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from dicomnode.defacing.grid import (
    Flags,
    Triple,
    as_blocks,
    coarse_mm,
    distance_mm,
    every,
    in_blocks,
    sizes_of,
    step_of,
)

GRID_MM = 2.0
# A ball of this radius fits into every part of a head but ears, and a nose, which lies elsewhere.
BALL_MM = 12.0
# Of the width of the head, at each side.
LATERAL_SHARE = 0.25
# How far the ears may lie above the face, and in front of where it ends; below is the jaw, and the
# shoulders, which have edges too.
REACH_MM = 20.0
# Around a flap this goes too, and so deep into the head beneath.
MARGIN_MM, UNDER_MM = 4.0, 3.0
LEAST_ML = 2.0


def ear_region(tissue: Flags, face: Flags, spacing_mm: Triple) -> Flags:
    """What is removed of the ears, the largest flap of each side; empty where there are none.

    Axes (z, y, x) toward head, back and left. Ears that are pressed to the head are no flaps.
    """
    step = step_of(spacing_mm, GRID_MM)
    thin, grid_mm = every(step), coarse_mm(spacing_mm, step)
    # What the edge of the volume cuts is not skin.
    body = np.pad(tissue[thin], 1, mode="edge")
    ball = distance_mm(body, grid_mm) > BALL_MM
    if body.all() or not ball.any():
        return np.zeros_like(tissue)
    head = distance_mm(~ball, grid_mm) <= BALL_MM
    flaps = (body & ~head)[1:-1, 1:-1, 1:-1]
    found = np.zeros_like(flaps)
    for side in _sides(body[1:-1, 1:-1, 1:-1], in_blocks(face, step), grid_mm):
        labels, count = ndimage.label(flaps[side])
        sizes = sizes_of(labels)
        if count and sizes.max() * np.prod(grid_mm) / 1000.0 >= LEAST_ML:
            found[side] |= labels == sizes.argmax()
    if not found.any():
        return np.zeros_like(tissue)
    near = distance_mm(~found, grid_mm) <= MARGIN_MM
    beneath = distance_mm(head, grid_mm)[1:-1, 1:-1, 1:-1] > UNDER_MM
    return as_blocks(near & ~beneath, tissue.shape, step)


def _sides(body: Flags, face: Flags, grid_mm: list[float]) -> list[tuple[slice, slice, slice]]:
    """Where an ear may be: at the level of the face, behind it, and far to one side."""
    z, y, _ = ndimage.find_objects(face.view(np.uint8))[0]
    dz, dy = (round(REACH_MM / mm) for mm in grid_mm[:2])
    level = slice(z.start + (z.stop - z.start) // 4, z.stop + dz)
    behind = slice(max(0, y.stop - dy), None)
    columns = np.flatnonzero(body[level, behind].any(axis=(0, 1)))
    if not columns.size:
        return []
    width = round(LATERAL_SHARE * (columns[-1] - columns[0]))
    right, left = slice(0, columns[0] + width), slice(columns[-1] - width, None)
    return [(level, behind, right), (level, behind, left)]
