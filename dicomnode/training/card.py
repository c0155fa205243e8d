"""What is told about a trained network: `card.json`, which goes into the manifest and on to users.

Cards are passed on, so nothing in them names a user's files.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from dicomnode.errors import TrainingError
from dicomnode.training import plans

DATA_LICENCES = {
    "sag_anon": "MIT (FNNDSC/SAG-anon)",
    "uih_A": "BSD-2-Clause (neurolabusc/dcm_qa_uih)",
    "decubitus": "BSD-2-Clause (neurolabusc/dcm_qa_decubitus)",
    "t1_head_ext2": "BSD-2-Clause (niivue/niivue-demo-images)",
    "avg152T1": "BSD-2-Clause (niivue/niivue-demo-images)",
    "ts_example_ct_abdomen_pelvis": "Apache-2.0 (wasserth/TotalSegmentator)",
    "ts_example_mr_abdomen": "Apache-2.0 (wasserth/TotalSegmentator)",
}


@dataclass(frozen=True)
class About:
    """What only the maker of a network can say; `known_failures`: sentences for each region."""

    name: str = "own"
    version: str = "unversioned"
    licence: str = "unknown"
    modality_limits: str = "unknown"
    known_failures: Mapping[str, Sequence[str]] = field(default_factory=dict)


def read_about(path: Path) -> About:
    """From a JSON file with some of the fields of `About`; raises `TrainingError`."""
    told = read_object(path)
    known = [each.name for each in fields(About)]
    if unknown := sorted(set(told) - set(known)):
        raise TrainingError(f"{path}: unknown {', '.join(unknown)}; known are {', '.join(known)}")
    return About(**told)


def read_object(path: Path) -> dict[str, Any]:
    """A JSON object; raises `TrainingError`."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise TrainingError(f"{path}: cannot be read: {error}") from None
    if not isinstance(content, dict):
        raise TrainingError(f"{path}: not a JSON object")
    return content


def training_data(recipe: Mapping[str, Any], left_out: Sequence[str]) -> dict[str, Any]:
    """The shared data by name and licence; of persons given by the user only how many."""
    everyone = recipe.get("subjects", [])
    subjects = [s for s in everyone if s["person"] not in left_out]
    real = {s["person"] for s in everyone if not s["kind"].startswith("drawn")}
    own = real - set(DATA_LICENCES)
    return {
        "subjects": len(subjects),
        "seed": recipe.get("seed"),
        "left_out": [name for name in left_out if name not in own],
        "real_scans": {name: DATA_LICENCES[name] for name in sorted(real - own - set(left_out))},
        "persons_given_by_the_user": len(own - set(left_out)),
        "persons_given_by_the_user_left_out": len(own & set(left_out)),
        "drawn_heads": sum(s["kind"] == "drawn_head" for s in subjects),
        "drawn_bodies": sum(s["kind"] == "drawn_body" for s in subjects),
    }


def card(
    region: str,
    folder_name: str,
    about: About,
    plan: Mapping[str, Any],
    training: Mapping[str, Any],
    figures: Mapping[str, Any] | None,
) -> dict[str, Any]:
    """`training`: what it was trained on and for how long; `figures`: `summary.json`."""
    configuration = plan["configurations"][plans.CONFIGURATION]
    return {
        "name": folder_name,
        "version": about.version,
        "kind": region,
        "modalities": ["CT", "MR"],
        "source": "trained by `dicomnode train` (docs/models.md)",
        "licence": about.licence,
        "spacing_mm": configuration["spacing"],
        "patch_voxels": configuration["patch_size"],
        "training_data": dict(training),
        "metrics": _metrics(region, figures) if figures else {},
        "known_failures": list(about.known_failures.get(region, ())),
        "modality_limits": about.modality_limits,
        "spacing_limits": f"{min(configuration['spacing']):g} mm grid: nothing thinner is seen",
    }


def _metrics(region: str, figures: Mapping[str, Any]) -> dict[str, Any]:
    """What `evaluate` found for one network, without the cases' names."""
    try:
        regions = {
            name: told for name, told in figures["regions"].items() if name.startswith(region)
        }
        kept = (
            "cases",
            "persons",
            "conventions",
            "verdict_settings",
            "false_anonymised",
            "verdicts",
        )
        return {"agreement": regions, **{name: figures[name] for name in kept}}
    except (KeyError, AttributeError) as error:
        raise TrainingError(f"the figures are no summary.json of `evaluate`: no {error}") from None
