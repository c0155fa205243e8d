"""The main path: one series in, masks, SEGs, evidence and a verdict for each volume out."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt

from dicomnode import __version__
from dicomnode.config import Settings
from dicomnode.dicom.header import read_claims
from dicomnode.dicom.nifti import modality_of, read_nifti, write_mask_nifti
from dicomnode.dicom.refusals import merged
from dicomnode.dicom.resample import CanonicalVolume, mask_to_source, to_canonical
from dicomnode.dicom.segmentation import verify_segmentation, write_segmentation
from dicomnode.dicom.series import SourceStack, sort_series
from dicomnode.dicom.uids import result_uid
from dicomnode.dicom.volume import Volume, read_volume
from dicomnode.domain import (
    Evidence,
    Examination,
    ExaminedVolume,
    HeaderClaims,
    ModelIdentity,
    Revision,
    SegmentationFile,
    SegmentKind,
    SetAside,
    Verdict,
    subject_of,
)
from dicomnode.errors import SeriesRefusedError
from dicomnode.inference.evidence import measure
from dicomnode.inference.examiner import examiner_digest
from dicomnode.inference.face_detector import installed_detector
from dicomnode.inference.picture import write_picture
from dicomnode.inference.rendering import render
from dicomnode.inference.selection import Candidate, choose
from dicomnode.inference.verdict import judge

Mask = npt.NDArray[np.uint8]
Masks = Mapping[SegmentKind, Mask]
Progress = Callable[[str], None]


def ignore(_: str) -> None:
    """Nobody watches."""


class Segmenter(Candidate, Protocol):
    """A network that is loaded and ready; see `dicomnode.inference.nnunet.Network`."""

    def segment(
        self, array: npt.NDArray[np.float32], spacing_mm: tuple[float, float, float]
    ) -> Mask: ...


@dataclass(frozen=True)
class Assessment:
    """What the networks found in one volume; `masks` lie on the grid that they saw."""

    canonical: CanonicalVolume
    masks: Masks
    evidence: Evidence
    verdict: Verdict


@dataclass(frozen=True)
class _Out:
    """The files of one volume; `suffix` tells them from those of the others in its series."""

    folder: Path
    suffix: str

    @property
    def segmentation(self) -> Path:
        return self.folder / f"segmentation{self.suffix}.dcm"

    @property
    def picture(self) -> Path:
        return self.folder / f"picture{self.suffix}.png"


def examine(
    revision: Revision,
    networks: Sequence[Segmenter],
    settings: Settings,
    out_folder: Path,
    progress: Progress = ignore,
) -> Examination:
    """Examine every volume in one revision of a DICOM series.

    Of `networks` those look at a volume that `inference.use` chooses for it. Writes a SEG and a
    picture for each volume into `out_folder`. What can't become a volume is set aside with its
    refusal, which is no error. Raises `SegmentationError` when a SEG, decoded again, does not hold
    the masks.
    """
    progress("reading the series")
    series = sort_series(revision.paths, settings.series)
    volumes, set_aside = [], list(series.set_aside)
    several = len(series.stacks) > 1
    for number, stack in enumerate(series.stacks, start=1):
        out = _Out(out_folder, f"-{number}" if several else "")
        try:
            volume = _examine_stack(revision, stack, networks, settings, out, progress)
        except SeriesRefusedError as refused:
            set_aside.append(SetAside(refused.refusal, len(stack.images)))
        else:
            volumes.append(volume)
    return _examination(revision.digest, settings, volumes, merged(set_aside))


def _examination(
    revision_digest: str,
    settings: Settings,
    volumes: Sequence[ExaminedVolume] = (),
    set_aside: tuple[SetAside, ...] = (),
) -> Examination:
    digest = examiner_digest([volume.evidence.models for volume in volumes], settings)
    return Examination(revision_digest, tuple(volumes), set_aside, __version__, digest)


def _examine_stack(
    revision: Revision,
    stack: SourceStack,
    networks: Sequence[Segmenter],
    settings: Settings,
    out: _Out,
    progress: Progress,
) -> ExaminedVolume:
    """Raises `SeriesRefusedError` where its pixels can't be read."""
    progress(f"volume {stack.label}".rstrip())
    volume = read_volume(stack)
    assessed = assess(volume, read_claims(stack.datasets), networks, settings, progress)
    progress("writing SEG")
    segmentation = _write_seg(assessed, stack, revision, settings, out.segmentation)
    _write_picture(assessed, out.picture)
    return ExaminedVolume(
        stack.label, len(stack.images), assessed.evidence, assessed.verdict, segmentation
    )


def examine_nifti(
    path: Path,
    networks: Sequence[Segmenter],
    settings: Settings,
    out_folder: Path,
    progress: Progress = ignore,
    modality: str = "",
) -> Examination:
    """Examine one NIfTI volume: masks on its own grid, `<kind>.nii.gz`, and the same verdict.

    The file does not say its `modality`; where it is unknown only networks for CT and MR look.
    """
    progress("reading the file")
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    try:
        volume = replace(read_nifti(path), modality=modality)
    except SeriesRefusedError as refused:
        return _examination(digest, settings, set_aside=(SetAside(refused.refusal, 1),))
    assessed = assess(volume, HeaderClaims(), networks, settings, progress)
    out_folder.mkdir(parents=True, exist_ok=True)
    for kind, mask in assessed.masks.items():
        on_source = mask_to_source(mask, assessed.canonical, volume.geometry)
        write_mask_nifti(on_source, path, out_folder / f"{kind.value}.nii.gz")
    _write_picture(assessed, out_folder / "picture.png")
    found = ExaminedVolume("", volume.geometry.shape[0], assessed.evidence, assessed.verdict)
    return _examination(digest, settings, [found])


def assess(
    volume: Volume,
    claims: HeaderClaims,
    networks: Sequence[Segmenter],
    settings: Settings,
    progress: Progress = ignore,
) -> Assessment:
    """The mask of every network that is for this volume, what they amount to, and the verdict."""
    canonical = to_canonical(volume)
    subject = subject_of(volume.modality, claims, canonical.spacing_mm)
    chosen = choose(networks, settings.inference.use, subject)
    masks: dict[SegmentKind, Mask] = {}
    for network in chosen.networks:
        progress(f"network {network.identity.kind.value}")
        masks[network.identity.kind] = network.segment(canonical.array, canonical.spacing_mm)
    evidence = measure(
        masks,
        canonical.spacing_mm,
        models=tuple(network.identity for network in chosen.networks),
        claims=claims,
        matrix=canonical.array.shape,
        modality=volume.modality,
        unanswered=chosen.unanswered,
        in_gap=canonical.in_gap,
        widest_gap_mm=volume.geometry.widest_gap_mm,
        warnings=volume.warnings,
        face_probability=_face_probability(canonical, volume.modality, settings, progress),
    )
    return Assessment(canonical, masks, evidence, judge(evidence, settings.verdict))


def _face_probability(
    canonical: CanonicalVolume, modality: str, settings: Settings, progress: Progress
) -> float | None:
    """Asked of the pictures alone: no network has a part in it."""
    detector = installed_detector(settings.evidence.face_detector)
    if detector is None:
        return None
    progress("face detector")
    array, known = canonical.array, modality or modality_of(canonical.array)
    return detector.probability(render(array, canonical.spacing_mm, known))


def _write_seg(
    assessment: Assessment, stack: SourceStack, revision: Revision, settings: Settings, out: Path
) -> SegmentationFile | None:
    """One verified SEG, a segment per network that found something; none where none did."""
    models = assessment.evidence.models
    masks = {
        model: mask_to_source(assessment.masks[model.kind], assessment.canonical, stack.geometry)
        for model in models
        if assessment.masks[model.kind].any()
    }
    found = {model: mask for model, mask in masks.items() if mask.any()}
    if not found:
        return None
    file = write_segmentation(
        found,
        stack,
        series_instance_uid=seg_series_uid(revision.series_instance_uid, stack.label),
        sop_instance_uid=_sop_instance_uid(revision, stack.label, models, settings),
        settings=settings.segmentation,
        out=out,
    )
    verify_segmentation(file, found, stack)
    return file


def seg_series_uid(series_instance_uid: str, label: str = "") -> str:
    """The SEG series of one volume of an examined series, the same for every revision of it.

    A series for each volume, because OHIF shows only the newest instance of a SEG series.
    """
    return result_uid("SEG series", series_instance_uid, *([label] if label else []))


def _sop_instance_uid(
    revision: Revision, label: str, models: Sequence[ModelIdentity], settings: Settings
) -> str:
    """The same series, pixels, networks and way to run them: the same UID, so a re-run is harmless.

    A network that found nothing counts too: its absence from the SEG is its answer.
    """
    networks = sorted(f"{model.kind} {model.sha256}" for model in models)
    volume = [f"volume {label}"] if label else []
    run = settings.inference.manner
    series = revision.series_instance_uid
    return result_uid("SEG", series, revision.digest, *volume, *networks, run)


def _write_picture(assessment: Assessment, path: Path) -> None:
    canonical = assessment.canonical
    write_picture(path, canonical.array, canonical.spacing_mm, assessment.masks, assessment.verdict)
