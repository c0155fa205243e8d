"""The main path: one series in, masks, a SEG, evidence and a verdict out."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt

from dicomnode import __version__
from dicomnode.config import Settings
from dicomnode.dicom.header import read_claims
from dicomnode.dicom.nifti import read_nifti, write_mask_nifti
from dicomnode.dicom.resample import CanonicalVolume, mask_to_source, to_canonical
from dicomnode.dicom.segmentation import verify_segmentation, write_segmentation
from dicomnode.dicom.series import SourceSeries, read_series
from dicomnode.dicom.uids import result_uid
from dicomnode.dicom.volume import read_volume
from dicomnode.domain import (
    Evidence,
    Examination,
    HeaderClaims,
    ModelIdentity,
    Revision,
    SegmentationFile,
    SegmentKind,
    Verdict,
)
from dicomnode.errors import SeriesRefusedError
from dicomnode.inference.evidence import measure
from dicomnode.inference.picture import write_picture
from dicomnode.inference.verdict import judge

Mask = npt.NDArray[np.uint8]
Masks = Mapping[SegmentKind, Mask]
Progress = Callable[[str], None]


def ignore(_: str) -> None:
    """Nobody watches."""


class Segmenter(Protocol):
    """A network that is loaded and ready; see `dicomnode.inference.nnunet.Network`."""

    @property
    def identity(self) -> ModelIdentity: ...

    def segment(
        self, array: npt.NDArray[np.float32], spacing_mm: tuple[float, float, float]
    ) -> Mask: ...


@dataclass(frozen=True)
class Assessment:
    """What the networks found in one volume; `masks` lie on the grid that they saw."""

    masks: Masks
    evidence: Evidence
    verdict: Verdict


def examine(
    revision: Revision,
    networks: Sequence[Segmenter],
    settings: Settings,
    out_folder: Path,
    progress: Progress = ignore,
) -> Examination:
    """Examine one revision of a DICOM series.

    Writes `segmentation.dcm` and `picture.png` into `out_folder`. A series that can't become a
    volume gets a refusal, not an error. Raises `SegmentationError` when the SEG, decoded again,
    does not hold the masks.
    """
    try:
        progress("reading the series")
        source = read_series(revision.paths)
        volume = read_volume(source)
    except SeriesRefusedError as refused:
        return Examination(revision.digest, refusal=refused.refusal, software_version=__version__)
    canonical = to_canonical(volume)
    claims = read_claims(source.datasets)
    assessment = assess(canonical, claims, volume.warnings, networks, settings, progress)
    progress("writing SEG")
    segmentation = _write_seg(assessment, canonical, source, revision, settings, out_folder)
    _write_picture(assessment, canonical, out_folder)
    return Examination(
        revision_digest=revision.digest,
        evidence=assessment.evidence,
        verdict=assessment.verdict,
        segmentation=segmentation,
        software_version=__version__,
    )


def examine_nifti(
    path: Path,
    networks: Sequence[Segmenter],
    settings: Settings,
    out_folder: Path,
    progress: Progress = ignore,
) -> Examination:
    """Examine one NIfTI volume: masks on its own grid, `<kind>.nii.gz`, and the same verdict."""
    progress("reading the file")
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    try:
        volume = read_nifti(path)
    except SeriesRefusedError as refused:
        return Examination(digest, refusal=refused.refusal, software_version=__version__)
    canonical = to_canonical(volume)
    assessment = assess(canonical, HeaderClaims(), volume.warnings, networks, settings, progress)
    out_folder.mkdir(parents=True, exist_ok=True)
    for kind, mask in assessment.masks.items():
        on_source = mask_to_source(mask, canonical, volume.geometry)
        write_mask_nifti(on_source, path, out_folder / f"{kind.value}.nii.gz")
    _write_picture(assessment, canonical, out_folder)
    return Examination(
        digest, assessment.evidence, assessment.verdict, software_version=__version__
    )


def assess(
    canonical: CanonicalVolume,
    claims: HeaderClaims,
    warnings: tuple[str, ...],
    networks: Sequence[Segmenter],
    settings: Settings,
    progress: Progress = ignore,
) -> Assessment:
    """Every network's mask of one volume, what the masks amount to, and the verdict."""
    masks: dict[SegmentKind, Mask] = {}
    for network in networks:
        progress(f"network {network.identity.kind.value}")
        masks[network.identity.kind] = network.segment(canonical.array, canonical.spacing_mm)
    evidence = measure(
        masks,
        canonical.spacing_mm,
        models=tuple(network.identity for network in networks),
        claims=claims,
        warnings=warnings,
    )
    return Assessment(masks, evidence, judge(evidence, settings.verdict))


def _write_seg(
    assessment: Assessment,
    canonical: CanonicalVolume,
    source: SourceSeries,
    revision: Revision,
    settings: Settings,
    out_folder: Path,
) -> SegmentationFile | None:
    """One verified SEG, a segment per network that found something; none where none did."""
    models = assessment.evidence.models
    masks = {
        model: mask_to_source(assessment.masks[model.kind], canonical, source.geometry)
        for model in models
        if assessment.masks[model.kind].any()
    }
    found = {model: mask for model, mask in masks.items() if mask.any()}
    if not found:
        return None
    file = write_segmentation(
        found,
        source,
        series_instance_uid=seg_series_uid(revision.series_instance_uid),
        sop_instance_uid=_sop_instance_uid(revision, models),
        settings=settings.segmentation,
        out=out_folder / "segmentation.dcm",
    )
    verify_segmentation(file, found, source)
    return file


def seg_series_uid(series_instance_uid: str) -> str:
    """The one SEG series of an examined series, the same for every revision of it."""
    return result_uid("SEG series", series_instance_uid)


def _sop_instance_uid(revision: Revision, models: Sequence[ModelIdentity]) -> str:
    """The same series, pixels and networks give the same UID: a re-run is idempotent.

    A network that found nothing counts too: its absence from the SEG is its answer.
    """
    networks = sorted(f"{model.kind} {model.sha256}" for model in models)
    return result_uid("SEG", revision.series_instance_uid, revision.digest, *networks)


def _write_picture(assessment: Assessment, canonical: CanonicalVolume, out_folder: Path) -> None:
    write_picture(
        out_folder / "picture.png",
        canonical.array,
        canonical.spacing_mm,
        assessment.masks,
        assessment.verdict,
    )
