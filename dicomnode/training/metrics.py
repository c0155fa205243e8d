"""How well two masks of one volume agree: overlap and the distance of their surfaces.

Conventions for empty masks, which a network that finds nothing makes ordinary:

| reference, answer | Dice | surface Dice | HD95 |
|---|---|---|---|
| both empty | 1 | 1 | 0 mm |
| one of them empty | 0 | 0 | the diagonal of the volume |

The diagonal, not NaN: what was missed altogether must not drop out of a mean.

The surface of a mask is the set of voxel faces between inside and outside, each with its place and
its area in millimetres, so that slices thicker than the pixels distort nothing. The edge of the
volume counts as outside. Distances are between the middles of such faces.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage
from scipy.spatial import cKDTree

Mask = npt.NDArray[np.bool_]
Reals = npt.NDArray[np.float64]
Triple = tuple[float, float, float]

TOLERANCE_MM = 2.0
HD_SHARE = 0.95
ROUNDING_MM = 1e-6


@dataclass(frozen=True)
class Agreement:
    """Of one reference and one answer; `tolerance_mm` is that of `surface_dice`."""

    dice: float
    hd95_mm: float
    surface_dice: float


@dataclass(frozen=True)
class _Surface:
    """Faces of a mask: `points_mm` (n, 3) in array axes, `areas_mm2` (n)."""

    points_mm: Reals
    areas_mm2: Reals


def dice(reference: npt.NDArray[Any], answer: npt.NDArray[Any]) -> float:
    """Twice the overlap by the sum of both (Dice 1945)."""
    a, b = np.asarray(reference, bool), np.asarray(answer, bool)
    total = int(np.count_nonzero(a)) + int(np.count_nonzero(b))
    return 1.0 if total == 0 else 2.0 * int(np.count_nonzero(a & b)) / total


def agreement(
    reference: npt.NDArray[Any],
    answer: npt.NDArray[Any],
    spacing_mm: Triple,
    tolerance_mm: float = TOLERANCE_MM,
) -> Agreement:
    """Dice, HD95 and surface Dice of two masks on one grid of `spacing_mm` along its axes.

    HD95: the distance within which 95 % of both surfaces, by area, lie from the other one.
    Surface Dice: the share of both surfaces that lies within `tolerance_mm` of the other one
    (Nikolov et al., arXiv 1809.04430).
    """
    a, b = np.asarray(reference, bool), np.asarray(answer, bool)
    if a.shape != b.shape:
        raise ValueError(f"the reference has shape {a.shape}, the answer {b.shape}")
    if not a.any() and not b.any():
        return Agreement(1.0, 0.0, 1.0)
    if not a.any() or not b.any():
        return Agreement(0.0, _diagonal_mm(a.shape, spacing_mm), 0.0)
    box = ndimage.find_objects((a | b).view(np.uint8))[0]
    a, b = a[box], b[box]
    distances_mm, areas_mm2 = _distances(_surface(a, spacing_mm), _surface(b, spacing_mm))
    near = distances_mm <= tolerance_mm + ROUNDING_MM
    return Agreement(
        dice=dice(a, b),
        hd95_mm=_quantile(distances_mm, areas_mm2, HD_SHARE),
        surface_dice=float(areas_mm2[near].sum() / areas_mm2.sum()),
    )


def _diagonal_mm(shape: tuple[int, ...], spacing_mm: Triple) -> float:
    return float(np.linalg.norm(np.array(shape) * np.array(spacing_mm)))


def _surface(mask: Mask, spacing_mm: Triple) -> _Surface:
    padded = np.pad(mask, 1)
    points, areas = [], []
    for axis in range(3):
        found = np.argwhere(np.diff(padded.view(np.int8), axis=axis)).astype(np.float64)
        found[:, axis] += 0.5
        points.append(found * np.array(spacing_mm))
        area = float(np.prod([mm for other, mm in enumerate(spacing_mm) if other != axis]))
        areas.append(np.full(len(found), area))
    return _Surface(np.concatenate(points), np.concatenate(areas))


def _distances(one: _Surface, other: _Surface) -> tuple[Reals, Reals]:
    """Of every face of either surface the distance to the other, and its area."""
    away_mm = np.concatenate([_nearest(one, other), _nearest(other, one)])
    return away_mm, np.concatenate([one.areas_mm2, other.areas_mm2])


def _nearest(source: _Surface, target: _Surface) -> Reals:
    # On surfaces a tree that isn't balanced is made and searched four times as fast.
    tree = cKDTree(target.points_mm, balanced_tree=False, compact_nodes=False)
    return np.asarray(tree.query(source.points_mm)[0])


def _quantile(values: Reals, weights: Reals, share: float) -> float:
    """The smallest value that `share` of the weight doesn't exceed."""
    order = np.argsort(values)
    reached = np.cumsum(weights[order])
    index = np.searchsorted(reached, share * reached[-1] * (1 - 1e-12))
    return float(values[order][index])
