"""Draws torsos: bodies in which there is no face to find (numpy, scipy)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dicomnode.training.drawn import (
    Affine,
    Labels,
    Pose,
    centred_affine,
    smooth_noise,
    template_points,
)
from dicomnode.training.solids import Field, Points, capsule, ellipsoid, mirrored
from dicomnode.training.tissue import Tissue


@dataclass(frozen=True)
class DrawnBody:
    """HPL axes, `affine` to LPS mm, `labels`: `Tissue` values."""

    labels: Labels
    affine: Affine


def _torso(p: Points, rng: np.random.Generator, wobble: Field) -> Labels:
    wide, deep = rng.uniform(125, 190), rng.uniform(80, 130)
    skin = ellipsoid((0, 0, 0), (wide, deep, 900))(p)
    if rng.random() < 0.5:
        gap = rng.uniform(-5, 30)
        arm = mirrored(capsule((wide + 40 + gap, 0, -400), (wide + 40 + gap, 0, 400), 38, 42))(p)
        skin = np.minimum(skin, arm)
    labels = np.zeros(skin.shape, np.uint8)
    if rng.random() < 0.6:
        table = np.broadcast_to(np.abs(p.y + deep + 14 - 0.0012 * p.x**2) < 6, skin.shape)
        labels[table] = Tissue.TABLE
    fat = rng.uniform(4, 30)
    labels[skin < 0] = Tissue.SKIN
    labels[skin < -2.5] = Tissue.FAT
    labels[skin < -(fat + 4 * wobble)] = Tissue.MUSCLE
    inner = ellipsoid((0, 6, 0), (wide - fat - 18, deep - fat - 16, 800))(p)
    labels[inner + 4 * wobble < 0] = Tissue.FAT
    organ = mirrored(ellipsoid((55, 10, rng.uniform(-40, 60)), (50, 55, 80)))(p)
    labels[(organ + 8 * wobble < 0) & (inner < 0)] = Tissue.ORGAN
    if rng.random() < 0.6:
        lung = mirrored(ellipsoid((70, 5, rng.uniform(60, 160)), (52, 62, 120)))(p)
        labels[(lung + 4 * wobble < 0) & (inner < 0)] = Tissue.LUNG
    gas = ellipsoid((rng.uniform(-50, 50), 45, -40), (35, 15, 25))(p)
    labels[(gas + 6 * wobble < 0) & (inner < 0)] = Tissue.CAVITY
    spine = capsule((0, -deep + fat + 45, -400), (0, -deep + fat + 45, 400), 19, 19)(p)
    labels[spine < 0] = Tissue.BONE
    labels[spine < -4] = Tissue.MARROW
    return labels


def draw_body(seed: int, spacing_mm: float = 3.5) -> DrawnBody:
    """A piece of trunk without head, the same for the same seed."""
    rng = np.random.default_rng(seed)
    extent = (rng.uniform(90, 300), rng.uniform(260, 340), rng.uniform(360, 480))
    shape = (int(extent[0] / spacing_mm), int(extent[1] / spacing_mm), int(extent[2] / spacing_mm))
    affine = centred_affine(shape, spacing_mm, np.zeros(3, np.float32))
    points = template_points(shape, affine, Pose.random(rng, 6.0), rng)
    return DrawnBody(_torso(points, rng, smooth_noise(shape, 7, rng)), affine)
