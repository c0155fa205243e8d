"""The skin as pictures from four sides, rendered from the volume itself by VTK.

The plain ones are an independent look: no mask of a network has a part in them. The marked ones
show the same skin, coloured where a mask lies, and what was anonymised before it as a veil. They
can show a face: keep them where only the node can read.

VTK draws through EGL, in software where there is no GPU, and takes its process down where no EGL
is installed. So it draws in a process of its own.
"""

from __future__ import annotations

import pickle
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from dicomnode.domain import SegmentKind, View
from dicomnode.errors import RenderingError
from dicomnode.inference.skin import skin_level
from dicomnode.inference.skin_process import NOT_INSTALLED
from dicomnode.inference.skin_scene import Scene

Volume = npt.NDArray[np.float32]
Mask = npt.NDArray[np.uint8]
Triple = tuple[float, float, float]

GRID_MM = 1.5
SMOOTH_MM = 1.2
# -P: nothing is imported from the folder in which the node happens to run.
PROGRAM = (sys.executable, "-P", "-m", "dicomnode.inference.skin_process")
LONGEST_SECONDS = 300.0
NOTHING_FOUND: Mapping[SegmentKind, Mask] = MappingProxyType({})


@dataclass(frozen=True)
class Renderings:
    """A PNG of each side, plain and marked; `missing` says why there are none."""

    plain: Mapping[View, bytes] = field(default_factory=dict)
    marked: Mapping[View, bytes] = field(default_factory=dict)
    missing: str = ""


def render(
    array: Volume,
    spacing_mm: Triple,
    modality: str,
    masks: Mapping[SegmentKind, Mask] = NOTHING_FOUND,
) -> Renderings:
    """Every side of the skin. `array` and `masks`: (z, y, x), toward head, back and left.

    Raises `RenderingError` where VTK or EGL is missing, or fails.
    """
    thin, grid_mm = _thinned(array, spacing_mm)
    step = _steps(spacing_mm)
    anonymised, face = (
        _thinned_mask(masks.get(kind), step, thin.shape)
        for kind in (SegmentKind.ANONYMISED_AREA, SegmentKind.FACE)
    )
    level = skin_level(thin[::2, ::2, ::2], modality)
    scene = Scene(thin, grid_mm, level, anonymised, face)
    return Renderings(*_drawn_elsewhere(scene))


def _drawn_elsewhere(scene: Scene) -> tuple[dict[View, bytes], dict[View, bytes]]:
    try:
        done = subprocess.run(
            PROGRAM, input=pickle.dumps(scene), capture_output=True, timeout=LONGEST_SECONDS
        )
    except subprocess.TimeoutExpired:
        raise RenderingError(f"VTK did not draw within {LONGEST_SECONDS:.0f} s") from None
    if done.returncode == NOT_INSTALLED:
        raise RenderingError("VTK is not installed: pip install 'dicomnode[surface]'")
    if done.returncode:
        raise RenderingError("VTK can't draw here; on Debian: apt-get install libegl1")
    drawn: tuple[dict[View, bytes], dict[View, bytes]] = pickle.loads(done.stdout)
    return drawn


def _steps(spacing_mm: Triple) -> tuple[int, ...]:
    return tuple(max(1, round(GRID_MM / mm)) for mm in spacing_mm)


def _thinned(array: Volume, spacing_mm: Triple) -> tuple[Volume, Triple]:
    """On about `GRID_MM`, smoothed, with air around so that the surface is closed."""
    step = _steps(spacing_mm)
    coarse = array
    for axis, n in enumerate(step):
        coarse = _means(coarse, n, axis)
    z_mm, y_mm, x_mm = (mm * n for mm, n in zip(spacing_mm, step, strict=True))
    smooth = ndimage.gaussian_filter(coarse, [SMOOTH_MM / mm for mm in (z_mm, y_mm, x_mm)])
    closed = np.pad(smooth, 1, constant_values=smooth.min())
    return closed.astype(np.float32), (z_mm, y_mm, x_mm)


def _means(array: Volume, step: int, axis: int) -> Volume:
    """Of `step` neighbours around every `step`-th place, mirrored at the ends."""
    if step == 1:
        return array
    size = array.shape[axis]
    places = np.arange(0, size, step)
    total = np.zeros((), np.float32)
    for away in range(-(step // 2), step - step // 2):
        at = (places + away) % (2 * size)
        total = total + array.take(np.minimum(at, 2 * size - 1 - at), axis)
    return np.asarray(total / np.float32(step))


def _thinned_mask(mask: Mask | None, step: tuple[int, ...], shape: tuple[int, ...]) -> Mask:
    """On the same grid, with the same border."""
    if mask is None:
        return np.zeros(shape, np.uint8)
    return np.pad(mask[tuple(slice(None, None, n) for n in step)], 1)
