"""A whole data set: what is there, what has masks already, the rest over the devices."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

from dicomnode import __version__
from dicomnode.config import Settings
from dicomnode.domain import as_json
from dicomnode.errors import ModelError
from dicomnode.inference.examiner import installed_examiner
from dicomnode.inference.models import Model, models_folder
from dicomnode.masks import nnssl
from dicomnode.masks.files import Made, kept, require_folder
from dicomnode.masks.find import Found, Item
from dicomnode.masks.make import MASKS, Job, Outcome
from dicomnode.masks.report import Line, write_report
from dicomnode.masks.workers import Device, require_devices, run, spread

MASK_VERSION = 1


@dataclass(frozen=True)
class Setup:
    """What masks are made with; one device for each process."""

    models: tuple[Model, ...]
    devices: tuple[Device, ...]
    job: Job


@dataclass(frozen=True)
class Plan:
    """`done`: what an earlier run finished; `todo`: the rest."""

    items: tuple[Item, ...]
    done: tuple[Outcome, ...]
    todo: tuple[Item, ...]


def set_up(
    settings: Settings, out: Path, devices: Sequence[str], workers: int, modality: str
) -> Setup:
    """Whatever can be known to be wrong before a large data set is searched is told here.

    Raises `ModelError` and `ConfigurationError`. Makes the folder `out`.
    """
    models = mask_models(settings)
    spreading = spread(models, settings.inference, devices, workers)
    require_devices(spreading)
    require_folder(out)
    return Setup(models, tuple(spreading), job_of(out, models, settings, modality))


def mask_models(settings: Settings) -> tuple[Model, ...]:
    """The networks that may make the two masks.

    Raises `ModelError` where one isn't installed, and where the node itself would not start.
    """
    installed = installed_examiner(settings).models
    models = tuple(model for model in installed if model.identity.kind in MASKS)
    missing = set(MASKS) - {model.identity.kind for model in models}
    if missing:
        folder = models_folder(settings.inference.models_folder)
        raise ModelError(f"{folder}: no network for {', '.join(sorted(missing))} is pinned there")
    return models


def job_of(out: Path, models: Sequence[Model], settings: Settings, modality: str = "") -> Job:
    """`modality`: of the files that don't say theirs, where it is known."""
    use = tuple(rule for rule in settings.inference.use if rule.kind in MASKS)
    parts = sorted(f"{model.identity.kind.value} {model.identity.sha256}" for model in models)
    parts += [rule.model_dump_json() for rule in use]
    parts += [settings.inference.manner, settings.series.model_dump_json(), modality]
    parts.append(f"masks {MASK_VERSION}")
    examiner = hashlib.sha256("\n".join(parts).encode()).hexdigest()
    return Job(out, examiner, settings.series, use, modality)


def plan(found: Found, job: Job) -> Plan:
    """Which items still need masks."""
    done, todo = [], []
    for item in found.items:
        earlier = _earlier(item, job)
        if earlier is None:
            todo.append(item)
        else:
            done.append(earlier)
    return Plan(tuple(found.items), tuple(done), tuple(todo))


def _earlier(item: Item, job: Job) -> Outcome | None:
    try:
        record = kept(job.out, item.key, job.examiner, item.fingerprint)
    except OSError:
        return None
    if record is None:
        return None
    return Outcome(item.key, "kept", record.volumes, record.set_aside)


def make_all(
    planned: Plan,
    devices: Sequence[Device],
    job: Job,
    progress: Callable[[Outcome], None] = lambda outcome: None,
) -> list[Outcome]:
    """Outcomes of all items, those of before too. Raises `ModelError`."""
    outcomes = list(planned.done)
    if planned.todo:
        with closing(run(planned.todo, devices[: len(planned.todo)], job)) as made:
            for outcome in made:
                progress(outcome)
                outcomes.append(outcome)
    return outcomes


def write_results(
    name: str,
    folder: Path,
    found: Found,
    outcomes: Sequence[Outcome],
    models: Sequence[Model],
    job: Job,
) -> list[Line]:
    """nnssl's file and the report, in the order in which the inputs were found."""
    by_key = {outcome.key: outcome for outcome in outcomes}
    pairs = [(item, by_key[item.key]) for item in found.items if item.key in by_key]
    images = [
        (item.place, _absolute(made, item, job.out))
        for item, outcome in pairs
        for made in outcome.volumes
        if made.has_anatomy
    ]
    if images:
        nnssl.write_collection(job.out / nnssl.FILE_NAME, nnssl.collection(name, images))
    lines = [Line(item.source, outcome) for item, outcome in pairs]
    lines += [
        Line(_relative(path, folder), Outcome("", "skipped", reasons=(reason,)))
        for path, reason in found.unreadable
    ]
    about = {
        "software_version": __version__,
        "collection_name": name,
        "networks": [as_json(model.identity) for model in models],
        "files_that_are_no_images": found.others,
    }
    write_report(job.out, lines, about)
    return lines


def _absolute(made: Made, item: Item, out: Path) -> Made:
    """As nnssl's file has to name it."""
    return replace(
        made,
        image=str(out / made.image if made.image else item.paths[0]),
        anatomy_mask=str(out / made.anatomy_mask),
        anonymization_mask=str(out / made.anonymization_mask),
    )


def _relative(path: Path, folder: Path) -> str:
    return path.relative_to(folder).as_posix() if path.is_relative_to(folder) else str(path)
