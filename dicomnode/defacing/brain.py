"""The brain, found without a network: what defacing must never touch.

Fluid, bone and air around the brain are darker than it in MR and outside its Hounsfield units in
CT, so it is the large piece of soft tissue, deep in the head and outside the face, that is left
when thin bridges are cut (thresholds and morphology, as in Brain Surface Extractor: Shattuck et
al., NeuroImage 2001). It takes more than the brain where it is unsure, the neck for one: tissue
that is protected is only ever deep.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from dicomnode.defacing.grid import (
    Flags,
    Triple,
    as_blocks,
    block_means,
    coarse_mm,
    depth_mm,
    distance_mm,
    every,
    sizes_of,
    step_of,
)
from dicomnode.defacing.region import hull
from dicomnode.errors import DefacingError

GRID_MM = 2.0
# Scalp and skull together are thicker than this nearly everywhere.
LEAST_DEPTH_MM = 6.0
BRIDGE_MM = 4.0
# Back to its surface, and what opening and grid took off of thin ends of the brain.
RETURN_MM = 10.0
# From fluid to the densest gray matter and fresh blood.
BRAIN_HU = (0.0, 100.0)
# Of the median of what lies deep: darker is fluid, bone or air.
DEEP_MM = 20.0
DARKEST_SHARE = 0.35
LEAST_ML = 100.0


def protected_brain(
    array: npt.NDArray[np.float32],
    tissue: Flags,
    face: Flags,
    spacing_mm: Triple,
    modality: str,
) -> Flags:
    """True where the brain may lie. Axes (z, y, x) toward head, back and left.

    `tissue` is the anatomical foreground. Raises `DefacingError` where none is found: nothing may
    be changed in a head whose brain is unknown.
    """
    step = step_of(spacing_mm, GRID_MM)
    thin, grid_mm = every(step), coarse_mm(spacing_mm, step)
    depth = depth_mm(tissue[thin], grid_mm)
    inside = (depth >= LEAST_DEPTH_MM) & ~face[thin]
    values = block_means(array, step)
    # Between the parts of a face lies no brain, but much that hangs on to it.
    beyond = inside & ~hull(face, spacing_mm)[thin]
    soft = ndimage.binary_opening(beyond & _is_soft(values, depth, modality))
    piece = _largest(distance_mm(soft, grid_mm) > BRIDGE_MM)
    if np.count_nonzero(piece) * np.prod(grid_mm) / 1000.0 < LEAST_ML:
        raise DefacingError(
            "no brain was found in this head, so it isn't clear what must not be changed"
        )
    brain = (distance_mm(~piece, grid_mm) <= RETURN_MM) & inside
    return as_blocks(ndimage.binary_fill_holes(brain), array.shape, step)


def _is_soft(
    values: npt.NDArray[np.float32], depth: npt.NDArray[np.float64], modality: str
) -> Flags:
    if modality == "CT":
        return np.asarray((values > BRAIN_HU[0]) & (values < BRAIN_HU[1]))
    deep = values[depth >= min(DEEP_MM, float(depth.max()))]
    return np.asarray(values > DARKEST_SHARE * np.median(deep))


def _largest(mask: Flags) -> Flags:
    labels, count = ndimage.label(mask)
    if not count:
        return mask
    return np.asarray(labels == sizes_of(labels).argmax())
