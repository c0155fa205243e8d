"""Which voxels are taken away: the face, grown outward until no shell of skin can stay.

The face network's mask ends a voxel or two under the skin, and those two voxels are enough to
recognise a face. So the mask grows by a set distance, but never deeper into the head than it lies
itself; what it cuts off from the head goes with it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage
from scipy.spatial import ConvexHull, Delaunay, QhullError

from dicomnode.defacing.grid import (
    Flags,
    Triple,
    as_blocks,
    coarse_mm,
    depth_mm,
    every,
    in_blocks,
    sizes_of,
    step_of,
)

# How far around the face a piece that it cut off is looked for.
SHELL_REACH_MM = 30.0
# Of a face that the field of view cuts every piece counts that is larger; millilitres.
LEAST_PIECE_ML = 1.0
_HULL_GRID_MM = 4.0
# Skin, with what lies right under it: eyelids, but not the eye.
SKIN_MM = 4.0
# Growth is measured on no finer grid: a tenth of the work where voxels are half as wide.
_GROWTH_GRID_MM = 1.0
# How far around the face the skin is looked for that tells how deep its voxels lie.
_DEPTH_REACH_MM = 40.0


@dataclass(frozen=True)
class Growth:
    """Millimetres: how far the mask grows along and out of the skin, and how far into the head.

    `spares_orbits`: in the head it takes only skin.
    """

    outward_mm: float = 8.0
    inward_mm: float = 1.0
    spares_orbits: bool = False


def face_pieces(face: Flags, spacing_mm: Triple) -> Flags:
    """The largest piece; all but specks where the field of view cuts the face."""
    around = _box_around(face, 0.0, spacing_mm) if face.any() else ()
    labels, count = ndimage.label(face[around])
    if count < 2:
        return face
    sizes = sizes_of(labels)
    kept = sizes == sizes.max()
    if _touches_the_edge(face):
        kept |= sizes * np.prod(spacing_mm) / 1000.0 >= LEAST_PIECE_ML
        kept[0] = False
    pieces = np.zeros_like(face)
    pieces[around] = kept[labels]
    return pieces


def removed_region(
    face: Flags, tissue: Flags, protected: Flags, spacing_mm: Triple, growth: Growth
) -> Flags:
    """All that is replaced. Masks are (z, y, x); `protected` is never part of it."""
    if growth.spares_orbits:
        protected = protected | ((depth_mm(tissue, spacing_mm) > SKIN_MM) & ~face)
    grown = _grown(face, tissue, spacing_mm, growth) & ~protected
    if not grown.any():
        return grown
    return grown | (_cut_off(grown, tissue, spacing_mm) & ~protected)


def hull(face: Flags, spacing_mm: Triple) -> Flags:
    """The convex hull of the face: what lies between its parts is no brain either."""
    step = step_of(spacing_mm, _HULL_GRID_MM)
    places = np.argwhere(in_blocks(face, step)) * step
    try:
        inside = Delaunay(places[ConvexHull(places).vertices])
    except (QhullError, ValueError):  # too few voxels, or all in a plane
        return face
    found = np.zeros(face.shape, np.bool_)
    low, high = places.min(axis=0), places.max(axis=0) + 1
    box = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
    axes = [np.arange(a, b, n) for a, b, n in zip(low, high, step, strict=True)]
    grid = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1)
    coarse = inside.find_simplex(grid.reshape(-1, 3)).reshape(grid.shape[:3]) >= 0
    found[box] = as_blocks(coarse, found[box].shape, step)
    return found | face


def _grown(face: Flags, tissue: Flags, spacing_mm: Triple, growth: Growth) -> Flags:
    """Voxels near the face that lie no deeper under the skin than the nearest voxel of it."""
    if not face.any():
        return face
    box = _box_around(face, growth.outward_mm + _DEPTH_REACH_MM, spacing_mm)
    step = step_of(spacing_mm, _GROWTH_GRID_MM)
    grid_mm = coarse_mm(spacing_mm, step)
    near = in_blocks(face[box], step)
    depth = depth_mm(tissue[box][every(step)] | near, grid_mm)
    away_mm, nearest = ndimage.distance_transform_edt(~near, sampling=grid_mm, return_indices=True)
    is_no_deeper = depth <= depth[tuple(nearest)] + growth.inward_mm
    grown = np.zeros_like(face)
    coarse = (away_mm <= growth.outward_mm) & is_no_deeper
    grown[box] = as_blocks(coarse, grown[box].shape, step)
    return grown | face


def _cut_off(removed: Flags, tissue: Flags, spacing_mm: Triple) -> Flags:
    """Tissue near what is removed that no longer hangs on to the body."""
    box = _box_around(removed, SHELL_REACH_MM, spacing_mm)
    body = _box_around(tissue | removed, 0.0, spacing_mm)
    labels, count = ndimage.label((tissue & ~removed)[body])
    if count < 2:
        return np.zeros_like(removed)
    sizes = sizes_of(labels)
    loose = sizes < sizes.max()
    loose[0] = False
    found, near = np.zeros_like(removed), np.zeros_like(removed)
    found[body] = loose[labels]
    near[box] = found[box]
    return near


def _touches_the_edge(mask: Flags) -> bool:
    ends = (np.take(mask, side, axis=axis) for axis in range(3) for side in (0, -1))
    return any(bool(end.any()) for end in ends)


def _box_around(mask: Flags, margin_mm: float, spacing_mm: Triple) -> tuple[slice, slice, slice]:
    found = ndimage.find_objects(mask.view(np.uint8))[0]
    more = [int(np.ceil(margin_mm / mm)) for mm in spacing_mm]
    z, y, x = (
        slice(max(0, side.start - n), side.stop + n) for side, n in zip(found, more, strict=True)
    )
    return z, y, x
