"""What the masks of one series amount to, in numbers.

Volumes are taken on the regular grid that the networks saw, where every voxel has one size.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from dicomnode.domain import Evidence, HeaderClaims, ModelIdentity, SegmentKind

Mask = npt.NDArray[np.uint8]
Triple = tuple[float, float, float]


def measure(
    masks: Mapping[SegmentKind, Mask],
    spacing_mm: Triple,
    *,
    models: tuple[ModelIdentity, ...],
    claims: HeaderClaims,
    warnings: tuple[str, ...] = (),
) -> Evidence:
    """Evidence from `masks`, all on one grid with axes (z, y, x) and `spacing_mm` likewise."""
    voxel_ml = float(np.prod(spacing_mm)) / 1000.0
    shape = next(iter(masks.values())).shape
    depth, height, width = (int(length) for length in shape)
    return Evidence(
        volumes_ml={kind: _round(np.count_nonzero(m) * voxel_ml) for kind, m in masks.items()},
        largest_component_ml={
            kind: _round(largest_component_voxels(m) * voxel_ml) for kind, m in masks.items()
        },
        models=models,
        claims=claims,
        field_of_view_mm=(
            _round(depth * spacing_mm[0]),
            _round(height * spacing_mm[1]),
            _round(width * spacing_mm[2]),
        ),
        spacing_mm=spacing_mm,
        matrix=(depth, height, width),
        warnings=warnings,
    )


def largest_component_voxels(mask: Mask) -> int:
    """Size of the largest piece whose voxels touch by a face; looks only inside its box."""
    box = ndimage.find_objects(mask.astype(bool, copy=False).view(np.uint8))
    if not box or box[0] is None:
        return 0
    labels, count = ndimage.label(mask[box[0]])
    return int(np.bincount(labels.ravel())[1:].max()) if count else 0


def _round(value: float) -> float:
    return round(float(value), 2)
