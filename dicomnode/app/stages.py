"""The work that the job engine calls: examine and deface in a child with warm networks, send."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from dicomnode.app import logs
from dicomnode.app.examining import ExaminingProcess
from dicomnode.app.examining_process import Pulse, Tasks
from dicomnode.app.measured import StageClock, measured
from dicomnode.config import Settings
from dicomnode.defacing.copy import copy_series
from dicomnode.delivery.store import send
from dicomnode.dicom.geometry import SliceGeometry
from dicomnode.domain import CopyOrder, Examination, Revision, SeriesCopy
from dicomnode.inference import memory
from dicomnode.inference.examine import examine
from dicomnode.inference.examiner import installed_examiner
from dicomnode.inference.nnunet import load_networks
from dicomnode.jobs.workflows import Stages
from dicomnode.log_context import about
from dicomnode.meters import Meters
from dicomnode.tracking.spool import short_name


@contextmanager
def running_stages(settings: Settings, meters: Meters) -> Iterator[Stages]:
    """Networks loaded in a child until the end; raises as its `start` before any work begins."""
    prepare = partial(logs.configure, settings.node.log_level, settings.node.log_format)
    clock = StageClock(meters)
    child = ExaminingProcess(partial(load_tasks, settings), settings.jobs, prepare, clock)

    def examine_revision(revision: Revision) -> Examination:
        try:
            return child.examine(revision)
        finally:
            clock.end()

    def copy_of(order: CopyOrder) -> SeriesCopy:
        try:
            return child.copy(order)
        finally:
            clock.end()

    try:
        child.start()
        clock.end()
        deliver = measured(send, meters)
        yield Stages(examine=examine_revision, deliver=deliver, copy=copy_of)
    finally:
        child.close()


def load_tasks(settings: Settings, pulse: Pulse) -> Tasks:
    """In the child: every network in use, loaded once; raises `ModelError`."""
    examiner = installed_examiner(settings)
    networks = load_networks(examiner.models, settings.inference, pulse.beat)
    sizes = [network.size for network in networks]
    digest = examiner.digest

    def admit(geometry: SliceGeometry, *, defacing: bool = False) -> None:
        pulse.voxels = math.prod(geometry.shape)
        needed = memory.needed_bytes(geometry, sizes, defacing=defacing)
        memory.require(needed, memory.of_this_machine(), settings.inference.memory_bytes)

    def examine_revision(revision: Revision) -> Examination:
        folder = result_folder(settings.results_folder, revision, digest)
        with about(series=revision.series_instance_uid, study=revision.study_instance_uid):
            return examine(revision, networks, settings, folder, pulse.step, admit)

    def copy_of(order: CopyOrder) -> SeriesCopy:
        revision = order.revision
        with about(series=revision.series_instance_uid, study=revision.study_instance_uid):
            return copy_series(order, networks, settings, pulse.step, partial(admit, defacing=True))

    return Tasks(examine_revision, copy_of)


def result_folder(results: Path, revision: Revision, digest: str) -> Path:
    """One folder per series, revision and examiner, named by hashes.

    A SEG that waits for its PACS is never overwritten by that of another examiner.
    """
    return results / short_name(revision.series_instance_uid) / (revision.digest[:16] + digest[:16])
