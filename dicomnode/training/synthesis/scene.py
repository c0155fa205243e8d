"""What the steps of a synthesis hand to one another: an image and what is known about it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TypeVar

import numpy as np
import torch

Tensor = torch.Tensor
Name = TypeVar("Name")
# Beyond this the depth is not kept: no rule asks for more.
DEPTH_LIMIT_MM = 60.0


@dataclass(frozen=True)
class Points:
    """Template coordinates (MNI millimetres: x right, y anterior, z superior), one per voxel."""

    x: Tensor
    y: Tensor
    z: Tensor

    def stacked(self) -> Tensor:
        return torch.stack([self.x, self.y, self.z])


@dataclass(frozen=True)
class Scene:
    """One volume, axes (head, posterior, left); all tensors have its shape.

    `image`: any unit, HU where `is_ct`. `body`: anatomy, inner air included. `depth_mm`: distance
    into the body, negative outside, up to `DEPTH_LIMIT_MM`. `seen`: the field of view; outside it
    the image is padding. `points`: None where there is no head. `anonymised`: what was replaced.
    `ambiguous`: nobody can tell whether it was (air in front of a removed face).
    """

    image: Tensor
    body: Tensor
    depth_mm: Tensor
    seen: Tensor
    spacing_mm: tuple[float, float, float]
    is_ct: bool
    points: Points | None
    anonymised: Tensor
    ambiguous: Tensor

    @property
    def device(self) -> torch.device:
        return self.image.device

    @cached_property
    def air(self) -> float:
        """The typical value outside the body."""
        outside = self.image[self.seen & ~self.body]
        if outside.numel() < 100:
            return self.lowest
        return float(thinned(outside).median())

    @cached_property
    def lowest(self) -> float:
        return float(self.image.min())

    @cached_property
    def range(self) -> tuple[float, float]:
        """1st and 99th percentile of what is seen."""
        low, high = percentiles(self.image[self.seen], (1, 99))
        return low, max(high, low + 1e-3)


class Chance:
    """All randomness of one sample: numpy for the decisions, torch for the fields.

    The same seed gives the same sample on the same kind of device.
    """

    def __init__(self, seed: int, device: torch.device) -> None:
        self.rng = np.random.default_rng(seed)
        self.device = device
        self._torch = torch.Generator(device=device)
        self._torch.manual_seed(seed)

    def happens(self, probability: float) -> bool:
        return bool(self.rng.random() < probability)

    def between(self, low: float, high: float) -> float:
        return float(self.rng.uniform(low, high))

    def normal(self, shape: tuple[int, ...]) -> Tensor:
        return torch.randn(shape, generator=self._torch, device=self.device)

    def uniform(self, shape: tuple[int, ...]) -> Tensor:
        return torch.rand(shape, generator=self._torch, device=self.device)

    def smooth(self, shape: tuple[int, ...], cells: int) -> Tensor:
        """Noise of about unit size that changes over 1/`cells` of the field."""
        coarse = self.normal((1, 1, cells, cells, cells))
        fine = torch.nn.functional.interpolate(
            coarse, size=shape, mode="trilinear", align_corners=True
        )
        return fine[0, 0]

    def one_of(self, shares: Mapping[Name, float]) -> Name:
        names, weights = tuple(shares), np.array(tuple(shares.values()))
        return names[int(self.rng.choice(len(names), p=weights / weights.sum()))]


Step = Callable[[Scene, Chance], Scene]


def thinned(values: Tensor, at_most: int = 20_000) -> Tensor:
    """Every n-th value: enough for an order statistic, and quick."""
    flat = values.reshape(-1)
    return flat[:: max(1, flat.numel() // at_most)]


def percentiles(values: Tensor, percents: tuple[float, ...]) -> list[float]:
    few = thinned(values).float()
    if few.numel() == 0:
        return [0.0] * len(percents)
    at = torch.tensor([p / 100 for p in percents], device=few.device)
    return [float(q) for q in torch.quantile(few, at)]
