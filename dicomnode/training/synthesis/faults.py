"""What scanners, reconstructions and patients do that looks like defacing and is not.

None of these adds to the anonymised area.
"""

from __future__ import annotations

from dataclasses import replace
from math import radians, tan

import torch

from dicomnode.training.synthesis.fields import grown
from dicomnode.training.synthesis.scene import Chance, Points, Scene, Step, Tensor, percentiles


def _padding(scene: Scene, chance: Chance) -> float:
    if scene.is_ct:
        return float(chance.rng.choice([-1024.0, -1000.0, -2000.0, -2048.0, -3024.0, 0.0]))
    middle = percentiles(scene.image, (60,))[0]
    return chance.one_of({0.0: 0.6, scene.lowest: 0.2, middle: 0.2})


def _padded(scene: Scene, inner: Tensor, chance: Chance) -> Scene:
    """A constant outside `inner`; what lay there is gone, and is nobody's anonymisation."""
    image = scene.image.where(inner, torch.full_like(scene.image, _padding(scene, chance)))
    return replace(
        scene,
        image=image,
        body=scene.body & inner,
        anonymised=scene.anonymised & inner,
        ambiguous=scene.ambiguous & inner,
    )


def _along(scene: Scene, axis: int) -> Tensor:
    """Millimetres from the middle of the frame along one axis."""
    n, side = scene.image.shape[axis], scene.spacing_mm[axis]
    view = [1, 1, 1]
    view[axis] = -1
    at = torch.arange(n, device=scene.device, dtype=torch.float32)
    return ((at - (n - 1) / 2) * side).view(view)


def zeroed_background(scene: Scene, chance: Chance) -> Scene:
    """The scanner sets air outside the body to one value."""
    near = grown(scene.body | scene.anonymised, chance.between(2.5, 12), scene.spacing_mm)
    value = _padding(scene, chance) if scene.is_ct else 0.0
    return replace(scene, image=scene.image.where(near, torch.full_like(scene.image, value)))


def round_field_of_view(scene: Scene, chance: Chance) -> Scene:
    """Outside a circle in the axial plane the reconstruction writes a constant."""
    radius = chance.between(95, 165)
    x, y = _along(scene, 2) - chance.between(-25, 25), _along(scene, 1) - chance.between(-25, 25)
    inner = (x * x + y * y < radius * radius).expand(scene.image.shape)
    return _padded(scene, inner, chance)


def constant_border(scene: Scene, chance: Chance) -> Scene:
    """Slices, rows or columns around the scan with one value, on some sides or on all.

    They lie outside the field of view where the frame has room, and cover its edge where not.
    """
    outer, inner = torch.ones_like(scene.seen), torch.ones_like(scene.seen)
    all_round = chance.happens(0.3)
    for axis, length in enumerate(scene.image.shape):
        first, last = _extent(scene.seen, axis)
        ends = [first, length - 1 - last]  # voxels outside the field of view, low and high
        for side, outside in enumerate(ends):
            width = int(chance.rng.integers(1, max(2, length // 7)))
            if not (all_round or chance.happens(0.4)):
                width = 0
            start = max(0, outside - width)
            for mask, voxels in ((outer, start), (inner, start + width)):
                mask.narrow(axis, 0 if side == 0 else length - voxels, voxels).fill_(False)
    return replace(_padded(scene, inner & scene.seen, chance), seen=outer)


def _extent(mask: Tensor, axis: int) -> tuple[int, int]:
    """First and last index along an axis at which the mask holds anything."""
    others = [other for other in range(3) if other != axis]
    where = mask.any(dim=others[1]).any(dim=others[0]).nonzero()
    return (int(where[0]), int(where[-1])) if len(where) else (0, mask.shape[axis] - 1)


def tilted_corner(scene: Scene, chance: Chance) -> Scene:
    """A tilted gantry, resampled to straight slices: wedges of padding above and below."""
    slope = tan(radians(chance.between(8, 28))) * (1 if chance.happens(0.5) else -1)
    across = _along(scene, 1) if chance.happens(0.85) else _along(scene, 2)
    height = _along(scene, 0) + slope * across
    half = scene.image.shape[0] * scene.spacing_mm[0] / 2
    low = height > -half * chance.between(0.6, 1.1)
    inner = (low & (height < half * chance.between(0.6, 1.1))).expand(scene.image.shape)
    return _padded(scene, inner, chance)


def wrapped(scene: Scene, chance: Chance) -> Scene:
    """A faint ghost of the head, shifted along the phase direction."""
    axis = int(chance.rng.integers(0, 3))
    shift = int(chance.between(0.25, 0.5) * scene.image.shape[axis])
    ghost = torch.roll(scene.image - scene.air, shift, dims=axis)
    return replace(scene, image=scene.image + chance.between(0.02, 0.14) * ghost)


def dental_metal(scene: Scene, chance: Chance) -> Scene:
    """Metal in the mouth: a void with a bright rim in MR, streaks in CT."""
    if scene.points is None:
        return scene
    p = scene.points
    centre = (chance.between(-25, 25), chance.between(45, 90), chance.between(-125, -95))
    away = _away(p, centre) + 5.0 * chance.smooth(tuple(scene.image.shape), 8)
    radius = chance.between(8, 26)
    low, high = scene.range
    if scene.is_ct:
        angle = torch.atan2(p.y - centre[1], p.x - centre[0])
        rays = torch.cos(angle * int(chance.rng.integers(6, 16)) + chance.between(0, 6))
        strength = chance.between(100, 700) * torch.exp(-away.clamp(min=0) / (2 * radius))
        flat = torch.exp(-(((p.z - centre[2]) / chance.between(4, 14)) ** 2))
        return replace(scene, image=scene.image + strength * rays * flat)
    void = torch.sigmoid((away - radius) / 2.0)
    rim = torch.exp(-(((away - radius) / 4.0) ** 2)) * (high - low) * chance.between(0, 0.7)
    image = scene.air + (scene.image - scene.air) * void + rim
    return replace(scene, image=image)


def _away(p: Points, centre: tuple[float, float, float]) -> Tensor:
    return torch.sqrt((p.x - centre[0]) ** 2 + (p.y - centre[1]) ** 2 + (p.z - centre[2]) ** 2)


def bright_spots(scene: Scene, chance: Chance) -> Scene:
    """Inflowing blood in angiographies, clips and electrodes: small, and far brighter than all."""
    noise = chance.smooth(tuple(scene.image.shape), int(chance.rng.integers(16, 34)))
    spots = (noise > chance.between(1.5, 2.2)) & (scene.depth_mm > 3)
    low, high = scene.range
    value = low + (high - low) * chance.between(1.2, 4)
    return replace(scene, image=scene.image.where(~spots, torch.full_like(scene.image, value)))


def lost_slices(scene: Scene, chance: Chance) -> Scene:
    """Slices that never arrived and were filled with a constant."""
    axis = int(chance.rng.integers(0, 3))
    length = scene.image.shape[axis]
    thick = min(int(chance.rng.integers(1, 5)), max(1, length // 4))
    start = int(chance.rng.integers(0, length - thick + 1))
    inner = torch.ones_like(scene.seen)
    inner.narrow(axis, start, thick).fill_(False)
    return _padded(scene, inner, chance)


def rest_and_table(scene: Scene, chance: Chance) -> Scene:
    """A headrest or table behind the body: matter that is no anatomy (CT)."""
    if not scene.is_ct:
        return scene
    x, y = _along(scene, 2), _along(scene, 1)
    radius, back = chance.between(90, 300), chance.between(60, 150)
    curve = torch.sqrt(x * x + (y - back + radius) ** 2) - radius
    shell = (curve.abs() < chance.between(1.5, 6)) & (y > back - radius * chance.between(0.3, 0.8))
    shell = shell.expand(scene.image.shape) & ~grown(scene.body, 3.0, scene.spacing_mm)
    value = chance.between(-400, 200)
    return replace(scene, image=scene.image.where(~shell, torch.full_like(scene.image, value)))


# How often each of them happens; several can meet in one volume.
BEFORE_DEFACING: dict[str, tuple[Step, float]] = {
    "dental_metal": (dental_metal, 0.10),
    "rest_and_table": (rest_and_table, 0.30),
    "wrapped": (wrapped, 0.05),
    "bright_spots": (bright_spots, 0.10),
}
BACKGROUND: dict[str, tuple[Step, float]] = {"zeroed_background": (zeroed_background, 0.28)}
AFTER_DEFACING: dict[str, tuple[Step, float]] = {
    "round_field_of_view": (round_field_of_view, 0.07),
    "constant_border": (constant_border, 0.10),
    "tilted_corner": (tilted_corner, 0.06),
    "lost_slices": (lost_slices, 0.05),
}
FAULTS: dict[str, Step] = {
    name: step
    for table in (BEFORE_DEFACING, BACKGROUND, AFTER_DEFACING)
    for name, (step, _) in table.items()
}


def sometimes(scene: Scene, table: dict[str, tuple[Step, float]], chance: Chance) -> Scene:
    for step, probability in table.values():
        if chance.happens(probability):
            scene = step(scene, chance)
    return scene
