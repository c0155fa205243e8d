"""Drawn heads, defaced: for `make demo` and tests."""

from __future__ import annotations

import torch

from dicomnode.training.drawn import DrawnHead, Mask, Volume
from dicomnode.training.grid import spacing_of
from dicomnode.training.synthesis.deface import deface
from dicomnode.training.synthesis.scene import Chance, Scene
from dicomnode.training.synthesis.subject import depth_of, points_of

CPU = torch.device("cpu")


def scene_of(head: DrawnHead) -> Scene:
    """The whole drawn scan as a scene, on the CPU."""
    spacing_mm = spacing_of(head.affine)
    depth = torch.as_tensor(depth_of(head.foreground, spacing_mm))
    return Scene(
        image=torch.as_tensor(head.array),
        body=torch.as_tensor(head.foreground),
        depth_mm=depth,
        seen=torch.ones(depth.shape, dtype=torch.bool),
        spacing_mm=spacing_mm,
        is_ct=head.modality == "CT",
        points=points_of(head.to_template, head.labels.shape, CPU),
        anonymised=torch.zeros(depth.shape, dtype=torch.bool),
        ambiguous=torch.zeros(depth.shape, dtype=torch.bool),
    )


def deface_drawn(head: DrawnHead, method: str, seed: int) -> tuple[Volume, Mask]:
    """The head's array after one of `synthesis.deface.METHODS`, and what was anonymised."""
    done = deface(scene_of(head), method, Chance(seed, CPU))
    return done.image.numpy(), done.anonymised.numpy()
