"""Builds a training set: the subjects that volumes are drawn from, and cases to judge networks on.

Under `out`: `preprocessed/Dataset900_starter` (nnU-Net's own layout, with a file per subject),
`cases/` (whole scans with reference masks, for `evaluate`) and `recipe.json` (what was made).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from dicomnode.errors import DicomnodeError
from dicomnode.training import cases, plans
from dicomnode.training.find import Skipped
from dicomnode.training.nnunet_paths import DATASETS
from dicomnode.training.sources import (
    Progress,
    drawn_body_subject,
    drawn_head_subject,
    real_subjects,
)
from dicomnode.training.synthesis.subject import Subject, save_subject
from dicomnode.training.template import template_folder

# Which fold leaves a person (or trunk) of the shared data out. None: in every training.
# Persons that are not named here are shared out evenly.
FOLD_OF_PERSON: dict[str, int | None] = {
    "t1_head_ext2": 0,
    "uih_A": 1,
    "sag_anon": None,
    "decubitus": None,
    "avg152T1": None,
    "ts_example_mr_abdomen": None,
    "ts_example_ct_abdomen_pelvis": None,
}
# Which methods of simulated defacing a fold leaves out.
METHODS_OF_FOLD = (("round_the_face",), ("plane", "surface_blur"))
FOLDS = 2
NEVER_TRAINED_SEED = 900_000
MOST_TOLD = 3


def left_out_of(subjects: Sequence[Subject]) -> list[list[str]]:
    """Per fold, the persons and methods that its training must not see."""
    real = sorted({s.person for s in subjects if not s.kind.startswith("drawn")})
    drawn = sorted({s.person for s in subjects if s.kind.startswith("drawn")})
    others = [p for p in real if p not in FOLD_OF_PERSON]
    fold_of = {p: k % FOLDS for k, p in enumerate(others)} | FOLD_OF_PERSON
    return [
        [p for p in real if fold_of[p] == fold]
        + drawn[fold :: 5 * FOLDS]
        + list(METHODS_OF_FOLD[fold])
        for fold in range(FOLDS)
    ]


def write_json(path: Path, content: Any) -> None:
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def _drawn(seed: int, heads: int, bodies: int, progress: Progress) -> Iterator[Subject]:
    for number in range(heads + bodies):
        progress("drawing", number, heads + bodies)
        if number < heads:
            yield drawn_head_subject(seed * 1000 + number)
        else:
            yield drawn_body_subject(seed * 1000 + number - heads)
    progress("drawing", heads + bodies, heads + bodies)


def subjects_folder(out: Path) -> Path:
    return out / DATASETS / plans.DATASET_NAME / plans.DATA_IDENTIFIER


def prepare(
    sources: Sequence[Path],
    out: Path,
    *,
    seed: int,
    drawn_heads: int,
    drawn_bodies: int,
    cases_per_person: int,
    progress: Progress,
    template: Path | None = None,
) -> list[Skipped]:
    """`sources`: see `dicomnode.training.find`. The same sources, seed and numbers give the same
    set; what is not used of the sources is returned.

    `cases_per_person`: how many evaluation cases everyone appears in; 0 makes none. `template`:
    the folder of the head template, where it isn't among the sources.
    """
    template = template_folder(sources, template, masks=cases_per_person > 0)
    found = real_subjects(sources, template, progress)
    real = [s for s in found.subjects if s.kind != "defaced"]
    _require_scans(real, found.skipped)
    subjects = [*real, *_drawn(seed, drawn_heads, drawn_bodies, progress)]
    _write_set(subjects, subjects_folder(out))
    recipe = {
        "seed": seed,
        "left_out": left_out_of(subjects),
        "subjects": [{"name": s.name, "person": s.person, "kind": s.kind} for s in subjects],
        "skipped": [asdict(one) for one in found.skipped],
    }
    write_json(out / "recipe.json", recipe)
    if cases_per_person:
        _write_cases(sources, template, out, seed, cases_per_person, progress)
    return found.skipped


def _require_scans(real: Sequence[Subject], skipped: Sequence[Skipped]) -> None:
    """The template, which is always there, is no scan."""
    if len(real) > 1:
        return
    told = [f"{one.file}: {one.reason}" for one in skipped[:MOST_TOLD]]
    more = len(skipped) - len(told)
    why = "; ".join([*told, f"and {more} more"] if more else told) or "they hold no scans"
    raise DicomnodeError(f"the sources hold no scan to train on: {why}")


def _write_set(subjects: Sequence[Subject], folder: Path) -> None:
    """As nnU-Net expects it; subjects of an earlier set are removed, since trainings take all."""
    folder.mkdir(parents=True, exist_ok=True)
    for earlier in folder.glob("*.npz"):
        earlier.unlink()
    for subject in subjects:
        save_subject(subject, folder)
    frame = folder.parent
    write_json(frame / "dataset.json", plans.region_dataset_json(len(subjects)))
    write_json(frame / f"{plans.PLANS_NAME}.json", plans.plans())
    write_json(frame / "dataset_fingerprint.json", {})


def _write_cases(
    sources: Sequence[Path],
    template: Path,
    out: Path,
    seed: int,
    per_person: int,
    progress: Progress,
) -> None:
    """Everyone among the sources, and drawn persons that no training set contains."""
    real = real_subjects(sources, template, progress, cases.SPACING_MM).subjects
    unseen = NEVER_TRAINED_SEED + seed
    drawn = [
        drawn_head_subject(unseen),
        drawn_head_subject(unseen + 1),
        drawn_body_subject(unseen),
    ]
    cases.write_cases(
        [*real, *drawn],
        cases.template_masks(template),
        out / "cases",
        per_person=per_person,
        seed=seed,
        progress=progress,
    )
