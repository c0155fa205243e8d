"""`dicomnode evaluate deface`: how well faces are removed, case by case: a table and a picture."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from dicomnode.csv_cells import inert

TABLE_NAME, SUMMARY_NAME, PICTURE_NAME = "deface.csv", "deface-summary.json", "deface.png"
_BEFORE, _AFTER = "#b26a00", "#0072b2"


@dataclass(frozen=True)
class Case:
    """A row of the table. Probabilities are those of the face detector, None where none was asked;
    the rest is as in a line of deface.jsonl (docs/defacing.md)."""

    case: str
    volume: str
    state: str
    verdict: str
    removed_ml: float
    dice: float
    exposed_face_before_ml: float
    exposed_face_after_ml: float
    face_probability_before: float | None
    face_probability_after: float | None
    surface_mean_mm: float | None
    surface_p95_mm: float | None
    surface_max_mm: float | None
    kept_foreground_dice: float
    brain_voxels: int
    brain_voxels_changed: int
    other_voxels_changed: int
    series_seconds: float
    objections: str


def cases_of(lines: Iterable[Mapping[str, Any]]) -> list[Case]:
    """Of the lines of deface.jsonl, those of volumes that were defaced, or are held."""
    return [_case(line) for line in lines if "proof" in line]


def write_evaluation(cases: Sequence[Case], failed: int, out: Path) -> Mapping[str, Any]:
    """CSV, summary and picture in `out`; returns the summary."""
    with (out / TABLE_NAME).open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(Case.__dataclass_fields__))
        writer.writeheader()
        for case in cases:
            writer.writerow({key: inert(value) for key, value in asdict(case).items()})
    found = summary(cases, failed)
    text = json.dumps(found, indent=2) + "\n"
    (out / SUMMARY_NAME).write_text(text, encoding="utf-8")
    write_boxplot(cases, out / PICTURE_NAME)
    return found


def summary(cases: Sequence[Case], failed: int) -> Mapping[str, Any]:
    """Counts, and of each figure its median and its worst value; None where nothing has it."""
    return {
        "volumes": len(cases),
        "proven": sum(not case.objections for case in cases),
        "held": sum(bool(case.objections) for case in cases),
        "failed": failed,
        "brain_voxels_changed": sum(case.brain_voxels_changed for case in cases),
        "other_voxels_changed": sum(case.other_voxels_changed for case in cases),
        "dice": _least(case.dice for case in cases),
        "kept_foreground_dice": _least(case.kept_foreground_dice for case in cases),
        "surface_mean_mm": _least(case.surface_mean_mm for case in cases),
        "exposed_face_after_ml": _most(case.exposed_face_after_ml for case in cases),
        "face_probability_before": _most(case.face_probability_before for case in cases),
        "face_probability_after": _most(case.face_probability_after for case in cases),
        "series_seconds": _most(case.series_seconds for case in cases),
    }


def write_boxplot(cases: Sequence[Case], path: Path) -> None:
    """PNG: the face that is seen before and after, what the detector says, and how far the skin is
    from where it was."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    panels = _panels(cases)
    figure = Figure(figsize=(8, 0.6 + 1.5 * max(len(panels), 1)), layout="constrained")
    FigureCanvasAgg(figure)
    for number, (title, groups) in enumerate(panels.items(), start=1):
        _panel(figure.add_subplot(len(panels), 1, number), title, groups)
    if not panels:
        figure.text(0.5, 0.5, "nothing was defaced: nothing to show", ha="center")
    figure.savefig(path, dpi=120)


_Groups = Mapping[str, list[float]]


def _panels(cases: Sequence[Case]) -> dict[str, _Groups]:
    every: dict[str, dict[str, Iterable[float | None]]] = {
        "face that is exposed (ml)": {
            "before": (case.exposed_face_before_ml for case in cases),
            "after": (case.exposed_face_after_ml for case in cases),
        },
        "face detector: probability of a face": {
            "before": (case.face_probability_before for case in cases),
            "after": (case.face_probability_after for case in cases),
        },
        "from the skin that was removed to the nearest skin left (mm)": {
            "mean": (case.surface_mean_mm for case in cases),
            "95 %": (case.surface_p95_mm for case in cases),
        },
    }
    known = {
        title: {name: [each for each in values if each is not None] for name, values in of.items()}
        for title, of in every.items()
    }
    return {title: groups for title, groups in known.items() if any(groups.values())}


def _panel(axes: Any, title: str, groups: _Groups) -> None:
    """Boxes from first to third quartile, whiskers to the extremes, and every case as a dot."""
    places = np.arange(len(groups))[::-1]
    for place, (name, values) in zip(places, groups.items(), strict=True):
        colour = _BEFORE if name == "before" else _AFTER
        axes.boxplot(
            [values],
            positions=[place],
            orientation="horizontal",
            widths=0.6,
            whis=(0, 100),
            patch_artist=True,
            boxprops={"facecolor": colour, "alpha": 0.25, "edgecolor": colour},
            medianprops={"color": "black", "linewidth": 1.5},
        )
        beside = np.linspace(-0.18, 0.18, len(values)) if len(values) > 1 else np.zeros(len(values))
        axes.scatter(values, place + beside, s=9, color=colour, alpha=0.8, zorder=3)
    labels = [f"{name} ({len(values)})" for name, values in groups.items()]
    axes.set_yticks(places, labels, fontsize=8)
    axes.set_ylim(-0.7, len(groups) - 0.3)
    axes.grid(axis="x", alpha=0.3)
    axes.set_title(title, fontsize=10, loc="left")


def _case(line: Mapping[str, Any]) -> Case:
    proof, figures = line["proof"], line["figures"]
    return Case(
        case=str(line.get("path") or line["series_instance_uid"]),
        volume=line["volume"],
        state=line["state"],
        verdict=proof["verdict"]["kind"],
        removed_ml=proof["removed_ml"],
        dice=proof["dice"],
        exposed_face_before_ml=line["exposed_face_before_ml"],
        exposed_face_after_ml=line["exposed_face_after_ml"],
        face_probability_before=proof["face_probability_before"],
        face_probability_after=line["face_probability_after"],
        surface_mean_mm=figures["surface_mean_mm"],
        surface_p95_mm=figures["surface_p95_mm"],
        surface_max_mm=figures["surface_max_mm"],
        kept_foreground_dice=figures["kept_foreground_dice"],
        brain_voxels=proof["brain_voxels"],
        brain_voxels_changed=proof["brain_voxels_changed"],
        other_voxels_changed=proof["other_voxels_changed"],
        series_seconds=line["series_seconds"],
        objections="; ".join(proof["objections"]),
    )


def _least(values: Iterable[float | None]) -> Mapping[str, float] | None:
    known = [value for value in values if value is not None]
    return {"median": round(median(known), 5), "least": min(known)} if known else None


def _most(values: Iterable[float | None]) -> Mapping[str, float] | None:
    known = [value for value in values if value is not None]
    return {"median": round(median(known), 5), "most": max(known)} if known else None
