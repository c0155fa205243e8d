"""Where defacing tools cut, in template millimetres (x right, y anterior, z superior).

Every cut draws its own size and slope, so that a network learns what a cut is and not where one
tool makes it.
"""

from __future__ import annotations

from collections.abc import Callable
from math import cos, radians, sin

import torch
import torch.nn.functional as nn_f

from dicomnode.training.anatomy import FACE_BACK_MM, FACE_TOP_MM
from dicomnode.training.synthesis.brain import outside_brain_mm
from dicomnode.training.synthesis.scene import Chance, Points, Scene, Tensor

Cut = Callable[[Scene, Points, Chance], Tensor]


def _face_box(s: Scene, p: Points, chance: Chance) -> Tensor:
    """A slanted box around the face, as the template masks of pydeface and others."""
    back = FACE_BACK_MM + chance.between(-34, 14) + chance.between(-0.3, 0.3) * (p.z + 90)
    top = FACE_TOP_MM + chance.between(-10, 22) + chance.between(-0.2, 0.35) * (p.y - 60)
    box = (p.y > back) & (p.z < top)
    if chance.happens(0.4):
        box &= p.x.abs() < chance.between(48, 95)
    if chance.happens(0.4):
        box &= p.z > chance.between(-190, -128)
    return box


def _plane(s: Scene, p: Points, chance: Chance) -> Tensor:
    """One plane from the brow to the throat (Quickshear, Schimke and Hale 2011)."""
    angle = radians(chance.between(22, 68))
    brow = (chance.between(55, 95), chance.between(-40, 0))
    return sin(angle) * (p.y - brow[0]) - cos(angle) * (p.z - brow[1]) > 0


def _plane_of_face(s: Scene, p: Points, chance: Chance) -> Tensor:
    """A steep plane that takes the front of the face off."""
    lean = chance.between(-0.25, 0.6)
    return p.y + lean * (p.z + 80) * -1 > chance.between(15, 62)


def _face_and_ears(s: Scene, p: Points, chance: Chance) -> Tensor:
    wide = chance.between(58, 74)
    ears = (p.x.abs() > wide) & (p.y > chance.between(-80, -45)) & (p.y < 40)
    ears &= (p.z < chance.between(-20, 10)) & (p.z > chance.between(-150, -85))
    return _face_box(s, p, chance) | ears


def _half_face(s: Scene, p: Points, chance: Chance) -> Tensor:
    """Left, right, upper or lower part of the face box."""
    box = _face_box(s, p, chance)
    side = 1.0 if chance.happens(0.5) else -1.0
    if chance.happens(0.5):
        return box & (side * p.x > chance.between(-25, 25))
    return box & (side * (p.z + 80) > chance.between(-25, 25))


def _skin_shell(s: Scene, p: Points, chance: Chance) -> Tensor:
    """Only the outermost layer of the face, and some air in front (mask_face)."""
    shell = (s.depth_mm < chance.between(4, 22)) & (s.depth_mm > -chance.between(4, 25))
    return _face_box(s, p, chance) & shell


def _round_the_face(s: Scene, p: Points, chance: Chance) -> Tensor:
    """An ellipsoid over the face, as deformed masks of atlas tools look."""
    centre = (chance.between(60, 95), chance.between(-100, -65))
    radii = (chance.between(45, 85), chance.between(35, 65), chance.between(45, 90))
    r2 = (p.x / radii[0]) ** 2 + ((p.y - centre[0]) / radii[1]) ** 2
    return r2 + ((p.z - centre[1]) / radii[2]) ** 2 < 1


def _all_but_brain(s: Scene, p: Points, chance: Chance) -> Tensor:
    """Skull stripping, generous or tight, with an uneven border."""
    wobble = 3.0 * chance.smooth(tuple(s.image.shape), 9)
    return outside_brain_mm(p) + wobble > chance.between(-3, 8)


def _all_but_head_top(s: Scene, p: Points, chance: Chance) -> Tensor:
    """Everything below a plane through brow and skull base goes, the scalp stays."""
    tilt = chance.between(-0.1, 0.5)
    return p.z < chance.between(-60, -25) + tilt * (p.y - 20) * -1


CUTS: dict[str, Cut] = {
    "face_box": _face_box,
    "plane": _plane,
    "plane_of_face": _plane_of_face,
    "face_and_ears": _face_and_ears,
    "half_face": _half_face,
    "skin_shell": _skin_shell,
    "round_the_face": _round_the_face,
    "skull_strip": _all_but_brain,
    "below_the_brow": _all_but_head_top,
}


def bent(p: Points, chance: Chance) -> Points:
    """Points moved by smooth noise: masks that were warped onto a head have no flat sides."""
    shape = tuple(p.x.shape)
    size, cells = chance.between(1, 6), int(chance.rng.integers(4, 9))
    x, y, z = (q + size * chance.smooth(shape, cells) for q in (p.x, p.y, p.z))
    return Points(x, y, z)


def blocky(cut: Tensor, chance: Chance) -> Tensor:
    """The mask as a tool with coarse voxels makes it."""
    shape = list(cut.shape)
    coarse = [max(4, int(n / chance.between(1.5, 3.5))) for n in shape]
    small = nn_f.interpolate(cut[None, None].float(), size=coarse, mode="nearest")
    return nn_f.interpolate(small, size=shape, mode="nearest")[0, 0] > 0.5


def draw_cut(name: str, scene: Scene, chance: Chance) -> Tensor:
    """A mask of one of `CUTS`; `scene.points` must be there."""
    points = scene.points
    if points is None:
        return torch.zeros_like(scene.body)
    if chance.happens(0.4):
        points = bent(points, chance)
    cut = CUTS[name](scene, points, chance)
    return blocky(cut, chance) if chance.happens(0.15) else cut
