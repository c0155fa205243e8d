"""The work that the job engine calls: examine with warm networks, deliver with C-STORE."""

from __future__ import annotations

from pathlib import Path

from dicomnode.config import Settings
from dicomnode.delivery.store import send
from dicomnode.domain import Examination, Revision
from dicomnode.inference.examine import examine
from dicomnode.inference.examiner import installed_examiner
from dicomnode.inference.nnunet import load_networks
from dicomnode.jobs.workflows import Stages
from dicomnode.tracking.spool import short_name


def make_stages(settings: Settings) -> Stages:
    """Load every network in use once; raises `ModelError` before any work begins."""
    examiner = installed_examiner(settings)
    networks = load_networks(examiner.models, settings.inference)
    digest = examiner.digest

    def examine_revision(revision: Revision) -> Examination:
        folder = result_folder(settings.results_folder, revision, digest)
        return examine(revision, networks, settings, folder)

    return Stages(examine=examine_revision, deliver=send)


def result_folder(results: Path, revision: Revision, digest: str) -> Path:
    """One folder per series, revision and examiner, named by hashes.

    A SEG that waits for its PACS is never overwritten by that of another examiner.
    """
    return results / short_name(revision.series_instance_uid) / (revision.digest[:16] + digest[:16])
