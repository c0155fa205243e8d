"""Curves of a training: loss, pseudo Dice of each region, learning rate, seconds an epoch."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from typing import Any

from dicomnode.errors import DicomnodeError

COLOURS = ("#0072b2", "#cc3311", "#b26a00", "#117733", "#882255", "#555555")
_NUMBER = r"(-?(?:\d+\.?\d*(?:e[+-]?\d+)?|nan|inf))"
# What nnU-Net's trainer writes in this order; each line begins with a time stamp.
_EPOCH = re.compile(r"\bEpoch (\d+)\s*$")
_VALUES = {
    "learning_rate": re.compile(rf"Current learning rate: {_NUMBER}"),
    "train_loss": re.compile(rf"\btrain_loss {_NUMBER}"),
    "validation_loss": re.compile(rf"\bval_loss {_NUMBER}"),
    "seconds": re.compile(rf"Epoch time: {_NUMBER} s"),
}
_DICE = re.compile(r"Pseudo dice \[(.*)\]")
_IN_DICE = re.compile(rf"(?:^|[,(\s]){_NUMBER}(?=[),\s]|$)")


@dataclass(frozen=True)
class EpochRecord:
    """One epoch as the trainer saw it; `dice_by_region` is nnU-Net's pseudo Dice of patches."""

    epoch: int
    train_loss: float
    validation_loss: float
    dice_by_region: Mapping[str, float]
    learning_rate: float
    seconds: float


def read_training_logs(paths: Iterable[Path], regions: Sequence[str]) -> list[EpochRecord]:
    """The epochs in nnU-Net's `training_log_*.txt` files, oldest file first.

    `regions` names the network's channels in order. An epoch that a restarted training repeats
    counts as it was last; one that was not finished counts not at all. Raises `DicomnodeError`
    where a log has another number of regions.
    """
    records: dict[int, EpochRecord] = {}
    for path in paths:
        for record in _records(path, regions):
            records[record.epoch] = record
    return [records[epoch] for epoch in sorted(records)]


def _records(path: Path, regions: Sequence[str]) -> Iterable[EpochRecord]:
    epoch: int | None = None
    values: dict[str, float] = {}
    dice: dict[str, float] = {}
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        if found := _EPOCH.search(line):
            epoch, values, dice = int(found[1]), {}, {}
        elif found := _DICE.search(line):
            dice = _dice(path, found[1], regions)
        for name, pattern in _VALUES.items():
            if found := pattern.search(line):
                values[name] = float(found[1])
        if epoch is not None and dice and len(values) == len(_VALUES):
            yield EpochRecord(epoch, dice_by_region=dice, **values)
            epoch = None


def _dice(path: Path, text: str, regions: Sequence[str]) -> dict[str, float]:
    found = [float(number) for number in _IN_DICE.findall(text)]
    if len(found) != len(regions):
        raise DicomnodeError(
            f"{path}: the log has pseudo Dice of {len(found)} regions, expected are "
            f"{', '.join(regions)}"
        )
    return dict(zip(regions, found, strict=True))


def write_curves(records: Sequence[EpochRecord], path: Path) -> None:
    """PNG with four panels over the epochs: losses, pseudo Dice, learning rate, seconds."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    regions = dict.fromkeys(region for record in records for region in record.dice_by_region)
    panels = {
        "loss": {
            "training": [r.train_loss for r in records],
            "validation": [r.validation_loss for r in records],
        },
        "pseudo Dice of patches": {
            region: [r.dice_by_region.get(region, math.nan) for r in records] for region in regions
        },
        "learning rate": {"": [r.learning_rate for r in records]},
        "seconds an epoch": {"": [r.seconds for r in records]},
    }
    figure = Figure(figsize=(9, 10), layout="constrained")
    FigureCanvasAgg(figure)
    every = figure.subplots(len(panels), 1, sharex=True, height_ratios=[3, 3, 2, 2])
    for axes, (title, lines) in zip(every, panels.items(), strict=True):
        _panel(axes, title, [r.epoch for r in records], lines)
    every[1].set_ylim(-0.02, 1.02)
    every[-1].set_ylim(bottom=0)
    every[-1].set_xlabel("epoch")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)


def _panel(
    axes: Any, title: str, epochs: Sequence[int], lines: Mapping[str, Sequence[float]]
) -> None:
    """Dots too: a training of one epoch has no line."""
    for (name, values), colour in zip(lines.items(), cycle(COLOURS), strict=False):
        axes.plot(epochs, values, label=name, color=colour, lw=1.4, marker=".", markersize=4)
    axes.set_ylabel(title)
    axes.grid(alpha=0.3)
    if len(lines) > 1:
        axes.legend(fontsize=8)
