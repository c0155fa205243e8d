"""What scanners and reconstructions do that looks like defacing and is not.

Each function takes (array, foreground, rng) and returns the array and the foreground that is left;
the anonymised mask of all of them is empty.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import numpy as np
from scipy import ndimage

from dicomnode.training.drawn import Mask, Volume

Fault = Callable[[Volume, Mask, np.random.Generator], tuple[Volume, Mask]]


def _padding_value(array: Volume, rng: np.random.Generator) -> float:
    if array.min() < -500:
        return float(rng.choice([-1024.0, -2000.0, -2048.0, -3024.0, 0.0]))
    return float(
        rng.choice([0.0, float(array.min()), float(np.percentile(array, 60))], p=[0.6, 0.2, 0.2])
    )


def zeroed_background(array: Volume, body: Mask, rng: np.random.Generator) -> tuple[Volume, Mask]:
    """The scanner sets air outside the body to one value."""
    grown = ndimage.binary_dilation(body, iterations=int(rng.integers(1, 4)))
    value = (
        0.0 if array.min() > -500 else float(rng.choice([-1024.0, -1000.0, 0.0], p=[0.5, 0.3, 0.2]))
    )
    return np.where(grown, array, np.float32(value)).astype(np.float32), body


def round_field_of_view(array: Volume, body: Mask, rng: np.random.Generator) -> tuple[Volume, Mask]:
    """Outside a circle in the axial plane the reconstruction writes a constant."""
    _, rows, columns = array.shape
    y = (np.arange(rows, dtype=np.float32) - (rows - 1) / 2) / (rows / 2)
    x = (np.arange(columns, dtype=np.float32) - (columns - 1) / 2) / (columns / 2)
    outside = (y[:, None] ** 2 + x[None, :] ** 2 > rng.uniform(0.95, 1.3))[None]
    filled = np.where(outside, np.float32(_padding_value(array, rng)), array)
    return filled.astype(np.float32), body & ~outside


def constant_border(array: Volume, body: Mask, rng: np.random.Generator) -> tuple[Volume, Mask]:
    """Slices, rows or columns added around the scan with one value."""
    widths = [(int(rng.integers(0, 12)), int(rng.integers(0, 12))) for _ in range(3)]
    keep = [rng.random() < 0.5 for _ in range(3)]
    inner = np.zeros(array.shape, bool)
    inner[
        tuple(
            slice(w[0] if k else 0, n - w[1] if k and w[1] else n)
            for w, k, n in zip(widths, keep, array.shape, strict=True)
        )
    ] = True
    filled = np.where(inner, array, np.float32(_padding_value(array, rng)))
    return filled.astype(np.float32), body & inner


def wrapped(array: Volume, body: Mask, rng: np.random.Generator) -> tuple[Volume, Mask]:
    """A faint ghost of the head, shifted along the phase direction."""
    shift = int(rng.uniform(0.25, 0.5) * array.shape[1])
    base = float(np.percentile(array, 5))
    ghost = rng.uniform(0.02, 0.08) * (np.roll(array, shift, axis=1) - base)
    return cast(Volume, (array + ghost).astype(np.float32)), body


FAULTS: dict[str, Fault] = {
    "zeroed_background": zeroed_background,
    "round_field_of_view": round_field_of_view,
    "constant_border": constant_border,
    "wrapped": wrapped,
}
