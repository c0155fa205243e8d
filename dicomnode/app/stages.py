"""The work that the job engine calls: examine with warm networks, deliver with C-STORE."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

from dicomnode.app.batch import short_name
from dicomnode.config import Settings
from dicomnode.delivery.store import send
from dicomnode.domain import Examination, Revision
from dicomnode.inference.examine import examine
from dicomnode.inference.models import Model, load_manifest, models_folder
from dicomnode.inference.nnunet import load_networks
from dicomnode.jobs.workflows import Stages


def make_stages(settings: Settings) -> Stages:
    """Load every network once; raises `ModelError` before any work begins."""
    models = load_manifest(models_folder(settings.inference.models_folder))
    networks = load_networks(models, settings.inference)

    def examine_revision(revision: Revision) -> Examination:
        folder = result_folder(settings.results_folder, revision)
        return examine(revision, networks, settings, folder)

    return Stages(examine=examine_revision, deliver=send, models_digest=models_digest(models))


def result_folder(results: Path, revision: Revision) -> Path:
    """One folder per series and revision, named by hashes."""
    return results / short_name(revision.series_instance_uid) / revision.digest[:16]


def models_digest(models: Iterable[Model]) -> str:
    """One digest for the set of networks: a new network makes new examinations."""
    joined = "\n".join(sorted(f"{m.identity.kind.value} {m.identity.sha256}" for m in models))
    return hashlib.sha256(joined.encode("ascii")).hexdigest()
