"""One picture of an evaluation: how well each network agrees, by what was done to the heads."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from dicomnode.training.scores import REGIONS, Score

TITLES = {
    "foreground": "foreground",
    "face": "face",
    "anonymised_area": "anonymised area, whole volume",
    "anonymised_area_head": "anonymised area, head only",
}
COLOURS = {
    "foreground": "#0072b2",
    "face": "#cc3311",
    "anonymised_area": "#b26a00",
    "anonymised_area_head": "#b26a00",
}
LINE_INCHES = 0.28


def write_boxplot(scores: Sequence[Score], path: Path) -> None:
    """PNG: a panel for each region, a horizontal box of Dice for each state and method.

    Only cases whose reference of the region holds something; without any, a sentence instead.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    panels = {region: _groups(scores, region) for region in REGIONS}
    panels = {region: groups for region, groups in panels.items() if groups}
    heights = [len(groups) + 2 for groups in panels.values()] or [3]
    figure = Figure(figsize=(9, 0.6 + LINE_INCHES * sum(heights)), layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.add_gridspec(len(heights), 1, height_ratios=heights)
    for row, (region, groups) in enumerate(panels.items()):
        _panel(figure.add_subplot(grid[row]), region, groups)
    if not panels:
        figure.text(0.5, 0.5, "no case has a reference: nothing to compare", ha="center")
    figure.savefig(path, dpi=120)


def _groups(scores: Sequence[Score], region: str) -> dict[str, list[float]]:
    groups: dict[str, list[float]] = {}
    for score in sorted(scores, key=lambda score: score.group):
        if score.scored(region):
            groups.setdefault(score.group, []).append(score.value(region, "dice"))
    return groups


def _panel(axes: Any, region: str, groups: dict[str, list[float]]) -> None:
    """Boxes from first to third quartile, whiskers to the extremes, and every case as a dot."""
    places = np.arange(len(groups))[::-1]
    colour = COLOURS[region]
    axes.boxplot(
        list(groups.values()),
        positions=places,
        orientation="horizontal",
        widths=0.6,
        whis=(0, 100),
        patch_artist=True,
        boxprops={"facecolor": colour, "alpha": 0.25, "edgecolor": colour},
        medianprops={"color": "black", "linewidth": 1.5},
    )
    for place, values in zip(places, groups.values(), strict=True):
        beside = np.linspace(-0.18, 0.18, len(values)) if len(values) > 1 else np.zeros(1)
        axes.scatter(values, place + beside, s=9, color=colour, alpha=0.8, zorder=3)
    labels = [f"{name} ({len(values)})" for name, values in groups.items()]
    axes.set_yticks(places, labels, fontsize=8)
    axes.set_ylim(-0.7, len(groups) - 0.3)
    axes.set_xlim(-0.02, 1.02)
    axes.grid(axis="x", alpha=0.3)
    axes.set_title(f"{TITLES[region]}: Dice", fontsize=10, loc="left")
