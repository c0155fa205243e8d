"""What examines here: the networks, how they run, the rules and their thresholds, as one digest."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from dicomnode.config import Settings
from dicomnode.inference.models import Model, load_manifest, models_folder
from dicomnode.inference.verdict import RULE_VERSION


def examiner_digest(models: Iterable[Model], settings: Settings) -> str:
    """One digest for what decides a verdict: networks, how they run, rules, thresholds, policies.

    Another digest voids what was said before: the gate holds until it is examined again.
    """
    parts = sorted(f"{model.identity.kind.value} {model.identity.sha256}" for model in models)
    parts.append(f"tile step {settings.inference.tile_step}")
    parts.append(f"mirroring {settings.inference.mirroring}")
    if settings.inference.precision != "auto":  # keeps the digests of before there was a choice
        parts.append(f"precision {settings.inference.precision}")
    parts.append(f"rules {RULE_VERSION} {settings.verdict.model_dump_json()}")
    parts.append(f"series {settings.series.model_dump_json()}")
    return hashlib.sha256("\n".join(parts).encode("utf-8")).hexdigest()


def installed_examiner(settings: Settings) -> str:
    """The digest of what this configuration examines with; no network is loaded for it."""
    return examiner_digest(load_manifest(models_folder(settings.inference.models_folder)), settings)
