"""Builds the training set: variants of real and drawn scans, preprocessed as nnU-Net would.

Under `out`: `preprocessed/Dataset900_starter` (nnU-Net's own layout, ready for its trainer),
`cases/` (whole scans with reference masks, for `evaluate`) and `recipe.json` (what was made).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dicomnode.training import plans
from dicomnode.training.cases import write_cases
from dicomnode.training.grid import Grid
from dicomnode.training.nnunet_paths import DATASETS, nnunet_folders
from dicomnode.training.sources import (
    Progress,
    Source,
    drawn_body_source,
    drawn_head_source,
    real_sources,
)
from dicomnode.training.variants import Variant, make_variant

# Share of the variants per kind of source; within a kind, persons share evenly.
SHARES = {"head": 0.40, "drawn_head": 0.32, "body": 0.18, "drawn_body": 0.10}
VARIANTS_PER_DRAWN = 4

# Which of the two folds leaves a person (or body) of the shared data out. None: in every training.
# Persons that are not named here are shared out evenly.
FOLD_OF_PERSON: dict[str, int | None] = {
    "sag_anon": 0,
    "t1_head_ext2": 0,
    "uih_A": 0,
    "ts_example_mr_abdomen": 0,
    "decubitus": 1,
    "ts_example_ct_abdomen_pelvis": 1,
    "avg152T1": None,
}
FOLDS = 2


@dataclass(frozen=True)
class Planned:
    """One variant to make: its case name, its source, its own seed."""

    case: str
    source: str
    person: str
    kind: str
    seed: int


def plan_variants(
    real: Sequence[Source], variants: int, seed: int
) -> tuple[list[Planned], dict[str, int]]:
    """Who appears how often. The second value gives the seeds of the drawn sources."""
    rng = np.random.default_rng(seed)
    planned: list[Planned] = []
    drawn: dict[str, int] = {}

    def add(source: str, person: str, kind: str) -> None:
        number = len(planned)
        case = f"{kind}_{number:04d}"
        planned.append(Planned(case, source, person, kind, int(rng.integers(2**31))))

    for kind, share in SHARES.items():
        count = round(share * variants)
        if kind.startswith("drawn"):
            for k in range(count):
                name = f"{kind}_{k // VARIANTS_PER_DRAWN}"
                drawn.setdefault(name, seed * 1000 + k // VARIANTS_PER_DRAWN)
                add(name, name, kind)
            continue
        persons = sorted({s.person for s in real if s.kind == kind})
        for k in range(count if persons else 0):
            person = persons[k % len(persons)]
            own = [s for s in real if s.person == person]
            add(own[(k // len(persons)) % len(own)].name, person, kind)
    return planned, drawn


def left_out_of(planned: Sequence[Planned]) -> list[list[str]]:
    """Per fold, the real persons that its training must not see."""
    persons = sorted({p.person for p in planned if not p.kind.startswith("drawn")})
    others = [p for p in persons if p not in FOLD_OF_PERSON]
    fold_of = {p: k % FOLDS for k, p in enumerate(others)} | FOLD_OF_PERSON
    return [[p for p in persons if fold_of[p] == fold] for fold in range(FOLDS)]


def _splits(planned: Sequence[Planned]) -> list[dict[str, list[str]]]:
    """One split a fold, and a last one that leaves out all of them: a start for every fold."""
    every = [p.case for p in planned]
    left_out_by = left_out_of(planned)
    splits = []
    for left_out in [*left_out_by, [p for persons in left_out_by for p in persons]]:
        held = [p.case for p in planned if p.person in left_out]
        train = [case for case in every if case not in set(held)]
        splits.append({"train": train, "val": held or every[:2]})
    return splits


def _write_json(path: Path, content: Any) -> None:
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def _write_frame(folder: Path, planned: Sequence[Planned]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    _write_json(folder / "dataset.json", plans.region_dataset_json(len(planned)))
    _write_json(folder / f"{plans.PLANS_NAME}.json", plans.plans())
    _write_json(folder / "splits_final.json", _splits(planned))
    _write_json(folder / "dataset_fingerprint.json", {})


class _Preprocessor:
    """nnU-Net's own preprocessing and storage of one case."""

    def __init__(self, folder: Path) -> None:
        from nnunetv2.preprocessing.preprocessors.default_preprocessor import DefaultPreprocessor
        from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

        self._folder = folder / plans.DATA_IDENTIFIER
        self._folder.mkdir(parents=True, exist_ok=True)
        self._plans = PlansManager(plans.plans())
        self._configuration = self._plans.get_configuration(plans.CONFIGURATION)
        self._dataset = plans.region_dataset_json(0)
        self._run = DefaultPreprocessor(verbose=False).run_case_npy

    def save(self, case: str, variant: Variant) -> None:
        from nnunetv2.training.dataloading.nnunet_dataset import (
            comp_blosc2_params,
            nnUNetDatasetBlosc2,
        )

        shape = variant.array.shape
        grid = Grid((shape[0], shape[1], shape[2]), variant.affine)
        data, seg, properties = self._run(
            variant.array[None],
            variant.labels[None].astype(np.int16),
            {"spacing": list(grid.spacing_mm)},
            self._plans,
            self._configuration,
            self._dataset,
        )
        blocks, chunks = comp_blosc2_params(data.shape, plans.PATCH_VOXELS, data.itemsize)
        nnUNetDatasetBlosc2.save_case(
            data.astype(np.float32),
            seg.astype(np.int16),
            properties,
            str(self._folder / case),
            chunks=chunks,
            blocks=blocks,
            chunks_seg=chunks,
            blocks_seg=blocks,
        )


def _drawn_source(name: str, seed: int) -> Source:
    return drawn_head_source(seed) if name.startswith("drawn_head") else drawn_body_source(seed)


def prepare(
    sources: Sequence[Path], out: Path, *, seed: int, variants: int, progress: Progress
) -> None:
    """`sources`: folders laid out as the shared data (`heads_mr`, `nonhead`, `templates_masks`...)
    or such folders themselves. The same sources, seed and number give the same set.
    """
    real = real_sources(sources, progress)
    usable = {s.name: s for s in real if s.kind != "defaced"}
    planned, drawn = plan_variants(list(usable.values()), variants, seed)
    folder = out / DATASETS / plans.DATASET_NAME
    _write_frame(folder, planned)
    recipe = {"seed": seed, "left_out": left_out_of(planned)}
    _write_json(out / "recipe.json", {**recipe, "variants": [asdict(p) for p in planned]})
    with nnunet_folders(out):
        writer = _Preprocessor(folder)
        latest: Source | None = None
        for done, item in enumerate(planned):
            progress("variants", done, len(planned))
            source = usable.get(item.source)
            if source is None:
                if latest is None or latest.name != item.source:
                    latest = _drawn_source(item.source, drawn[item.source])
                source = latest
            writer.save(item.case, make_variant(source, np.random.default_rng(item.seed)))
        progress("variants", len(planned), len(planned))
    write_cases(real, out / "cases", seed=seed, progress=progress)
