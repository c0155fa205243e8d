"""Simulated defacing: what tools take away, and what they put in its place.

Convention of the anonymised mask: voxels whose value a method replaced, as far as they lie in the
original foreground (inner air included) widened by `MARGIN_MM`. Air far in front of the head that
a tool overwrote too is not counted: nobody can tell. On an intact head the mask is empty.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import numpy as np
from scipy import ndimage

from dicomnode.training.drawn import Affine, Mask, Volume
from dicomnode.training.scene import Scene, scene_of

MARGIN_MM = 4.0
FEWEST_FACE_VOXELS = 30

Cut = Callable[[Scene, np.random.Generator], Mask]
Fill = Callable[[Scene, Mask, np.random.Generator], Volume]


def _face_box(s: Scene, rng: np.random.Generator) -> Mask:
    """A slanted box around the face, as pydeface's template mask (studyforrest was cut so)."""
    back = s.face_percentile(s.anterior_mm, 1) + rng.uniform(-10, 16)
    top = s.face_percentile(s.superior_mm, 99) + rng.uniform(-8, 10)
    box = (s.anterior_mm > back + rng.uniform(-0.25, 0.25) * s.superior_mm) & (
        s.superior_mm < top + rng.uniform(-0.15, 0.35) * (s.anterior_mm - back)
    )
    if rng.random() < 0.4:
        half = 0.5 * (s.face_percentile(s.right_mm, 99.5) - s.face_percentile(s.right_mm, 0.5))
        box &= np.abs(s.right_mm) < half + rng.uniform(-8, 15)
    if rng.random() < 0.3:
        box &= s.superior_mm > s.face_percentile(s.superior_mm, rng.uniform(0, 6))
    return box


def _shear(s: Scene, rng: np.random.Generator) -> Mask:
    """One plane from the brow to the throat (Quickshear, Schimke and Hale 2011)."""
    angle = np.deg2rad(rng.uniform(15, 55))
    along: Volume = np.cos(angle) * s.anterior_mm - np.sin(angle) * s.superior_mm
    return along > s.face_percentile(along, rng.uniform(3, 20))


def _face_and_ears(s: Scene, rng: np.random.Generator) -> Mask:
    back = s.face_percentile(s.anterior_mm, 1)
    top = s.face_percentile(s.superior_mm, 99)
    wide = float(np.percentile(np.abs(s.right_mm[s.body]), rng.uniform(95.5, 98.5)))
    ears = (np.abs(s.right_mm) > wide) & (s.superior_mm < top + rng.uniform(0, 20))
    ears &= (s.superior_mm > top - 90) & (s.anterior_mm > back - rng.uniform(60, 90))
    return _face_box(s, rng) | ears


def _half_face(s: Scene, rng: np.random.Generator) -> Mask:
    """Left, right, upper or lower half of the face box."""
    box = _face_box(s, rng)
    field = s.right_mm if rng.random() < 0.5 else s.superior_mm
    cut = s.face_percentile(field, rng.uniform(35, 65))
    return box & ((field > cut) if rng.random() < 0.5 else (field < cut))


def _skin_shell(s: Scene, rng: np.random.Generator) -> Mask:
    """Only the outermost layer of the face (mask_face, mri_reface)."""
    return _face_box(s, rng) & (s.depth_mm < rng.uniform(7, 20))


def _all_but_brain(s: Scene, rng: np.random.Generator) -> Mask:
    """Skull stripping: what stays is deep, above the face box's top and in one piece."""
    top = s.face_percentile(s.superior_mm, 99)
    back = s.face_percentile(s.anterior_mm, 1)
    floor = top - rng.uniform(5, 35) + 0.25 * (s.anterior_mm - back)
    keep = (s.depth_mm > rng.uniform(9, 17)) & (s.superior_mm > floor) & ~s.face
    keep = ndimage.binary_opening(keep, iterations=2)
    pieces, count = ndimage.label(keep)
    if count == 0:
        return np.zeros(s.body.shape, bool)
    return cast(Mask, pieces != 1 + np.bincount(pieces.ravel())[1:].argmax())


CUTS: dict[str, Cut] = {
    "face_box": _face_box,
    "shear": _shear,
    "face_and_ears": _face_and_ears,
    "half_face": _half_face,
    "skin_shell": _skin_shell,
    "skull_strip": _all_but_brain,
}


def _constant(value: float, s: Scene) -> Volume:
    return np.full(s.array.shape, value, np.float32)


def _background(s: Scene) -> Volume:
    outside = s.array[~s.body]
    return outside if outside.size > 100 else np.full(101, s.array.min(), np.float32)


def _fill_zero(s: Scene, cut: Mask, rng: np.random.Generator) -> Volume:
    return _constant(0.0, s)


def _fill_air(s: Scene, cut: Mask, rng: np.random.Generator) -> Volume:
    return _constant(float(np.median(_background(s))), s)


def _fill_lowest(s: Scene, cut: Mask, rng: np.random.Generator) -> Volume:
    return _constant(float(s.array.min()), s)


def _fill_percentile(s: Scene, cut: Mask, rng: np.random.Generator) -> Volume:
    """CTA-DEFACE fills with the 10th percentile."""
    return _constant(float(np.percentile(s.array, 10)), s)


def _fill_constant(s: Scene, cut: Mask, rng: np.random.Generator) -> Volume:
    low, high = np.percentile(s.array, (1, 99))
    return _constant(float(rng.uniform(low, high)), s)


def _fill_noise(s: Scene, cut: Mask, rng: np.random.Generator) -> Volume:
    return cast(Volume, rng.choice(_background(s), s.array.shape).astype(np.float32))


def _fill_blur(s: Scene, cut: Mask, rng: np.random.Generator) -> Volume:
    """The surface smeared, as mask_face does (Milchenko and Marcus 2013)."""
    width = rng.uniform(5, 10)
    return cast(Volume, ndimage.gaussian_filter(s.array, [width / m for m in s.spacing_mm]))


FILLS: dict[str, Fill] = {
    "zero": _fill_zero,
    "air": _fill_air,
    "lowest": _fill_lowest,
    "percentile": _fill_percentile,
    "constant": _fill_constant,
    "noise": _fill_noise,
    "blur": _fill_blur,
}

# How often each fill is drawn for a cut that any fill suits; blurring suits only a shell or box.
_ANY_FILL = {
    "zero": 0.4,
    "air": 0.15,
    "lowest": 0.1,
    "percentile": 0.1,
    "constant": 0.1,
    "noise": 0.15,
}
_SURFACE_FILL = {"zero": 0.25, "air": 0.15, "noise": 0.2, "constant": 0.1, "blur": 0.3}

# Method name -> (cut, how often each fill is drawn). A name "cut:fill" fixes the fill.
METHODS: dict[str, tuple[str, dict[str, float]]] = {
    "face_box": ("face_box", _ANY_FILL),
    "shear": ("shear", _ANY_FILL),
    "face_and_ears": ("face_and_ears", _ANY_FILL),
    "half_face": ("half_face", _ANY_FILL),
    "skin_shell": ("skin_shell", _SURFACE_FILL),
    "skull_strip": ("skull_strip", {"zero": 0.7, "air": 0.15, "lowest": 0.15}),
    "blur": ("skin_shell", {"blur": 1.0}),
}
METHOD_SHARES = {
    "face_box": 0.36,
    "shear": 0.18,
    "face_and_ears": 0.14,
    "half_face": 0.08,
    "skin_shell": 0.10,
    "skull_strip": 0.08,
    "blur": 0.06,
}


def pick(shares: dict[str, float], rng: np.random.Generator) -> str:
    names, weights = zip(*shares.items(), strict=True)
    return str(rng.choice(names, p=np.array(weights) / sum(weights)))


def deface(
    array: Volume,
    affine_lps: Affine,
    foreground: Mask,
    face: Mask,
    method: str,
    rng: np.random.Generator,
) -> tuple[Volume, Mask]:
    """The defaced array and the anonymised mask, on the grid of `array` (any axes).

    `method`: a name in `METHODS`, or "cut:fill" of `CUTS` and `FILLS`. Nothing is done where there
    is no face to speak of.
    """
    empty = np.zeros(array.shape, bool)
    if np.count_nonzero(face) < FEWEST_FACE_VOXELS:
        return array, empty
    scene = scene_of(array, affine_lps, foreground, face)
    cut_name, fills = METHODS.get(method) or (method.split(":")[0], {method.split(":")[1]: 1.0})
    cut = CUTS[cut_name](scene, rng)
    fill = FILLS[pick(fills, rng)](scene, cut, rng)
    out, replaced = _blend(array, fill, cut, soft_voxels=_softness(rng))
    widened = ndimage.distance_transform_edt(~foreground, sampling=scene.spacing_mm) <= MARGIN_MM
    return out, replaced & widened


def _softness(rng: np.random.Generator) -> float:
    return float(rng.uniform(0.4, 1.0)) if rng.random() < 0.35 else 0.0


def _blend(array: Volume, fill: Volume, cut: Mask, soft_voxels: float) -> tuple[Volume, Mask]:
    if soft_voxels == 0.0:
        return np.where(cut, fill, array), cut
    weight = ndimage.gaussian_filter(cut.astype(np.float32), soft_voxels)
    return weight * fill + (1 - weight) * array, cast(Mask, weight >= 0.5)
