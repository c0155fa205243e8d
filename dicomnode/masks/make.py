"""One image in, its anatomy and anonymization mask out, on its own grid."""

from __future__ import annotations

import logging
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt

from dicomnode.config import SeriesSettings, UseSettings
from dicomnode.dicom.header import read_claims
from dicomnode.dicom.itk import read_itk, write_mask_itk
from dicomnode.dicom.nifti import modality_of, read_nifti, write_mask_nifti, write_on_grid
from dicomnode.dicom.resample import CanonicalVolume, mask_to_source, to_canonical
from dicomnode.dicom.series import sort_series
from dicomnode.dicom.volume import Volume, read_volume
from dicomnode.domain import HeaderClaims, SegmentKind, Subject, subject_of
from dicomnode.errors import DicomnodeError, SeriesRefusedError
from dicomnode.inference.assessment import Segmenter
from dicomnode.inference.selection import choose
from dicomnode.masks.files import (
    ANATOMY_SUFFIX,
    ANONYMIZATION_SUFFIX,
    IMAGE_SUFFIX,
    Made,
    Record,
    atomically,
    record_path,
    write_record,
)
from dicomnode.masks.find import Item, fit, stem_of

log = logging.getLogger("dicomnode.masks")

Mask = npt.NDArray[np.uint8]
MASKS = {
    SegmentKind.FOREGROUND: ANATOMY_SUFFIX,
    SegmentKind.ANONYMISED_AREA: ANONYMIZATION_SUFFIX,
}
NO_ANATOMY = "no anatomy was found, so nnssl's file leaves it out"
# What nnssl preprocesses; anything else stops its whole run.
NNSSL_SUFFIXES = (".nii.gz", ".nii", ".nrrd")


@dataclass(frozen=True)
class Job:
    """What is the same for every image of a run.

    `use`: the rules that choose the networks. `modality`: what files are of that don't say it, all
    but DICOM; empty where unknown.
    """

    out: Path
    examiner: str
    series: SeriesSettings = field(default_factory=SeriesSettings)
    use: tuple[UseSettings, ...] = ()
    modality: str = ""


@dataclass(frozen=True)
class Outcome:
    """How one item ended. `reasons`: why nothing, or not everything, could be made of it."""

    key: str
    status: str  # made, kept, skipped, failed
    volumes: tuple[Made, ...] = ()
    reasons: tuple[str, ...] = ()
    seconds: float = 0.0
    device: str = ""


@dataclass(frozen=True)
class _Source:
    """One volume as the networks see it; `label` tells those of a DICOM series apart.

    `save` writes a mask of it on the grid of its file. None: nnssl can't read that, so image and
    masks are written on the grid that the networks see.
    """

    label: str
    name: str
    modality: str
    subject: Subject
    warnings: tuple[str, ...]
    canonical: CanonicalVolume
    save: Callable[[Mask, Path], None] | None = None


def make(item: Item, networks: Sequence[Segmenter], job: Job, device: str = "") -> Outcome:
    """Write the masks of every volume of `item`, and their record; whatever goes wrong is told."""
    began = time.monotonic()
    ended = partial(_ended, item, device, began)
    try:
        fingerprint = item.fingerprint
        aside: list[str] = []
        volumes = tuple(_all_made(item, networks, job, aside))
        if volumes:
            record = Record(job.examiner, fingerprint, volumes, tuple(aside))
            write_record(record_path(job.out, item.key), record)
    except SeriesRefusedError as refused:
        return ended("skipped", reasons=(str(refused.refusal),))
    except Exception as error:  # noqa: BLE001 - the edge for one image: recorded, and on
        return ended("failed", reasons=(_sentence(error),))
    status = "made" if volumes else "skipped"
    return ended(status, volumes=volumes, reasons=tuple(aside))


def _ended(
    item: Item,
    device: str,
    began: float,
    status: str,
    volumes: tuple[Made, ...] = (),
    reasons: tuple[str, ...] = (),
) -> Outcome:
    seconds = round(time.monotonic() - began, 2)
    return Outcome(item.key, status, volumes, reasons, seconds, device)


def _sentence(error: Exception) -> str:
    """Messages of other libraries may quote a header; where it was raised goes to the log."""
    name = type(error).__name__
    log.debug("failed", extra={"error": name, "where": traceback.format_tb(error.__traceback__)})
    if isinstance(error, DicomnodeError):
        return str(error)
    if isinstance(error, FileNotFoundError):
        return "the file is not there; if it is a link, its data were not fetched"
    if isinstance(error, OSError) and error.strerror:
        return f"{name}: {error.strerror}"
    return f"{name}; see the log at DEBUG (DICOMNODE_NODE__LOG_LEVEL=DEBUG)"


def _sources(item: Item, job: Job, aside: list[str]) -> Iterator[_Source]:
    """The volumes of an item, one at a time; what none is made of goes to `aside`.

    Raises `SeriesRefusedError` where a file holds no volume.
    """
    if item.kind == "dicom":
        yield from _of_series(item, job, aside)
        return
    (path,) = item.paths
    read, write = _FORMATS[item.kind]
    volume = read(path)
    canonical = to_canonical(volume)

    def save(mask: Mask, out: Path) -> None:
        write(mask_to_source(mask, canonical, volume.geometry), path, out)

    is_read = path.name.endswith(NNSSL_SUFFIXES)
    yield _Source(
        label="",
        name=item.name if is_read else f"{stem_of(path)}.nii.gz",
        modality=_modality(path, volume, job),
        subject=subject_of(job.modality, HeaderClaims(), canonical.spacing_mm),
        warnings=volume.warnings,
        canonical=canonical,
        save=save if is_read else None,
    )


_FORMATS = {"nifti": (read_nifti, write_mask_nifti), "itk": (read_itk, write_mask_itk)}


def _of_series(item: Item, job: Job, aside: list[str]) -> Iterator[_Source]:
    """Each volume of a DICOM series becomes an image of its own."""
    found = sort_series(item.paths, job.series)
    aside += [str(one.refusal) for one in found.set_aside]
    for stack in found.stacks:
        label = f"_{fit(stack.label)}" if stack.label else ""
        name = f"{stem_of(Path(item.name))}{label}.nii.gz"
        try:
            volume = read_volume(stack)
            canonical = to_canonical(volume)
        except SeriesRefusedError as refused:
            aside.append(str(refused.refusal))
            continue
        subject = subject_of(stack.modality, read_claims(stack.datasets), canonical.spacing_mm)
        yield _Source(label, name, stack.modality, subject, volume.warnings, canonical)


def _all_made(
    item: Item, networks: Sequence[Segmenter], job: Job, aside: list[str]
) -> Iterator[Made]:
    """Of every volume that shows something and has a network for each mask; why the others have
    none goes to `aside`."""
    for source in _sources(item, job, aside):
        chosen = choose(networks, job.use, source.subject)
        if why := _why_none(source, chosen.unanswered):
            aside.append(why)
        else:
            yield _made(item, source, chosen.networks, job)


def _why_none(source: _Source, unanswered: Mapping[SegmentKind, str]) -> str:
    """nnssl wants both masks, so one network too few is none. Empty where there are both."""
    array = source.canonical.array
    if array.min() == array.max():
        told = f": {'; '.join(source.warnings)}" if source.warnings else ""
        return f"every voxel has the same value{told}"
    reasons = [unanswered[kind] for kind in MASKS if kind in unanswered]
    if reasons and not source.subject.modality:
        reasons.append("--nifti-modality CT or MR says what files are of that are no DICOM")
    return "; ".join(reasons)


def _made(item: Item, source: _Source, networks: Sequence[Segmenter], job: Job) -> Made:
    canonical = source.canonical
    masks = {n.identity.kind: n.segment(canonical.array, canonical.spacing_mm) for n in networks}
    falls = [fall for network in networks for fall in network.falls]
    image, paths = _write(item, source, masks, job)
    volumes_ml = {
        kind: round(float(np.count_nonzero(masks[kind])) * canonical.voxel_ml, 2) for kind in MASKS
    }
    no_anatomy = () if volumes_ml[SegmentKind.FOREGROUND] else (NO_ANATOMY,)
    return Made(
        name=source.name,
        image=image,
        anatomy_mask=paths[SegmentKind.FOREGROUND],
        anonymization_mask=paths[SegmentKind.ANONYMISED_AREA],
        modality=source.modality,
        anatomy_ml=volumes_ml[SegmentKind.FOREGROUND],
        anonymised_ml=volumes_ml[SegmentKind.ANONYMISED_AREA],
        networks=tuple(network.identity for network in networks),
        warnings=(*source.warnings, *falls, *no_anatomy),
    )


def _write(
    item: Item, source: _Source, masks: Mapping[SegmentKind, Mask], job: Job
) -> tuple[str, dict[SegmentKind, str]]:
    """The masks, and the image where nnssl can't read it; their paths in the output folder."""
    # Until all is written there is no record, not even that of masks that are replaced now.
    record_path(job.out, item.key).unlink(missing_ok=True)
    key, canonical, save, image = f"{item.key}{source.label}", source.canonical, source.save, ""
    if save is None:
        image = f"{key}{IMAGE_SUFFIX}"
        atomically(job.out / image, partial(write_on_grid, canonical.array, canonical))
    paths = {kind: f"{key}{suffix}" for kind, suffix in MASKS.items()}
    for kind, path in paths.items():
        on_grid = partial(write_on_grid, masks[kind], canonical)
        atomically(job.out / path, partial(save, masks[kind]) if save else on_grid)
    return image, paths


def _modality(path: Path, volume: Volume, job: Job) -> str:
    """For nnssl, which asks for one: the suffix of a BIDS name (T1w), else what was said of all
    files, else what the values look like: Hounsfield units or not."""
    stem = stem_of(path)
    if stem.startswith("sub-") and "_" in stem:
        return stem.split("_")[-1]
    if job.modality:
        return job.modality
    return modality_of(volume.array)
