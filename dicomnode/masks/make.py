"""One image in, its anatomy and anonymization mask out, on its own grid."""

from __future__ import annotations

import hashlib
import logging
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt

from dicomnode.config import InferenceSettings, SeriesSettings
from dicomnode.dicom.itk import read_itk, write_mask_itk
from dicomnode.dicom.nifti import read_nifti, write_mask_nifti, write_on_grid
from dicomnode.dicom.resample import CanonicalVolume, mask_to_source, to_canonical
from dicomnode.dicom.series import sort_series
from dicomnode.dicom.volume import Volume, read_volume
from dicomnode.domain import ModelIdentity, SegmentKind
from dicomnode.errors import DicomnodeError, SeriesRefusedError
from dicomnode.inference.examine import Segmenter
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
MASK_VERSION = 1
# What nnssl preprocesses; anything else stops its whole run.
NNSSL_SUFFIXES = (".nii.gz", ".nii", ".nrrd")


@dataclass(frozen=True)
class Job:
    """What is the same for every image of a run."""

    out: Path
    examiner: str
    series: SeriesSettings = field(default_factory=SeriesSettings)


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
    """One volume as the networks see it; `save` writes a mask of it on the grid of its image.

    `is_converted`: nnssl can't read its file, so it needs an image in the output folder.
    """

    key: str
    name: str
    is_converted: bool
    modality: str
    warnings: tuple[str, ...]
    canonical: CanonicalVolume
    save: Callable[[Mask, Path], None]


def examiner_of(models: Sequence[ModelIdentity], settings: InferenceSettings) -> str:
    """A digest of what decides a mask: networks, and how they run."""
    parts = sorted(f"{model.kind.value} {model.sha256}" for model in models)
    parts.append(settings.manner)
    parts.append(f"masks {MASK_VERSION}")
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def make(item: Item, networks: Sequence[Segmenter], job: Job, device: str = "") -> Outcome:
    """Write the masks of every volume of `item`, and their record; whatever goes wrong is told."""
    began = time.monotonic()
    ended = partial(_ended, item, device, began)
    try:
        fingerprint = item.fingerprint
        aside: list[str] = []
        volumes = tuple(_made(source, networks, job) for source in _sources(item, job, aside))
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
    modality = _modality(path, volume)
    if not path.name.endswith(NNSSL_SUFFIXES):
        name = f"{stem_of(path)}.nii.gz"
        yield _converted(item.key, name, modality, volume)
        return
    canonical = to_canonical(volume)

    def save(mask: Mask, out: Path) -> None:
        write(mask_to_source(mask, canonical, volume.geometry), path, out)

    yield _Source(item.key, item.name, False, modality, volume.warnings, canonical, save)


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
            yield _converted(f"{item.key}{label}", name, stack.modality, volume)
        except SeriesRefusedError as refused:
            aside.append(str(refused.refusal))


def _converted(key: str, name: str, modality: str, volume: Volume) -> _Source:
    """What nnssl can't read becomes NIfTI, on the grid that the networks see."""
    canonical = to_canonical(volume)

    def save(mask: Mask, out: Path) -> None:
        write_on_grid(mask, canonical, out)

    return _Source(key, name, True, modality, volume.warnings, canonical, save)


def _made(source: _Source, networks: Sequence[Segmenter], job: Job) -> Made:
    canonical = source.canonical
    masks = {n.identity.kind: n.segment(canonical.array, canonical.spacing_mm) for n in networks}
    image = f"{source.key}{IMAGE_SUFFIX}" if source.is_converted else ""
    if image:
        atomically(job.out / image, partial(write_on_grid, canonical.array, canonical))
    paths = {kind: f"{source.key}{suffix}" for kind, suffix in MASKS.items()}
    for kind, path in paths.items():
        atomically(job.out / path, partial(source.save, masks[kind]))
    volumes_ml = {
        kind: round(float(np.count_nonzero(masks[kind])) * canonical.voxel_ml, 2) for kind in MASKS
    }
    return Made(
        name=source.name,
        image=image,
        anatomy_mask=paths[SegmentKind.FOREGROUND],
        anonymization_mask=paths[SegmentKind.ANONYMISED_AREA],
        modality=source.modality,
        anatomy_ml=volumes_ml[SegmentKind.FOREGROUND],
        anonymised_ml=volumes_ml[SegmentKind.ANONYMISED_AREA],
        warnings=source.warnings,
    )


def _modality(path: Path, volume: Volume) -> str:
    """The suffix of a BIDS name (T1w), else what the values look like: Hounsfield units or not."""
    stem = stem_of(path)
    if stem.startswith("sub-") and "_" in stem:
        return stem.split("_")[-1]
    return "CT" if float(volume.array.min()) < -500 else "MR"
