"""nnU-Net's resampling, an axis at a time: the same values, without the grids in between.

Its presets resample logits (all channels, single precision or more) to the whole volume and choose
the label there. Here a plane at a time is made, only where a label may be, and only labels are
kept. Linear interpolation is done in the order and precision of the function that the plans name,
so that the labels are the same ones.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from nnunetv2.preprocessing.resampling.default_resampling import (
    determine_do_sep_z_and_axis,
    resample_data_or_seg_to_shape,
)
from nnunetv2.preprocessing.resampling.resample_torch import resample_torch_fornnunet
from scipy import ndimage

Shape = tuple[int, int, int]
# Channels (label, row, column) of one plane: which pixels are of the segment.
Decide = Callable[[torch.Tensor], torch.Tensor]


@dataclass(frozen=True)
class Axis:
    """For each output place the two places it lies between, and their weights."""

    low: npt.NDArray[np.int64]
    high: npt.NDArray[np.int64]
    low_weight: npt.NDArray[np.floating[Any]]
    high_weight: npt.NDArray[np.floating[Any]]

    def part(self, first: int, last: int) -> Axis:
        part = slice(first, last)
        return Axis(self.low[part], self.high[part], self.low_weight[part], self.high_weight[part])

    def touching(self, first: int, last: int) -> tuple[int, int]:
        """The output places that the places from `first` to before `last` have a share in."""
        inside = np.flatnonzero((self.high >= first) & (self.low < last))
        return int(inside[0]), int(inside[-1]) + 1


def linear(size: int, out: int, kind: type[np.floating[Any]]) -> Axis:
    """Half-pixel centres, ends held, as torch (float32) and scikit-image (float64) have it.

    torch's kernels multiply and add in one rounding; so it is done here.
    """
    scale = kind(size) / kind(out)
    place = (np.float64(scale) * (np.arange(out) + 0.5) - 0.5).astype(kind)
    place = np.clip(place, kind(0), kind(size - 1))
    low = np.floor(place).astype(np.int64)
    share = np.clip(place - low.astype(kind), kind(0), kind(1))
    return Axis(low, np.minimum(low + 1, size - 1), kind(1) - share, share)


def nearest(size: int, out: int) -> Axis:
    place = np.float64(size) / out * (np.arange(out) + 0.5) - 0.5
    index = np.clip(np.floor(place + 0.5), 0, size - 1).astype(np.int64)
    return Axis(index, index, np.ones(out), np.zeros(out))


def axes_for(
    function: Any, size: Shape, shape: Shape, spacing: Sequence[float], wanted: Sequence[float]
) -> tuple[Axis, Axis, Axis] | None:
    """How `function`, a resampling of plans for probabilities, does each axis; None: unknown.

    `spacing` is that of the logits, `wanted` that of the volume.
    """
    options = dict(function.keywords)
    force = options.get("force_separate_z")
    separate, axis = determine_do_sep_z_and_axis(force, spacing, wanted)
    if function.func is resample_torch_fornnunet:
        known = not separate and options.get("mode", "linear") == "linear"
        kind: type[np.floating[Any]] = np.float32
    elif function.func is resample_data_or_seg_to_shape:
        known = options.get("order", 3) == 1 and options.get("order_z", 0) == 0
        kind = np.float64
    else:
        return None
    if not known or options.get("is_seg"):
        return None
    made = (
        nearest(n, out) if separate and number == axis else linear(n, out, kind)
        for number, (n, out) in enumerate(zip(size, shape, strict=True))
    )
    return tuple(made)  # type: ignore[return-value]


def decided(
    logits: torch.Tensor, axes: tuple[Axis, Axis, Axis], maybe: torch.Tensor, decide: Decide
) -> npt.NDArray[np.uint8]:
    """The mask on the grid of `axes`: 1 where `decide` says so of the resampled `logits`.

    `maybe` (z, y, x): where a label other than background has the largest of `logits`. Between
    places that are all background, background is the answer, since no weight is negative.
    """
    z, y, x = axes
    mask = np.zeros((len(z.low), len(y.low), len(x.low)), np.uint8)
    box = _box(maybe)
    if box is None:
        return mask
    ranges = [axis.touching(*side) for axis, side in zip(axes, box, strict=True)]
    (top, bottom), rows, columns = ranges
    inside = mask[top:bottom, slice(*rows), slice(*columns)]
    y, x = y.part(*rows), x.part(*columns)
    kind = torch.from_numpy(z.low_weight[:0]).dtype
    rounds = logits.dtype if kind is torch.float64 else kind

    @lru_cache(maxsize=2)
    def plane(index: int) -> torch.Tensor:
        return _between(_between(logits[:, index].to(kind), x, 2), y, 1)

    with _one_thread():
        for number, (low, high, low_weight, high_weight) in enumerate(_steps(z.part(top, bottom))):
            values = torch.add(plane(high) * high_weight, plane(low), alpha=low_weight)
            inside[number] = decide(values.to(rounds)).cpu().numpy()
    return mask


@contextmanager
def _one_thread() -> Iterator[None]:
    """A plane is too little work for several: on a busy machine they wait ten times as long."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _steps(axis: Axis) -> zip[tuple[int, int, float, float]]:
    columns = (axis.low, axis.high, axis.low_weight, axis.high_weight)
    return zip(*(column.tolist() for column in columns), strict=True)


def _between(values: torch.Tensor, axis: Axis, dim: int) -> torch.Tensor:
    def part(places: npt.NDArray[np.int64]) -> torch.Tensor:
        return values.index_select(dim, torch.from_numpy(places).to(values.device))

    def weight(given: npt.NDArray[np.floating[Any]]) -> torch.Tensor:
        return torch.from_numpy(given).to(values.device).reshape([-1] + [1] * (2 - dim))

    high = part(axis.high).mul_(weight(axis.high_weight))
    return torch.addcmul(high, part(axis.low), weight(axis.low_weight))


def _box(maybe: torch.Tensor) -> list[tuple[int, int]] | None:
    sides = []
    for axis in range(3):
        others = tuple(other for other in range(3) if other != axis)
        (inside,) = np.nonzero(maybe.any(others[1]).any(others[0]).cpu().numpy())
        if not len(inside):
            return None
        sides.append((int(inside[0]), int(inside[-1]) + 1))
    return sides


def cubic(
    volume: npt.NDArray[np.float32], shape: Shape, device: torch.device
) -> npt.NDArray[np.float32]:
    """`volume` (z, y, x) with the splines of scikit-image's `resize`, order 3: one matrix an axis.

    In double precision, as there; ends held, and no value beyond those of `volume`.
    """
    z, y, x = (
        torch.from_numpy(_splines(size, out)).to(device)
        for size, out in zip(volume.shape, shape, strict=True)
    )
    planes = torch.empty((len(volume), *shape[1:]), dtype=torch.float64, device=device)
    for index, plane in enumerate(volume):
        planes[index] = y @ (torch.from_numpy(plane).to(device, torch.float64) @ x.T)
    made = (z @ planes.reshape(len(volume), -1)).reshape(shape)
    del planes
    made.clamp_(float(volume.min()), float(volume.max()))
    return np.asarray(made.float().cpu().numpy())


@lru_cache(maxsize=16)
def _splines(size: int, out: int) -> npt.NDArray[np.float64]:
    """What resampling does to an axis, found by doing it to each unit vector."""
    columns = (
        ndimage.zoom(unit, out / size, order=3, mode="nearest", grid_mode=True)
        for unit in np.eye(size)
    )
    return np.stack(list(columns), axis=1)
