"""One picture per examined series: three cuts through the head with the masks on them.

A picture can show a face. It stays in the data folder, readable by the node alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from dicomnode.domain import SegmentKind, Verdict

Masks = Mapping[SegmentKind, npt.NDArray[np.uint8]]

COLOURS = {
    SegmentKind.FOREGROUND: "#56b4e9",
    SegmentKind.ANONYMISED_AREA: "#e69f00",
    SegmentKind.FACE: "#cc3311",
}
_TITLES = ("axial", "coronal", "sagittal")


def write_picture(
    path: Path,
    array: npt.NDArray[np.float32],
    spacing_mm: tuple[float, float, float],
    masks: Masks,
    verdict: Verdict,
) -> None:
    """PNG with an axial, a coronal and a sagittal cut through the middle of what was found.

    Axes of `array` and `masks`: (z, y, x) toward head, posterior, left. Foreground is an outline,
    anonymised area and face are filled.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 4.6), facecolor="black", layout="constrained")
    FigureCanvasAgg(figure)
    centre = _centre(array.shape, masks)
    low, high = np.percentile(array[:: max(1, array.shape[0] // 64)], (1.0, 99.5))
    for axis, title in enumerate(_TITLES):
        axes = figure.add_subplot(1, 3, axis + 1)
        rows, columns = (spacing for i, spacing in enumerate(spacing_mm) if i != axis)
        cut = np.take(array, centre[axis], axis=axis)
        axes.imshow(cut, cmap="gray", vmin=low, vmax=max(high, low + 1), aspect=rows / columns)
        _overlay(axes, masks, axis, centre[axis])
        if axis > 0:  # row 0 is at the feet
            axes.invert_yaxis()
        axes.set_title(title, color="white", fontsize=9)
        axes.set_axis_off()
    legend = "   ".join(f"{kind.value} {_ml(m, spacing_mm):.0f} ml" for kind, m in masks.items())
    figure.suptitle(f"{verdict.kind}   {legend}", color="white", fontsize=11)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=90)


def _overlay(axes: Any, masks: Masks, axis: int, index: int) -> None:
    for kind, mask in masks.items():
        cut = np.take(mask, index, axis=axis)
        if not cut.any():
            continue
        if kind is SegmentKind.FOREGROUND:
            axes.contour(cut, levels=[0.5], colors=COLOURS[kind], linewidths=0.8)
        else:
            axes.contourf(cut, levels=[0.5, 1.5], colors=COLOURS[kind], alpha=0.45)


def _centre(shape: tuple[int, ...], masks: Masks) -> tuple[int, int, int]:
    """The middle of the anonymised area or face where there is one, else of the volume."""
    for kind in (SegmentKind.ANONYMISED_AREA, SegmentKind.FACE):
        mask = masks.get(kind)
        if mask is not None and mask.any():
            z, y, x = (int(np.median(found)) for found in np.nonzero(mask))
            return z, y, x
    return shape[0] // 2, shape[1] // 2, shape[2] // 2


def _ml(mask: npt.NDArray[np.uint8], spacing_mm: tuple[float, float, float]) -> float:
    return float(np.count_nonzero(mask) * np.prod(spacing_mm) / 1000.0)
