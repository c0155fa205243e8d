"""Judges networks on whole scans with the node's own examiner: masks, millilitres, verdicts.

Conventions: Dice is 1 where reference and answer are both empty and 0 where only one is. Volumes
are those of the evidence (anonymised area: largest piece). A case without reference masks (a scan
defaced by others) has millilitres and a verdict only.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Collection, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from dicomnode.config import InferenceSettings, VerdictSettings
from dicomnode.domain import Evidence, HeaderClaims, SegmentKind
from dicomnode.inference.evidence import measure
from dicomnode.inference.models import MANIFEST_NAME, load_manifest, pin
from dicomnode.inference.nnunet import Network, load_networks
from dicomnode.inference.selection import check
from dicomnode.inference.verdict import judge
from dicomnode.training.cases import Case
from dicomnode.training.drawn import Affine, Volume
from dicomnode.training.grid import Grid
from dicomnode.training.read import read_nifti
from dicomnode.training.variants import ANONYMISED, FACE, FOREGROUND

Progress = Callable[[str, int, int], None]
Masks = dict[SegmentKind, npt.NDArray[np.uint8]]

# Which values of a reference label map make up the region of a network.
REFERENCE = {
    SegmentKind.FOREGROUND: (FOREGROUND, FACE),
    SegmentKind.FACE: (FACE,),
    SegmentKind.ANONYMISED_AREA: (ANONYMISED,),
}


@dataclass(frozen=True)
class Score:
    """One judged case; `nan` where there is no reference."""

    case: str
    person: str
    state: str
    method: str
    foreground_dice: float
    face_dice: float
    anonymised_dice: float
    foreground_ml: float
    face_ml: float
    exposed_face_ml: float
    anonymised_ml: float
    reference_face_ml: float
    reference_anonymised_ml: float
    verdict: str


def dice(reference: npt.NDArray[Any], answer: npt.NDArray[Any]) -> float:
    a, b = np.asarray(reference, bool), np.asarray(answer, bool)
    total = int(a.sum()) + int(b.sum())
    return 1.0 if total == 0 else 2.0 * int((a & b).sum()) / total


def read_cases(folder: Path) -> list[Case]:
    listed = json.loads((folder / "cases.json").read_text(encoding="utf-8"))
    return [Case(**entry) for entry in listed]


def _evidence(masks: Masks, grid: Grid) -> Evidence:
    return measure(masks, grid.spacing_mm, models=(), claims=HeaderClaims())


def _segment(networks: Sequence[Network], array: Volume, affine: Affine) -> tuple[Masks, Grid]:
    shape = cast(tuple[int, int, int], array.shape)
    grid = Grid(shape, affine)
    return {n.identity.kind: n.segment(array, grid.spacing_mm) for n in networks}, grid


def _score(case: Case, folder: Path, networks: Sequence[Network]) -> Score:
    array, affine = read_nifti(folder / f"{case.name}.nii.gz")
    masks, grid = _segment(networks, array, affine)
    evidence = _evidence(masks, grid)
    overlap = dict.fromkeys(SegmentKind, float("nan"))
    truth_ml = dict.fromkeys(SegmentKind, float("nan"))
    if case.reference:
        labels, _ = read_nifti(folder / f"{case.name}_labels.nii.gz")
        for kind, values in REFERENCE.items():
            reference = np.isin(labels, values)
            overlap[kind] = dice(reference, masks[kind])
            truth_ml[kind] = float(reference.sum()) * grid.voxel_ml
    return Score(
        case=case.name,
        person=case.person,
        state=case.state,
        method=case.method,
        foreground_dice=overlap[SegmentKind.FOREGROUND],
        face_dice=overlap[SegmentKind.FACE],
        anonymised_dice=overlap[SegmentKind.ANONYMISED_AREA],
        foreground_ml=evidence.volumes_ml[SegmentKind.FOREGROUND],
        face_ml=evidence.volumes_ml[SegmentKind.FACE],
        exposed_face_ml=evidence.exposed_face_ml,
        anonymised_ml=evidence.largest_component_ml[SegmentKind.ANONYMISED_AREA],
        reference_face_ml=truth_ml[SegmentKind.FACE],
        reference_anonymised_ml=truth_ml[SegmentKind.ANONYMISED_AREA],
        verdict=judge(evidence, VerdictSettings()).kind.value,
    )


def _span(values: Sequence[float]) -> dict[str, float]:
    known = [v for v in values if not np.isnan(v)]
    if not known:
        return {}
    return {
        "cases": len(known),
        "min": round(min(known), 4),
        "median": round(float(np.median(known)), 4),
        "max": round(max(known), 4),
    }


def summary(scores: Sequence[Score]) -> dict[str, Any]:
    """Spans of every figure per state, and the verdicts given."""
    out: dict[str, Any] = {}
    figures = [f for f in Score.__dataclass_fields__ if f.endswith(("_dice", "_ml"))]
    for state in sorted({s.state for s in scores}):
        own = [s for s in scores if s.state == state]
        verdicts = [s.verdict for s in own]
        out[state] = {f: _span([getattr(s, f) for s in own]) for f in figures}
        out[state]["verdicts"] = {v: verdicts.count(v) for v in sorted(set(verdicts))}
    return out


def evaluate(
    models: Path,
    cases: Path,
    out: Path,
    *,
    persons: Collection[str] | None = None,
    device: str = "auto",
    progress: Progress,
) -> list[Score]:
    """Runs the three networks of `models` on the cases that `prepare` wrote; CSV and JSON in `out`.

    `persons`: only their cases (for a fold: those left out of its training).
    """
    if not (models / MANIFEST_NAME).is_file():
        pin(models)
    pinned = load_manifest(models)
    check(pinned, ())  # one network of each kind: which of two is judged would be chance
    networks = load_networks(pinned, InferenceSettings.model_validate({"device": device}))
    wanted = [c for c in read_cases(cases) if persons is None or c.person in persons]
    scores = []
    for done, case in enumerate(wanted):
        progress("evaluating", done, len(wanted))
        scores.append(_score(case, cases, networks))
    progress("evaluating", len(wanted), len(wanted))
    _write(out, scores)
    return scores


def _write(out: Path, scores: Sequence[Score]) -> None:
    out.mkdir(parents=True, exist_ok=True)
    with (out / "scores.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(Score.__dataclass_fields__))
        writer.writeheader()
        writer.writerows(asdict(s) for s in scores)
    text = json.dumps(summary(scores), indent=1)
    (out / "summary.json").write_text(text + "\n", encoding="utf-8")
