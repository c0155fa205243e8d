"""Masks on a coarser grid and back, and how deep a voxel lies."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage

Flags = npt.NDArray[np.bool_]
Triple = tuple[float, float, float]
Step = tuple[int, ...]


def step_of(spacing_mm: Triple, wanted_mm: float) -> Step:
    """Every how many voxels of each axis make a grid of about `wanted_mm`."""
    return tuple(max(1, round(wanted_mm / mm)) for mm in spacing_mm)


def every(step: Step) -> tuple[slice, ...]:
    return tuple(slice(None, None, n) for n in step)


def coarse_mm(spacing_mm: Triple, step: Step) -> list[float]:
    return [mm * n for mm, n in zip(spacing_mm, step, strict=True)]


def in_blocks(mask: Flags, step: Step) -> Flags:
    """The grid on which a voxel is true where any of the block that it stands for is."""
    return np.asarray(_combined(np.logical_or, mask, step))


def block_means(array: npt.NDArray[np.float32], step: Step) -> npt.NDArray[np.float32]:
    """Of the block that each voxel of the coarse grid stands for; blocks at an end are smaller."""
    sums, shape = _combined(np.add, array, step), array.shape
    for axis, (n, size) in enumerate(zip(step, shape, strict=True)):
        counts = np.minimum(n, size - np.arange(0, size, n))
        sums = sums / np.expand_dims(counts, [k for k in range(3) if k != axis]).astype(np.float32)
    return np.asarray(sums)


def _combined(combine: np.ufunc, array: npt.NDArray[Any], step: Step) -> npt.NDArray[Any]:
    found = array
    for axis, n in enumerate(step):
        fine = np.moveaxis(found, axis, 0)
        total = fine[::n].copy()
        for k in range(1, n):
            part = fine[k::n]
            combine(total[: len(part)], part, out=total[: len(part)])
        found = np.moveaxis(total, 0, axis)
    return np.ascontiguousarray(found)


def as_blocks(mask: Flags, shape: tuple[int, ...], step: Step) -> Flags:
    """Every coarse voxel as the block of fine ones that it stands for."""
    fine = mask
    for axis, n in enumerate(step):
        fine = np.repeat(fine, n, axis=axis)
    return fine[tuple(slice(0, side) for side in shape)]


def distance_mm(mask: Flags, grid_mm: Any) -> npt.NDArray[np.float64]:
    """Inside the mask, to the nearest voxel outside of it."""
    return np.asarray(ndimage.distance_transform_edt(mask, sampling=grid_mm))


def depth_mm(tissue: Flags, grid_mm: Any) -> npt.NDArray[np.float64]:
    """Under the skin; what the edge of the volume cuts is not skin."""
    padded = np.pad(tissue, 1, mode="edge")
    return distance_mm(padded, grid_mm)[1:-1, 1:-1, 1:-1]


def sizes_of(labels: npt.NDArray[Any]) -> npt.NDArray[np.intp]:
    """Voxels of each piece by its label; the background counts none."""
    sizes = np.zeros(int(labels.max()) + 1, np.intp)
    for plane in labels:  # counting makes wider copies
        sizes += np.bincount(plane.ravel(), minlength=len(sizes))
    sizes[0] = 0
    return sizes
