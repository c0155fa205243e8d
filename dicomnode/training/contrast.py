"""Random contrasts: on drawn labels as SynthSeg does (Billot et al. 2023), and on real scans."""

from __future__ import annotations

from typing import cast

import numpy as np
from scipy import ndimage

from dicomnode.training.drawn import Labels, Volume, paint, smooth_noise
from dicomnode.training.tissue import Modality, Tissue

_DARK = (Tissue.AIR, Tissue.TABLE, Tissue.CAVITY, Tissue.LUNG)


def paint_anything(labels: Labels, rng: np.random.Generator) -> tuple[Volume, Modality]:
    """CT, T1-like MR, or every tissue at a random brightness (0 = air, about 1 = brightest)."""
    kind = rng.choice(["CT", "MR", "random"], p=[0.4, 0.2, 0.4])
    if kind == "CT":
        return paint(labels, "CT", rng), "CT"
    if kind == "MR":
        return paint(labels, "MR", rng), "MR"
    means = rng.uniform(0.12, 1.0, len(Tissue)).astype(np.float32)
    if rng.random() < 0.8:
        means[[Tissue.BONE, Tissue.TEETH]] = rng.uniform(0.0, 0.15)
    if rng.random() < 0.6:
        means[Tissue.SKIN] = max(means[Tissue.SKIN], means[Tissue.FAT])
    means[list(_DARK)] = 0.0
    texture = rng.uniform(0.0, 0.06) * smooth_noise(labels.shape, 20, rng)
    clean = means[labels] * (1.0 + texture)
    return cast(
        Volume, ndimage.gaussian_filter(clean, rng.uniform(0.4, 0.8)).astype(np.float32)
    ), "MR"


def remap(array: Volume, rng: np.random.Generator) -> Volume:
    """A real MR scan in another contrast: air stays dark, tissue follows a random curve.

    Result: about 0 to 1.
    """
    low, high = np.percentile(array, (1, 99.7))
    unit = np.clip((array - low) / (high - low), 0.0, 1.4)
    if rng.random() < 0.55:
        return cast(Volume, (unit ** rng.uniform(0.6, 1.5)).astype(np.float32))
    knots = [0.0, 0.06, 0.14, 0.3, 0.5, 0.75, 1.0, 1.4]
    values = [0.0, rng.uniform(0.02, 0.06), *rng.uniform(0.15, 1.0, 6)]
    return cast(Volume, np.interp(unit, knots, values).astype(np.float32))


def degrade(array: Volume, modality: Modality, rng: np.random.Generator) -> Volume:
    """Shading (MR), blur and scanner noise (Rician for MR, normal for CT)."""
    if rng.random() < 0.3:
        array = ndimage.gaussian_filter(array, rng.uniform(0.3, 0.9))
    if modality == "CT":
        return cast(Volume, array + np.float32(rng.uniform(0, 35)) * _normal(array, rng))
    shading = np.exp(rng.uniform(0.0, 0.35) * smooth_noise(array.shape, 3, rng, order=3))
    top = float(np.percentile(array, 99))
    level = np.float32(
        top * (rng.uniform(0, 0.02) if rng.random() < 0.6 else rng.uniform(0.02, 0.1))
    )
    noisy = np.hypot(array * shading + level * _normal(array, rng), level * _normal(array, rng))
    return cast(Volume, noisy.astype(np.float32))


def _normal(array: Volume, rng: np.random.Generator) -> Volume:
    return rng.standard_normal(array.shape, dtype=np.float32)
