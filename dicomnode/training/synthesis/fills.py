"""What defacing tools put in place of what they took away."""

from __future__ import annotations

from collections.abc import Callable

import torch

from dicomnode.training.synthesis.fields import blurred
from dicomnode.training.synthesis.scene import Chance, Scene, Tensor, percentiles

Fill = Callable[[Scene, Chance], Tensor]


def _constant(scene: Scene, value: float) -> Tensor:
    return torch.full_like(scene.image, value)


def _zero(scene: Scene, chance: Chance) -> Tensor:
    return _constant(scene, 0.0)


def _air(scene: Scene, chance: Chance) -> Tensor:
    return _constant(scene, scene.air)


def _hounsfield_air(scene: Scene, chance: Chance) -> Tensor:
    """-1024 in CT; where there is no such unit, the lowest value of the scan."""
    return _constant(scene, -1024.0 if scene.is_ct else scene.lowest)


def _lowest(scene: Scene, chance: Chance) -> Tensor:
    return _constant(scene, scene.lowest)


def _percentile(scene: Scene, chance: Chance) -> Tensor:
    """CTA-DEFACE fills with the 10th percentile, which can be air, padding or tissue."""
    return _constant(scene, percentiles(scene.image, (10,))[0])


def _any_constant(scene: Scene, chance: Chance) -> Tensor:
    low, high = scene.range
    return _constant(scene, chance.between(low, high))


def _noise(scene: Scene, chance: Chance) -> Tensor:
    """Values of the background, shuffled."""
    outside = scene.image[scene.seen & ~scene.body]
    if outside.numel() < 100:
        return _air(scene, chance)
    pick = (chance.uniform(tuple(scene.image.shape)) * (outside.numel() - 1)).long()
    return outside[pick]


def _tissue_noise(scene: Scene, chance: Chance) -> Tensor:
    low, high = scene.range
    return low + (high - low) * chance.uniform(tuple(scene.image.shape))


def _blur(scene: Scene, chance: Chance) -> Tensor:
    """The surface smeared, as mask_face does (Milchenko and Marcus 2013)."""
    width_mm = chance.between(5, 12)
    a, b, c = (width_mm / side for side in scene.spacing_mm)
    return blurred(scene.image, (a, b, c))


FILLS: dict[str, Fill] = {
    "zero": _zero,
    "air": _air,
    "hounsfield_air": _hounsfield_air,
    "lowest": _lowest,
    "percentile": _percentile,
    "constant": _any_constant,
    "noise": _noise,
    "tissue_noise": _tissue_noise,
    "blur": _blur,
}

ANY_FILL = {
    "zero": 0.34,
    "air": 0.12,
    "hounsfield_air": 0.1,
    "lowest": 0.1,
    "percentile": 0.08,
    "constant": 0.1,
    "noise": 0.12,
    "tissue_noise": 0.04,
}
SURFACE_FILL = {"blur": 0.45, "zero": 0.2, "air": 0.1, "noise": 0.1, "constant": 0.15}
EMPTY_FILL = {"zero": 0.7, "air": 0.1, "lowest": 0.1, "hounsfield_air": 0.1}
