"""Volumes that come again, changed: a GPU learns from them faster than processors draw them."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

import numpy as np
import torch
import torch.nn.functional as nn_f
from scipy.spatial.transform import Rotation

from dicomnode.training.synthesis.scene import Tensor

Volumes = tuple[Tensor, Tensor]  # images and label maps, both (batch, *patch), one device
MEMORY_VOLUMES = 1024
TURN_DEGREES, SCALE = 10.0, (0.9, 1.12)


def used_again(fresh: Iterator[Volumes], uses: int, seed: int) -> Iterator[Volumes]:
    """Every fresh batch, and after each of them `uses` - 1 of changed volumes drawn before."""
    memory: deque[Volumes] = deque(maxlen=MEMORY_VOLUMES)
    rng = np.random.default_rng(seed)
    for images, label_maps in fresh:
        yield images, label_maps
        if uses == 1:
            continue
        memory.extend(zip(images, label_maps, strict=True))
        for _ in range(uses - 1):
            picked = [memory[int(k)] for k in rng.integers(len(memory), size=len(images))]
            old_images, old_labels = zip(*picked, strict=True)
            yield changed(torch.stack(old_images), torch.stack(old_labels), rng)


def changed(images: Tensor, label_maps: Tensor, rng: np.random.Generator) -> Volumes:
    """Each volume turned, scaled, mirrored, in another brightness, with less in view.

    No noise is added: that a fill is constant is a sign of defacing, and has to stay one.
    """
    grid = _grid(images, rng)
    moved = nn_f.grid_sample(images[:, None].float(), grid, align_corners=False)[:, 0]
    labels = nn_f.grid_sample(
        label_maps[:, None].float(), grid, mode="nearest", align_corners=False
    )[:, 0]
    for k in range(len(images)):
        if rng.random() < 0.25:
            _cut_off(moved[k], labels[k], rng)
    gain, offset = rng.uniform(0.85, 1.2, len(images)), rng.uniform(-0.2, 0.2, len(images))
    view = (-1, 1, 1, 1)
    bright = moved * _like(gain, moved).view(view) + _like(offset, moved).view(view)
    return bright.where(moved != 0, moved).to(images.dtype), labels.to(label_maps.dtype)


def _grid(images: Tensor, rng: np.random.Generator) -> Tensor:
    """Where each voxel comes from, in the units of `grid_sample` (last axis first)."""
    half = np.array(images.shape[:0:-1]) / 2.0
    matrices = np.zeros((len(images), 3, 4))
    for k in range(len(images)):
        turn = Rotation.from_euler("xyz", rng.uniform(-1, 1, 3) * TURN_DEGREES, degrees=True)
        mirror = -1.0 if rng.random() < 0.5 else 1.0  # the last axis runs toward the left
        scaled = turn.as_matrix() @ np.diag([mirror, 1.0, 1.0]) * rng.uniform(*SCALE)
        matrices[k, :, :3] = scaled * half[None, :] / half[:, None]
    size = [len(images), 1, *images.shape[1:]]
    return nn_f.affine_grid(_like(matrices, images.float()), size, align_corners=False)


def _cut_off(image: Tensor, labels: Tensor, rng: np.random.Generator) -> None:
    """Nothing is seen beyond a plane across one axis."""
    axis = int(rng.integers(3))
    length = image.shape[axis]
    voxels = int(rng.integers(length // 8, length // 2))
    start = 0 if rng.random() < 0.5 else length - voxels
    for volume in (image, labels):
        volume.narrow(axis, start, voxels).zero_()


def _like(values: np.ndarray, tensor: Tensor) -> Tensor:
    return torch.as_tensor(values, dtype=tensor.dtype, device=tensor.device)
