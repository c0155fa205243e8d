"""Evaluation cases: whole scans, intact and defaced by known methods, with reference masks.

Each case is `NAME.nii.gz` (HPL axes, 2 mm), `NAME_labels.nii.gz` (0 background, 1 foreground but
not face, 2 face, 3 anonymised) and an entry in `cases.json`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import cast

import numpy as np

from dicomnode.training.drawn import Labels, Volume, draw_head
from dicomnode.training.grid import spacing_of
from dicomnode.training.hard_negatives import FAULTS
from dicomnode.training.read import write_nifti
from dicomnode.training.simulate import METHODS, deface
from dicomnode.training.sources import Progress, Source
from dicomnode.training.variants import label_map

# Simulated methods per person; the person's first scan only.
CASE_METHODS = tuple(METHODS)
HARD_NEGATIVES = ("zeroed_background", "round_field_of_view", "constant_border")


@dataclass(frozen=True)
class Case:
    """One case to judge. `state`: intact, defaced, body; `reference`: labels exist."""

    name: str
    person: str
    modality: str
    state: str
    method: str
    reference: bool


Made = tuple[Case, Volume, Labels]


def _intact(source: Source, array: Volume, state: str) -> Made:
    nothing = np.zeros(source.face.shape, bool)
    spacing_mm = spacing_of(source.affine)
    labels = label_map(source.foreground, source.face, nothing, spacing_mm)
    case = Case(source.name, source.person, source.modality, state, "none", state != "defaced")
    return case, array, labels


def _made_of(source: Source, array: Volume, seed: int, first: bool) -> Iterator[Made]:
    state = {"body": "body", "defaced": "defaced"}.get(source.kind, "intact")
    yield _intact(source, array, state)
    if state != "intact" or not first:
        return
    rng = np.random.default_rng(seed)
    spacing_mm = spacing_of(source.affine)
    for method in CASE_METHODS:
        cut, anonymised = deface(array, source.affine, source.foreground, source.face, method, rng)
        labels = label_map(source.foreground, source.face, anonymised, spacing_mm)
        name = f"{source.name}__{method}"
        yield Case(name, source.person, source.modality, "defaced", method, True), cut, labels
    for fault in HARD_NEGATIVES:
        odd, body = FAULTS[fault](array, source.foreground, rng)
        labels = label_map(body, source.face, np.zeros(body.shape, bool), spacing_mm)
        name = f"{source.name}__{fault}"
        yield Case(name, source.person, source.modality, "intact", fault, True), odd, labels


def _drawn(seed: int) -> Iterator[tuple[Source, Volume]]:
    for number, modality in enumerate(("CT", "MR")):
        head = draw_head(900_000 + seed + number, modality)  # type: ignore[arg-type]
        name = f"drawn_{modality.lower()}"
        yield (
            Source(
                name, name, "drawn_head", head.modality, head.affine, head.foreground, head.face
            ),
            head.array,
        )


def write_cases(real: Sequence[Source], out: Path, *, seed: int, progress: Progress) -> None:
    """Cases of every real scan and of two drawn heads that no training set contains."""
    out.mkdir(parents=True, exist_ok=True)
    listed: list[Case] = []
    seen: set[str] = set()
    every = [(s, cast(Volume, s.array)) for s in real] + list(_drawn(seed))
    for done, (source, array) in enumerate(every):
        progress("cases", done, len(every))
        for case, voxels, labels in _made_of(source, array, seed, source.person not in seen):
            write_nifti(out / f"{case.name}.nii.gz", voxels, source.affine)
            if case.reference:
                write_nifti(out / f"{case.name}_labels.nii.gz", labels, source.affine)
            listed.append(case)
        seen.add(source.person)
    text = json.dumps([asdict(c) for c in listed], indent=1)
    (out / "cases.json").write_text(text + "\n", encoding="utf-8")
    progress("cases", len(every), len(every))
