"""Volumes with their geometry, and bringing them onto other grids (numpy, scipy)."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import permutations
from typing import TypeVar, cast

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from dicomnode.training.drawn import HPL_TO_LPS, Affine, Volume

Scalar = TypeVar("Scalar", bound=np.generic)


def spacing_of(affine: Affine) -> tuple[float, float, float]:
    """Voxel size in millimetres along each array axis."""
    sides = np.linalg.norm(affine[:3, :3], axis=0)
    return (float(sides[0]), float(sides[1]), float(sides[2]))


@dataclass(frozen=True)
class Grid:
    """A box of voxels in space: `affine` maps array index to LPS millimetres."""

    shape: tuple[int, int, int]
    affine: Affine

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        return spacing_of(self.affine)

    @property
    def voxel_ml(self) -> float:
        return float(abs(np.linalg.det(self.affine[:3, :3]))) / 1000.0

    def at_spacing(self, spacing_mm: tuple[float, float, float]) -> Grid:
        """The same box cut into voxels of another size."""
        factor = np.array(spacing_mm) / np.array(self.spacing_mm)
        shape = np.maximum(1, np.round(np.array(self.shape) / factor)).astype(int)
        affine = self.affine.copy()
        affine[:3, :3] = self.affine[:3, :3] * factor
        affine[:3, 3] += self.affine[:3, :3] @ ((factor - 1.0) / 2.0)
        return Grid((int(shape[0]), int(shape[1]), int(shape[2])), affine)


def to_hpl(array: npt.NDArray[Scalar], affine: Affine) -> tuple[npt.NDArray[Scalar], Affine]:
    """The same voxels with axes nearest to (toward head, posterior, left); nothing is resampled.

    This is what highdicom's `to_patient_orientation("HPL")` does, and what the inference side
    hands to a network.
    """
    directions = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    cosines = HPL_TO_LPS.T @ directions  # rows: H, P, L; columns: array axes
    order = max(permutations(range(3)), key=lambda o: sum(abs(cosines[r, o[r]]) for r in range(3)))
    array = array.transpose(order)
    matrix, origin = affine[:3, :3][:, order].copy(), affine[:3, 3].copy()
    for axis in range(3):
        if cosines[axis, order[axis]] < 0:
            array = np.flip(array, axis)
            origin = origin + matrix[:, axis] * (array.shape[axis] - 1)
            matrix[:, axis] = -matrix[:, axis]
    out = np.eye(4)
    out[:3, :3], out[:3, 3] = matrix, origin
    return np.ascontiguousarray(array), out


def sample(
    array: Volume, affine: Affine, onto: Grid, world: Affine, outside: float, order: int = 1
) -> Volume:
    """`array` on another grid. `world` maps LPS mm of `onto` to LPS mm of `array`."""
    matrix = np.linalg.inv(affine) @ world @ onto.affine
    out = ndimage.affine_transform(
        array.astype(np.float32, copy=False),
        matrix[:3, :3],
        matrix[:3, 3],
        output_shape=onto.shape,
        output=np.float32,
        order=order,
        mode="constant",
        cval=outside,
    )
    return cast(Volume, out)
