"""What a defacing tool finds out about a head before it cuts: directions, depth, extents."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from dicomnode.training.drawn import Affine, Mask, Volume

ENOUGH_VOXELS = 60


@dataclass(frozen=True)
class Scene:
    """A head with coordinates of its own.

    `anterior_mm`, `superior_mm`, `right_mm`: per voxel, along the head's axes from the middle of
    its face. `depth_mm`: distance into the foreground (0 outside). `body`: foreground.
    """

    array: Volume
    body: Mask
    face: Mask
    spacing_mm: tuple[float, float, float]
    anterior_mm: Volume
    superior_mm: Volume
    right_mm: Volume
    depth_mm: Volume

    def face_percentile(self, field: Volume, percent: float) -> float:
        return float(np.percentile(field[self.face], percent))


def scene_of(array: Volume, affine: Affine, body: Mask, face: Mask) -> Scene:
    """`face` must hold at least one voxel; axes of the array are free."""
    axes = _head_axes(affine, body, face)
    middle = np.argwhere(face).mean(axis=0)
    index = [
        (np.arange(n, dtype=np.float32) - np.float32(m))
        for n, m in zip(face.shape, middle, strict=True)
    ]
    along = axes @ affine[:3, :3]  # rows: anterior, superior, right; columns: array axes
    fields = [_along(row, index) for row in along]
    sides = np.linalg.norm(affine[:3, :3], axis=0)
    spacing = (float(sides[0]), float(sides[1]), float(sides[2]))
    depth = ndimage.distance_transform_edt(body, sampling=spacing).astype(np.float32)
    return Scene(array, body, face, spacing, fields[0], fields[1], fields[2], depth)


def _along(row: npt.NDArray[np.float64], index: list[Volume]) -> Volume:
    """Millimetres along one direction for every voxel; `row`: mm per step of each axis."""
    steps = [
        np.float32(row[axis]) * np.expand_dims(index[axis], [b for b in range(3) if b != axis])
        for axis in range(3)
    ]
    return cast(Volume, steps[0] + steps[1] + steps[2])


def _head_axes(affine: Affine, body: Mask, face: Mask) -> npt.NDArray[np.float64]:
    """Anterior, superior and right of the head in LPS, read off the planes that bound its face box.

    Where the face meets the rest of the head it ends in two planes: one behind it, one above it.
    """
    rest = ndimage.binary_dilation(body & ~face)
    border = face & rest
    blurred = face.astype(np.float32)
    slope = np.stack(
        [ndimage.gaussian_filter(blurred, 1.5, order=o)[border] for o in np.eye(3, dtype=int)]
    )
    normals = np.linalg.inv(affine[:3, :3]).T @ slope
    normals /= np.maximum(np.linalg.norm(normals, axis=0), 1e-9)
    anterior = _typical(normals, np.array([0.0, -1.0, 0.0]))
    superior = -_typical(normals, np.array([0.0, 0.0, -1.0]))
    superior -= anterior * (superior @ anterior)
    superior /= np.linalg.norm(superior)
    return np.stack([anterior, superior, np.cross(anterior, superior)])


def _typical(
    normals: npt.NDArray[np.float64], expected: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    close = normals[:, expected @ normals > 0.75]
    if close.shape[1] < ENOUGH_VOXELS:
        return expected
    middle = np.median(close, axis=1)
    return cast(npt.NDArray[np.float64], middle / np.linalg.norm(middle))
