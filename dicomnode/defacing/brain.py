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

from dicomnode.defacing.region import hull
from dicomnode.errors import DefacingError

Flags = npt.NDArray[np.bool_]
Triple = tuple[float, float, float]

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
    step = tuple(max(1, round(GRID_MM / mm)) for mm in spacing_mm)
    thin = tuple(slice(None, None, n) for n in step)
    grid_mm = [mm * n for mm, n in zip(spacing_mm, step, strict=True)]
    depth_mm = _depth_mm(tissue[thin], grid_mm)
    inside = (depth_mm >= LEAST_DEPTH_MM) & ~face[thin]
    values = ndimage.uniform_filter(array, step)[thin]
    # Between the parts of a face lies no brain, but much that hangs on to it.
    beyond = inside & ~hull(face, spacing_mm)[thin]
    soft = ndimage.binary_opening(beyond & _is_soft(values, depth_mm, modality))
    piece = _largest(_distance_mm(soft, grid_mm) > BRIDGE_MM)
    if np.count_nonzero(piece) * np.prod(grid_mm) / 1000.0 < LEAST_ML:
        raise DefacingError(
            "no brain was found in this head, so it isn't clear what must not be changed"
        )
    brain = (_distance_mm(~piece, grid_mm) <= RETURN_MM) & inside
    return _onto(ndimage.binary_fill_holes(brain), array.shape, step)


def _is_soft(
    values: npt.NDArray[np.float32], depth_mm: npt.NDArray[np.float64], modality: str
) -> Flags:
    if modality == "CT":
        return np.asarray((values > BRAIN_HU[0]) & (values < BRAIN_HU[1]))
    deep = values[depth_mm >= min(DEEP_MM, float(depth_mm.max()))]
    return np.asarray(values > DARKEST_SHARE * np.median(deep))


def _depth_mm(tissue: Flags, grid_mm: list[float]) -> npt.NDArray[np.float64]:
    """Under the skin; what the edge of the volume cuts is not skin."""
    padded = np.pad(tissue, 1, mode="edge")
    return _distance_mm(padded, grid_mm)[1:-1, 1:-1, 1:-1]


def _distance_mm(mask: Flags, grid_mm: list[float]) -> npt.NDArray[np.float64]:
    return np.asarray(ndimage.distance_transform_edt(mask, sampling=grid_mm))


def _largest(mask: Flags) -> Flags:
    labels, count = ndimage.label(mask)
    if not count:
        return mask
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    return np.asarray(labels == sizes.argmax())


def _onto(mask: Flags, shape: tuple[int, ...], step: tuple[int, ...]) -> Flags:
    """Every coarse voxel as the block of fine ones that it stood for."""
    fine = mask
    for axis, n in enumerate(step):
        fine = np.repeat(fine, n, axis=axis)
    return fine[tuple(slice(0, side) for side in shape)]
