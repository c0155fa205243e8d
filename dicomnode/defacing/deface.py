"""The main path of defacing: a series in, the same series without its face out, and the proof."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset

from dicomnode.config import Settings
from dicomnode.config_defacing import DefacingSettings
from dicomnode.defacing.claims import claim_defaced
from dicomnode.defacing.fill import Line, fill_background, fill_blurred
from dicomnode.defacing.plan import Removal, plan_removal
from dicomnode.defacing.proof import Proof, changes, dice_inside, objections
from dicomnode.dicom.derived import Derivation, write_derived
from dicomnode.dicom.header import read_acquisition, read_claims
from dicomnode.dicom.pixels import PixelReader, pixel_format
from dicomnode.dicom.resample import mask_to_source
from dicomnode.dicom.series import SourceStack, sort_series
from dicomnode.dicom.uids import result_uid
from dicomnode.dicom.volume import Volume, padding_of, read_volume, rescale_of
from dicomnode.domain import SegmentKind, SetAside
from dicomnode.errors import DefacingError
from dicomnode.inference.assessment import Assessment, Progress, Segmenter, assess, ignore

Stored = npt.NDArray[np.integer[Any]]


@dataclass(frozen=True)
class DefacedVolume:
    """One volume: its new files, the region on the source slices, and the proof."""

    label: str
    paths: tuple[Path, ...]
    series_instance_uid: str
    removal: Removal
    before: Assessment
    after: Assessment
    proof: Proof


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
    finish: Callable[[Dataset], None] = lambda ds: None,
    progress: Progress = ignore,
) -> DefacedSeries:
    """Deface every volume of one series into `out`, one folder for each.

    `finish` has the last word on each header (de-identification). Raises `DefacingError` where a
    face can't be removed safely; what was written so far is to be thrown away then.
    """
    progress("reading the series")
    series = sort_series(paths, settings.series)
    several = len(series.stacks) > 1
    volumes = []
    for number, stack in enumerate(series.stacks, start=1):
        folder = out / f"volume-{number}" if several else out
        volumes.append(_deface_stack(stack, networks, settings, folder, finish, progress))
    return DefacedSeries(tuple(volumes), series.set_aside)


def _deface_stack(
    stack: SourceStack,
    networks: Sequence[Segmenter],
    settings: Settings,
    out: Path,
    finish: Callable[[Dataset], None],
    progress: Progress,
) -> DefacedVolume:
    if read_claims(stack.datasets).burned_in_annotation == "YES":
        raise DefacingError(
            "(0028,0301) says that text is burned into these pixels: defacing does not remove it"
        )
    volume = read_volume(stack)
    before = _assessed(stack, volume, networks, settings, progress)
    removal = plan_removal(before, stack.geometry, stack.modality, settings.defacing)
    original = _stored(stack)
    replaced = [plane.copy() for plane in original]
    progress("replacing the face")
    _fill(replaced, volume, stack, removal, settings.defacing)
    derivation = derivation_of(stack, settings.defacing, before)

    def describe(ds: Dataset) -> None:
        claim_defaced(ds)
        finish(ds)

    written = write_derived(stack.images, replaced, derivation, describe, out)
    progress("proving that it is gone")
    return _proven(stack, written, original, removal, before, networks, settings, derivation)


def _assessed(
    stack: SourceStack,
    volume: Volume,
    networks: Sequence[Segmenter],
    settings: Settings,
    progress: Progress,
) -> Assessment:
    claims = read_claims(stack.datasets)
    acquisition = read_acquisition(stack.datasets, stack.geometry.slice_spacing_mm)
    return assess(volume, claims, networks, settings, progress, acquisition=acquisition)


def derivation_of(
    stack: SourceStack, settings: DefacingSettings, assessment: Assessment
) -> Derivation:
    """The same series, networks and way to deface: the same UIDs."""
    networks = sorted(f"{one.kind} {one.sha256}" for one in assessment.evidence.models)
    method = "\n".join((settings.method, *networks))
    return Derivation(
        series_instance_uid=result_uid(
            "defaced series", stack.series_instance_uid, stack.label, method
        ),
        method=method,
        description=f"Face removed by dicomnode ({settings.method})",
        series_description_suffix=settings.series_description_suffix,
    )


def _stored(stack: SourceStack) -> list[Stored]:
    with PixelReader() as reader:
        return list(reader.each(stack.images))


def _fill(
    planes: list[Stored],
    volume: Volume,
    stack: SourceStack,
    removal: Removal,
    settings: DefacingSettings,
) -> None:
    lines = [Line(*rescale_of(ds)) for ds in stack.datasets]
    layouts = [pixel_format(ds) for ds in stack.datasets]
    if settings.fill == "blur":
        spacing_mm = (stack.geometry.slice_spacing_mm, *stack.geometry.pixel_spacing_mm)
        fill_blurred(planes, removal.removed, volume.array, spacing_mm, lines, layouts)
        return
    padding = np.stack(
        [
            padding_of(plane, ds, stack.modality)
            for plane, ds in zip(planes, stack.datasets, strict=True)
        ]
    )
    fill_background(
        planes,
        removal.removed,
        removal.air & ~padding,
        lines,
        layouts,
        modality=stack.modality,
        seed=_seed(stack),
        constant=settings.fill == "constant",
    )


def _seed(stack: SourceStack) -> int:
    return int(result_uid("fill", stack.series_instance_uid, stack.label).rsplit(".", 1)[1])


def _proven(
    stack: SourceStack,
    written: Sequence[Path],
    original: Sequence[Stored],
    removal: Removal,
    before: Assessment,
    networks: Sequence[Segmenter],
    settings: Settings,
    derivation: Derivation,
) -> DefacedVolume:
    """Read the files again, as a stranger would, and ask everybody."""
    read = sort_series(list(written), settings.series)
    if len(read.stacks) != 1 or len(read.stacks[0].images) != len(stack.images):
        raise DefacingError("the defaced files, read again, are not one volume of as many slices")
    (again,) = read.stacks
    found = changes(original, _stored(again), removal.removed, removal.brain)
    after = _assessed(again, read_volume(again), networks, settings, ignore)
    seen = after.masks.get(SegmentKind.ANONYMISED_AREA)
    on_slices = (
        np.zeros_like(removal.removed)
        if seen is None
        else mask_to_source(seen, after.canonical, again.geometry).astype(bool)
    )
    head = mask_to_source(
        before.masks[SegmentKind.FOREGROUND], before.canonical, stack.geometry
    ).astype(bool)
    dice = dice_inside(removal.removed, on_slices, head)
    threshold = settings.verdict.face_found_probability
    proof = Proof(
        verdict=after.verdict,
        evidence=after.evidence,
        dice=round(dice, 4),
        removed_ml=round(float(np.count_nonzero(removal.removed)) * _voxel_ml(stack), 1),
        brain_voxels=int(np.count_nonzero(removal.brain)),
        brain_voxels_changed=found.brain,
        other_voxels_changed=found.other,
        kept_sha256=found.kept_sha256,
        face_probability_before=before.evidence.face_probability,
        objections=objections(after.verdict, dice, found, threshold, after.evidence),
    )
    return DefacedVolume(
        stack.label,
        tuple(written),
        derivation.series_instance_uid,
        removal,
        before,
        after,
        proof,
    )


def _voxel_ml(stack: SourceStack) -> float:
    row_mm, column_mm = stack.geometry.pixel_spacing_mm
    return stack.geometry.slice_spacing_mm * row_mm * column_mm / 1000.0
