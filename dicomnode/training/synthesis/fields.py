"""Blurring and growing of 3D fields with torch."""

from __future__ import annotations

import torch
import torch.nn.functional as nn_f

from dicomnode.training.synthesis.scene import Tensor

Spacing = tuple[float, float, float]


def blurred(field: Tensor, sigma_voxels: tuple[float, float, float]) -> Tensor:
    """Gaussian, separable; an axis with a sigma under a fifth of a voxel is left alone."""
    out = field[None, None].float()
    for axis, sigma in enumerate(sigma_voxels):
        if sigma < 0.2:
            continue
        reach = min(max(1, round(3 * sigma)), field.shape[axis] - 1)
        at = torch.arange(-reach, reach + 1, device=field.device, dtype=torch.float32)
        kernel = torch.exp(-0.5 * (at / sigma) ** 2)
        shape = [1, 1, 1, 1, 1]
        shape[axis + 2] = len(at)
        pads = [0, 0, 0, 0, 0, 0]
        pads[2 * (2 - axis)] = pads[2 * (2 - axis) + 1] = reach
        out = nn_f.conv3d(
            nn_f.pad(out, pads, mode="replicate"), (kernel / kernel.sum()).view(shape)
        )
    return out[0, 0]


def grown(mask: Tensor, by_mm: float, spacing_mm: Spacing) -> Tensor:
    """`mask` and what lies within about `by_mm`: boxes and crosses in turn, nearly a ball.

    Voxels of unequal sides grow along each axis by as many steps as fit into `by_mm`.
    """
    steps = [round(by_mm / side) for side in spacing_mm]
    out = mask
    for step in range(max(steps)):
        axes = [axis for axis in range(3) if steps[axis] > step]
        out = _box(out, axes) if step % 2 else _cross(out, axes)
    return out


def _box(mask: Tensor, axes: list[int]) -> Tensor:
    for axis in axes:
        mask = _with_neighbours(mask.clone(), mask, axis)
    return mask


def _cross(mask: Tensor, axes: list[int]) -> Tensor:
    out = mask.clone()
    for axis in axes:
        _with_neighbours(out, mask, axis)
    return out


def _with_neighbours(out: Tensor, mask: Tensor, axis: int) -> Tensor:
    """`out`, with the voxels before and after those of `mask` along one axis."""
    others = mask.shape[axis] - 1
    out.narrow(axis, 1, others).logical_or_(mask.narrow(axis, 0, others))
    out.narrow(axis, 0, others).logical_or_(mask.narrow(axis, 1, others))
    return out
