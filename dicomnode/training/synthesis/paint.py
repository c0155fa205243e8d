"""Random contrasts: on drawn tissues as SynthSeg does (Billot et al. 2023), and on real scans.

Everything here works on a subject's own grid; MR comes out as 0 (air) to about 1, CT in HU.
"""

from __future__ import annotations

import torch

from dicomnode.training.synthesis.fields import blurred
from dicomnode.training.synthesis.scene import Chance, Points, Tensor, percentiles
from dicomnode.training.synthesis.subject import OnDevice
from dicomnode.training.tissue import INTENSITY, Modality, Tissue

_DARK = [int(t) for t in (Tissue.AIR, Tissue.TABLE, Tissue.CAVITY, Tissue.LUNG)]
_HARD = [int(t) for t in (Tissue.BONE, Tissue.TEETH)]
Painted = tuple[Tensor, bool]  # the image, and whether it is CT


def paint(subject: OnDevice, chance: Chance) -> Painted:
    """The subject in a contrast of its own or in a random one."""
    if subject.tissue is not None:
        return _drawn(subject.tissue, chance)
    if subject.image is None:
        raise ValueError(f"{subject.subject.name}: neither an image nor tissues")
    if subject.subject.modality == "CT":
        return _real_ct(subject.image, chance)
    kinds = {"same": 0.38, "curve": 0.34, "ct": 0.28 if subject.subject.has_head else 0.0}
    kind = chance.one_of(kinds)
    if kind == "ct":
        return _mr_as_ct(subject, subject.image, chance), True
    if kind == "same":
        return subject.image.clamp(min=0) ** chance.between(0.6, 1.6), False
    return _curve(subject.image, chance), False


def _drawn(tissue: Tensor, chance: Chance) -> Painted:
    kind = chance.one_of({"CT": 0.45, "MR": 0.2, "random": 0.35})
    if kind == "random":
        means = _random_means(chance)
    else:
        means = _textbook_means("CT" if kind == "CT" else "MR", chance)
    means = means.to(tissue.device)
    shape = tuple(tissue.shape)
    image = means[tissue]
    spread = 8.0 if kind == "CT" else 0.04
    image = image + spread * chance.smooth(shape, int(chance.rng.integers(12, 36))) * (tissue > 0)
    soft = chance.between(0.3, 0.8)
    return blurred(image, (soft, soft, soft)), kind == "CT"


def _textbook_means(modality: Modality, chance: Chance) -> Tensor:
    table = INTENSITY[modality]
    means = torch.tensor([table[t] for t in Tissue], dtype=torch.float32)
    jitter = torch.as_tensor(chance.rng.normal(0, 1, len(means)), dtype=torch.float32)
    if modality == "MR":
        return (means / 520.0) * (1 + 0.15 * jitter)
    return means + 15.0 * jitter * (means > -300)


def _random_means(chance: Chance) -> Tensor:
    means = torch.as_tensor(chance.rng.uniform(0.1, 1.0, len(Tissue)), dtype=torch.float32)
    if chance.happens(0.8):
        means[_HARD] = chance.between(0.0, 0.15)
    if chance.happens(0.5):
        means[Tissue.SKIN] = max(float(means[Tissue.SKIN]), float(means[Tissue.FAT]))
    means[_DARK] = chance.between(0.0, 0.03)
    means[Tissue.AIR] = 0.0
    return means


def _real_ct(image: Tensor, chance: Chance) -> Painted:
    kind = chance.one_of({"same": 0.55, "window": 0.2, "as_mr": 0.25})
    if kind == "as_mr":
        return _curve((image.clamp(-1000, 1500) + 1000) / 1400, chance), False
    if kind == "window":
        low, high = chance.between(-1024, -200), chance.between(200, 1500)
        return image.clamp(low, high), True
    return image, True


def _curve(unit: Tensor, chance: Chance) -> Tensor:
    """A real scan in another contrast: air stays dark, tissue follows a random curve."""
    device = unit.device
    knots = torch.tensor([0.0, 0.06, 0.14, 0.3, 0.5, 0.75, 1.0, 1.5], device=device)
    drawn = [0.0, chance.between(0.02, 0.06), *chance.rng.uniform(0.12, 1.0, 6)]
    values = torch.tensor([float(v) for v in drawn], device=device)
    return _interpolated(unit.clamp(0, 1.49), knots, values)


def _interpolated(at: Tensor, knots: Tensor, values: Tensor) -> Tensor:
    right = torch.bucketize(at, knots).clamp(1, len(knots) - 1)
    x0, x1, y0, y1 = knots[right - 1], knots[right], values[right - 1], values[right]
    return y0 + (at - x0) / (x1 - x0) * (y1 - y0)


def _mr_as_ct(subject: OnDevice, unit: Tensor, chance: Chance) -> Tensor:
    """A real MR head with the values that CT would give.

    What is dark inside the body is bone above the brow and bone or air below it; what is bright
    near the skin is fat. Nobody would diagnose on it, but skin, air and bone lie where they do.
    """
    body, depth = subject.body, subject.depth_mm
    points = subject.points()
    dark_at, bright_at = percentiles(unit[body], (chance.between(6, 18), chance.between(72, 92)))
    hu = chance.between(20, 60) + 40.0 * (unit - dark_at)
    hu = hu.where(~((unit > bright_at) & (depth < 30)), torch.tensor(-95.0, device=unit.device))
    shape = tuple(unit.shape)
    dark = (unit < dark_at) & (depth > 2)
    airy = chance.smooth(shape, 8) > chance.between(-0.6, 0.8)
    if isinstance(points, Points):
        airy &= (points.z < -42) & (points.x.abs() < 42)
    bone = chance.between(400, 1300)
    hu = hu.where(~dark, torch.tensor(bone, device=unit.device))
    hu = hu.where(~(dark & airy), torch.tensor(-980.0, device=unit.device))
    skin = (depth > 0) & (depth < 3)
    hu = hu.where(~skin, torch.tensor(chance.between(0, 50), device=unit.device))
    hu = hu.where(body, torch.tensor(-1000.0, device=unit.device))
    return blurred(hu, (0.5, 0.5, 0.5))
