"""Judges networks on whole scans with the node's own examiner: masks, millilitres, verdicts.

The folder of results holds `scores.jsonl` (a line as soon as a case is judged, so an interrupted
run goes on), `scores.csv`, `summary.json` and `dice.png`. A case is judged again where its files,
the networks, the thresholds or the definition of a figure changed. Conventions: see `metrics`,
`verdict_figures` and `intervals`.
"""

from __future__ import annotations

import hashlib
import json
import math
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from dicomnode import __version__
from dicomnode.config import Settings, VerdictSettings
from dicomnode.dicom.nifti import modality_of
from dicomnode.domain import Evidence, HeaderClaims, SegmentKind, as_json, subject_of
from dicomnode.errors import DicomnodeError
from dicomnode.inference.assessment import Segmenter
from dicomnode.inference.evidence import measure
from dicomnode.inference.models import load_manifest
from dicomnode.inference.nnunet import load_networks
from dicomnode.inference.selection import check, choose, in_use
from dicomnode.inference.verdict import judge
from dicomnode.training.boxplot import write_boxplot
from dicomnode.training.case_folders import image_path, labels_path, not_cases, read_cases
from dicomnode.training.cases import Case
from dicomnode.training.drawn import Labels
from dicomnode.training.grid import Grid
from dicomnode.training.metrics import TOLERANCE_MM, agreement
from dicomnode.training.read import read_nifti
from dicomnode.training.scores import (
    LOG_NAME,
    TABLE_NAME,
    RegionScore,
    Score,
    append,
    read_log,
    write_table,
)
from dicomnode.training.summary import summary
from dicomnode.training.synthesis.labels import ANONYMISED, FACE, FOREGROUND

Progress = Callable[[str, int, int], None]
Mask = npt.NDArray[np.bool_]
Masks = Mapping[SegmentKind, npt.NDArray[np.uint8]]

SUMMARY_NAME = "summary.json"
PICTURE_NAME = "dice.png"
METRICS_VERSION = 1
AMBIGUOUS_AIR = 4  # air in front of the head that a tool overwrote: neither right nor wrong

# Which values of a reference label map make up the region of a network.
REFERENCE = {
    SegmentKind.FOREGROUND: (FOREGROUND, FACE),
    SegmentKind.FACE: (FACE,),
    SegmentKind.ANONYMISED_AREA: (ANONYMISED,),
}
# The head as it was before anything was removed: nobody argues about what was anonymised in it.
HEAD = (FOREGROUND, FACE, ANONYMISED)


@dataclass(frozen=True)
class Evaluation:
    """`failed`: cases that could not be judged, each with its reason; `ignored`: images that are
    no cases."""

    scores: tuple[Score, ...] = ()
    reused: int = 0
    failed: Mapping[str, str] = field(default_factory=dict)
    ignored: tuple[str, ...] = ()


@dataclass(frozen=True)
class Jury:
    """Networks that are loaded, and how the node would let them look and judge."""

    networks: Sequence[Segmenter]
    settings: Settings

    @cached_property
    def digest(self) -> str:
        """Of everything that decides a score, apart from the case.

        Not of the thresholds: a verdict is given anew from the volumes, with no network.
        """
        parts = sorted(f"{n.identity.kind.value} {n.identity.sha256}" for n in self.networks)
        parts.append(self.settings.inference.manner)
        parts.append(f"metrics {METRICS_VERSION} {TOLERANCE_MM}")
        parts += [rule.model_dump_json() for rule in self.settings.inference.use]
        return hashlib.sha256("\n".join(parts).encode("utf-8")).hexdigest()


def evaluate(
    models: Path,
    cases: Path,
    out: Path,
    *,
    settings: Settings,
    persons: Collection[str] | None = None,
    progress: Progress,
) -> Evaluation:
    """Runs the networks of `models` on the cases in `cases`; files in `out`, see above.

    `settings`: how they run, which looks at which case, thresholds. `persons`: only their cases
    (for a fold: those left out of its training). A case that can't be read is named in the summary
    and doesn't stop the others. Raises `ModelError`, and `DicomnodeError` where there are no cases
    (of a person).
    """
    every = read_cases(cases)
    wanted = [c for c in every if persons is None or c.person in persons]
    if missing := sorted(set(persons or ()) - {c.person for c in every}):
        raise DicomnodeError(f"{cases}: no case of {', '.join(missing)}")
    use = settings.inference.use
    pinned = load_manifest(models)
    check(pinned, use)
    jury = Jury(load_networks(in_use(pinned, use), settings.inference), settings)
    out.mkdir(parents=True, exist_ok=True)
    done = judge_cases(wanted, cases, jury, out, progress)
    done = replace(done, ignored=tuple(not_cases(cases)))
    write_results(out, done, jury)
    return done


def judge_cases(
    wanted: Sequence[Case], folder: Path, jury: Jury, out: Path, progress: Progress
) -> Evaluation:
    """Score each case that the log in `out` has no score of."""
    known = read_log(out / LOG_NAME)
    scores, reused, failed = [], 0, {}
    for number, case in enumerate(wanted):
        progress("evaluating", number, len(wanted))
        try:
            inputs = _inputs(case, folder)
            score = known.get((case.name, jury.digest, inputs))
            reused += score is not None
            if score is None:
                score = _score(case, folder, jury, inputs)
                append(out / LOG_NAME, score)
        except Exception as error:  # noqa: BLE001 - the edge for one case: recorded, and on
            failed[case.name] = f"{type(error).__name__}: {error}"
        else:
            scores.append(replace(score, verdict=_verdict(score, jury.settings.verdict)))
    progress("evaluating", len(wanted), len(wanted))
    return Evaluation(tuple(scores), reused, failed)


def write_results(out: Path, done: Evaluation, jury: Jury) -> None:
    """CSV, JSON and picture of all scores."""
    write_table(out / TABLE_NAME, done.scores)
    write_boxplot(done.scores, out / PICTURE_NAME)
    document = {
        "software_version": __version__,
        "networks": [as_json(network.identity) for network in jury.networks],
        "verdict_settings": jury.settings.verdict.model_dump(),
        **summary(done.scores),
        "failed": done.failed,
        "ignored": done.ignored,
    }
    text = json.dumps(document, indent=1, allow_nan=False)
    (out / SUMMARY_NAME).write_text(text + "\n", encoding="utf-8")


def _inputs(case: Case, folder: Path) -> str:
    whole = hashlib.sha256(json.dumps([case.person, case.state, case.method]).encode("utf-8"))
    paths = [image_path(folder, case), *([labels_path(folder, case)] if case.reference else [])]
    for path in paths:
        with path.open("rb") as file:
            whole.update(hashlib.file_digest(file, "sha256").digest())
    return whole.hexdigest()


def _score(case: Case, folder: Path, jury: Jury, inputs: str) -> Score:
    array, affine = read_nifti(image_path(folder, case))
    grid = Grid(cast(tuple[int, int, int], array.shape), affine)
    modality = case.modality or modality_of(array)
    began = time.monotonic()
    choice = choose(
        jury.networks,
        jury.settings.inference.use,
        subject_of(modality, HeaderClaims(), grid.spacing_mm),
    )
    masks = {n.identity.kind: n.segment(array, grid.spacing_mm) for n in choice.networks}
    seconds = time.monotonic() - began
    evidence = measure(
        masks,
        grid.spacing_mm,
        models=(),
        claims=HeaderClaims(),
        matrix=grid.shape,
        unanswered=choice.unanswered,
    )
    return Score(
        case=case.name,
        person=case.person,
        modality=modality,
        state=case.state,
        method=case.method,
        verdict="",
        **_volumes(evidence),
        seconds=round(seconds, 2),
        examiner=jury.digest,
        inputs=inputs,
        regions=_regions(masks, _labels(case, folder, grid), grid) if case.reference else {},
    )


def _verdict(score: Score, thresholds: VerdictSettings) -> str:
    """What the rules say to the volumes of a score."""
    volumes = {
        SegmentKind.FOREGROUND: score.foreground_ml,
        SegmentKind.FACE: score.face_ml,
        SegmentKind.ANONYMISED_AREA: score.anonymised_ml,
    }
    evidence = Evidence(
        volumes_ml={kind: ml for kind, ml in volumes.items() if not math.isnan(ml)},
        largest_component_ml={SegmentKind.ANONYMISED_AREA: score.anonymised_piece_ml},
        exposed_face_ml=score.exposed_face_ml,
        models=(),
        claims=HeaderClaims(),
        field_of_view_mm=(0.0, 0.0, 0.0),
        spacing_mm=(1.0, 1.0, 1.0),
        matrix=(0, 0, 0),
    )
    return judge(evidence, thresholds).kind.value


def _volumes(evidence: Evidence) -> dict[str, Any]:
    return {
        "foreground_ml": evidence.volumes_ml.get(SegmentKind.FOREGROUND, math.nan),
        "face_ml": evidence.volumes_ml.get(SegmentKind.FACE, math.nan),
        "exposed_face_ml": evidence.exposed_face_ml,
        "anonymised_ml": evidence.volumes_ml.get(SegmentKind.ANONYMISED_AREA, math.nan),
        "anonymised_piece_ml": evidence.largest_component_ml.get(SegmentKind.ANONYMISED_AREA, 0.0),
    }


def _labels(case: Case, folder: Path, grid: Grid) -> Labels:
    """Raises `ValueError` where the reference doesn't fit its image."""
    labels, affine = read_nifti(labels_path(folder, case))
    if labels.shape != grid.shape or not np.allclose(affine, grid.affine, atol=1e-2):
        raise ValueError("the label map is not on the grid of its image")
    values = labels.astype(np.uint8)
    if not np.array_equal(values, labels) or values.max() > AMBIGUOUS_AIR:
        raise ValueError(f"the label map holds other values than 0 to {AMBIGUOUS_AIR}")
    return values


def _regions(masks: Masks, labels: Labels, grid: Grid) -> dict[str, RegionScore]:
    """Every network against its region, the anonymised area a second time inside the head."""
    told = labels != AMBIGUOUS_AIR
    found = {
        kind.value: _region(np.isin(labels, REFERENCE[kind]), mask.astype(bool) & told, grid)
        for kind, mask in masks.items()
    }
    area = masks.get(SegmentKind.ANONYMISED_AREA)
    if area is not None:
        inside = area.astype(bool) & np.isin(labels, HEAD)
        found["anonymised_area_head"] = _region(labels == ANONYMISED, inside, grid)
    return found


def _region(reference: Mask, answer: Mask, grid: Grid) -> RegionScore:
    agreed = agreement(reference, answer, grid.spacing_mm)
    return RegionScore(
        dice=agreed.dice,
        hd95_mm=agreed.hd95_mm,
        surface_dice=agreed.surface_dice,
        reference_ml=int(np.count_nonzero(reference)) * grid.voxel_ml,
        answer_ml=int(np.count_nonzero(answer)) * grid.voxel_ml,
    )
