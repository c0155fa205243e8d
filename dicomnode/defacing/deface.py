"""The main path of defacing: a series or a NIfTI file in, the same without its face out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pydicom.dataset import Dataset

from dicomnode.config import Settings
from dicomnode.config_defacing import DefacingSettings
from dicomnode.defacing.claims import claim_defaced
from dicomnode.defacing.slices import Slices, Stored, read_nifti_slices, read_slices
from dicomnode.defacing.volume import Defaced, deface_slices
from dicomnode.dicom.derived import AS_THEY_CAME, Derivation, Headers, write_derived
from dicomnode.dicom.nifti import write_stored_nifti
from dicomnode.dicom.series import SourceStack, sort_series
from dicomnode.dicom.uids import result_uid
from dicomnode.domain import SetAside
from dicomnode.errors import DefacingError
from dicomnode.inference.assessment import Assessment, Progress, Segmenter, ignore


@dataclass(frozen=True)
class DefacedVolume:
    """One volume: its new files, and the proof. A NIfTI file has no `series_instance_uid`."""

    label: str
    paths: tuple[Path, ...]
    series_instance_uid: str
    found: Defaced


@dataclass(frozen=True)
class DefacedSeries:
    """`set_aside` are images that were not defaced: they must not leave with the rest."""

    volumes: tuple[DefacedVolume, ...]
    set_aside: tuple[SetAside, ...]


def deface_series(
    paths: Sequence[Path],
    networks: Sequence[Segmenter],
    settings: Settings,
    out: Path,
    headers: Headers = AS_THEY_CAME,
    progress: Progress = ignore,
) -> DefacedSeries:
    """Deface every volume of one series into `out`, one folder for each.

    Raises `DefacingError` where a face can't be removed safely; what was written so far is to be
    thrown away then.
    """
    progress("reading the series")
    series = sort_series(paths, settings.series)
    several = len(series.stacks) > 1
    volumes = []
    for number, stack in enumerate(series.stacks, start=1):
        folder = out / f"volume-{number}" if several else out
        volumes.append(deface_stack(stack, networks, settings, folder, headers, progress))
    return DefacedSeries(tuple(volumes), series.set_aside)


def deface_nifti(
    path: Path,
    networks: Sequence[Segmenter],
    settings: Settings,
    out: Path,
    *,
    modality: str = "",
    without_words: bool = False,
    progress: Progress = ignore,
) -> DefacedVolume:
    """Deface one NIfTI file into the file `out`, which differs in the voxels of the face alone.

    `without_words`: free text and extensions of its header go too. Raises `SeriesRefusedError`
    where it is no volume, and `DefacingError`.
    """
    progress("reading the file")
    source = read_nifti_slices(path, modality)

    def write(planes: Sequence[Stored], _: Assessment) -> Slices:
        out.parent.mkdir(parents=True, exist_ok=True)
        write_stored_nifti(planes, path, out, without_words=without_words)
        return read_nifti_slices(out, source.volume.modality)

    found = deface_slices(source, _seed(path.name), write, networks, settings, progress)
    return DefacedVolume("", (out,), "", found)


def deface_stack(
    stack: SourceStack,
    networks: Sequence[Segmenter],
    settings: Settings,
    out: Path,
    headers: Headers,
    progress: Progress,
) -> DefacedVolume:
    """One volume of a series, as `deface_series`."""
    source = read_slices(stack)
    if source.claims.burned_in_annotation == "YES":
        raise DefacingError(
            "(0028,0301) says that text is burned into these pixels: defacing does not remove it"
        )
    written: list[Path] = []

    def change(ds: Dataset) -> None:
        headers.change(ds)
        claim_defaced(ds)

    def write(planes: Sequence[Stored], before: Assessment) -> Slices:
        derivation = derivation_of(stack, settings.defacing, before, headers.identity)
        written.extend(write_derived(stack.images, planes, derivation, change, out))
        return _read_again(written, stack, settings)

    seed = _seed(stack.series_instance_uid, stack.label)
    found = deface_slices(source, seed, write, networks, settings, progress)
    derivation = derivation_of(stack, settings.defacing, found.before, headers.identity)
    return DefacedVolume(stack.label, tuple(written), derivation.series_instance_uid, found)


def _read_again(written: Sequence[Path], stack: SourceStack, settings: Settings) -> Slices:
    """As a stranger would."""
    read = sort_series(list(written), settings.series)
    if len(read.stacks) != 1 or len(read.stacks[0].images) != len(stack.images):
        raise DefacingError("the defaced files, read again, are not one volume of as many slices")
    return read_slices(read.stacks[0])


def derivation_of(
    stack: SourceStack, settings: DefacingSettings, assessment: Assessment, identity: str = ""
) -> Derivation:
    """The same series, networks, way to deface and `identity`: the same UIDs."""
    networks = sorted(f"{one.kind} {one.sha256}" for one in assessment.evidence.models)
    method = "\n".join((settings.method, *networks, *filter(None, [identity])))
    return Derivation(
        series_instance_uid=result_uid(
            "defaced series", stack.series_instance_uid, stack.label, method
        ),
        method=method,
        description=f"Face removed by dicomnode ({settings.method})",
        series_description_suffix=settings.series_description_suffix,
    )


def _seed(*names: str) -> int:
    return int(result_uid("fill", *names).rsplit(".", 1)[1])
