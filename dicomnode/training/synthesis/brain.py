"""Where the brain of the template lies, roughly: what skull stripping keeps."""

from __future__ import annotations

import torch

from dicomnode.training.synthesis.scene import Points, Tensor

# Centres and radii in template millimetres, as `training.anatomy` draws them; the third is paired.
_CEREBRUM = ((0.0, -17.0, 19.0), (69.0, 86.0, 61.0))
_CEREBELLUM = ((0.0, -58.0, -38.0), (54.0, 42.0, 30.0))
_TEMPORAL = ((40.0, -8.0, -24.0), (26.0, 36.0, 20.0))
_STEM = ((0.0, -32.0, -50.0), (14.0, 14.0, 40.0))


def _distance(p: Points, x: Tensor, solid: tuple[tuple[float, ...], tuple[float, ...]]) -> Tensor:
    """About the distance to an ellipsoid in millimetres, negative inside (I. Quilez)."""
    (cx, cy, cz), (rx, ry, rz) = solid
    u, v, w = (x - cx) / rx, (p.y - cy) / ry, (p.z - cz) / rz
    near = torch.sqrt(u * u + v * v + w * w)
    slope = torch.sqrt((u / rx) ** 2 + (v / ry) ** 2 + (w / rz) ** 2).clamp(min=1e-6)
    return near * (near - 1.0) / slope


def outside_brain_mm(p: Points) -> Tensor:
    """Distance to the brain's surface, negative inside."""
    solids = [
        _distance(p, p.x, _CEREBRUM),
        _distance(p, p.x, _CEREBELLUM),
        _distance(p, p.x.abs(), _TEMPORAL),
        _distance(p, p.x, _STEM),
    ]
    return torch.stack(solids).amin(0)
