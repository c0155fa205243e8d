"""What a scanner adds to anatomy: slices, shading, noise."""

from __future__ import annotations

from dataclasses import replace

import torch
import torch.nn.functional as nn_f

from dicomnode.training.synthesis.fields import blurred
from dicomnode.training.synthesis.scene import Chance, Scene, Tensor, percentiles


def sliced(scene: Scene, chance: Chance) -> Scene:
    """Voxels of another size, brought back: up to 6 mm along one axis, 3.5 mm along the others."""
    if chance.happens(0.45):
        return scene
    sides = list(scene.spacing_mm)
    fine = max(sides)
    thick_mm = [chance.between(0.4, 3.5)] * 3
    if chance.happens(0.7):
        thick_mm[int(chance.rng.integers(3))] = chance.between(2.5, 6.5)
    factors = [max(1.0, mm / side) for mm, side in zip(thick_mm, sides, strict=True)]
    if max(factors) == 1.0 or fine <= 0:
        return scene
    shape = list(scene.image.shape)
    image = scene.image
    if chance.happens(0.6):  # a slice averages over its thickness
        a, b, c = (0.4 * (f - 1.0) for f in factors)
        image = blurred(image, (a, b, c))
    coarse = [max(2, round(n / f)) for n, f in zip(shape, factors, strict=True)]
    small = nn_f.interpolate(image[None, None], size=coarse, mode="trilinear", align_corners=True)
    back = nn_f.interpolate(small, size=shape, mode="trilinear", align_corners=True)[0, 0]
    return replace(scene, image=back)


def shaded(scene: Scene, chance: Chance) -> Scene:
    """MR: a coil's sensitivity, and a signal that fades out toward the end of the coil."""
    if scene.is_ct:
        return scene
    shape = tuple(scene.image.shape)
    gain = torch.exp(chance.between(0, 0.4) * chance.smooth(shape, 4))
    if chance.happens(0.15):
        gain = gain * _fading(shape, chance)
    image = scene.image * gain
    lost = (gain < 0.12) & scene.body
    return replace(scene, image=image, body=scene.body & ~lost)


def _fading(shape: tuple[int, ...], chance: Chance) -> Tensor:
    """1 in the middle of the coil, falling along the body's axis toward its lower end."""
    at = torch.arange(shape[0], device=chance.device, dtype=torch.float32)
    edge, width = chance.between(0.0, 0.35) * shape[0], chance.between(3, 12)
    return torch.sigmoid((at - edge) / width).view(-1, 1, 1).expand(shape)


def noisy(scene: Scene, chance: Chance) -> Scene:
    """Normal noise in CT, Rician in MR; sometimes smoothed by the reconstruction."""
    image = scene.image
    if chance.happens(0.25):
        soft = chance.between(0.3, 0.9)
        image = blurred(image, (soft, soft, soft))
    shape = tuple(image.shape)
    if scene.is_ct:
        level = chance.between(0, 12) if chance.happens(0.6) else chance.between(10, 60)
        return replace(scene, image=image + level * chance.normal(shape))
    top = percentiles(image[scene.seen], (99,))[0]
    level = top * (chance.between(0, 0.015) if chance.happens(0.6) else chance.between(0.015, 0.09))
    real = image + level * chance.normal(shape)
    imaginary = level * chance.normal(shape)
    return replace(scene, image=torch.hypot(real, imaginary))


def in_units(scene: Scene, chance: Chance) -> Scene:
    """MR has no unit: some scanners count to 1, others to 4095, and some add an offset."""
    if scene.is_ct:
        return scene
    return replace(scene, image=scene.image * float(10 ** chance.between(0, 3)))
