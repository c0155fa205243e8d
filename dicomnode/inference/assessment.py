"""One volume is looked at by everything that has a say, and judged."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
import numpy.typing as npt

from dicomnode.config import Settings
from dicomnode.dicom.nifti import modality_of
from dicomnode.dicom.resample import CanonicalVolume, to_canonical
from dicomnode.dicom.volume import Volume
from dicomnode.domain import (
    Acquisition,
    Evidence,
    HeaderClaims,
    ModelIdentity,
    SegmentKind,
    Verdict,
    subject_of,
)
from dicomnode.errors import RenderingError
from dicomnode.inference.cuts import MarkedVolume
from dicomnode.inference.evidence import measure
from dicomnode.inference.face_detector import installed_detector
from dicomnode.inference.rendering import Renderings, render
from dicomnode.inference.selection import Candidate, choose
from dicomnode.inference.verdict import judge

Mask = npt.NDArray[np.uint8]
Masks = Mapping[SegmentKind, Mask]
Progress = Callable[[str], None]


def ignore(_: str) -> None:
    """Nobody watches."""


class Segmenter(Candidate, Protocol):
    """A network that is loaded and ready; see `dicomnode.inference.nnunet.Network`.

    `falls` tells of the last volume what a device without enough memory made worse or slower.
    """

    @property
    def falls(self) -> tuple[str, ...]: ...

    def segment(
        self, array: npt.NDArray[np.float32], spacing_mm: tuple[float, float, float]
    ) -> Mask: ...


@dataclass(frozen=True)
class Findings:
    """What the networks marked in one volume; `masks` lie on the grid that they saw.

    `modality` is told from the values where the volume does not say it. `unanswered` says why no
    network of a kind looked, `falls` where networks did not run as configured, for want of memory.
    """

    canonical: CanonicalVolume
    modality: str
    masks: Masks
    models: tuple[ModelIdentity, ...]
    unanswered: Mapping[SegmentKind, str]
    falls: tuple[str, ...] = ()

    @property
    def marked(self) -> MarkedVolume:
        canonical = self.canonical
        return MarkedVolume(canonical.array, canonical.spacing_mm, self.modality, self.masks)


@dataclass(frozen=True)
class Assessment:
    """What was found in one volume, in pictures and numbers, and what it amounts to."""

    findings: Findings
    skin: Renderings
    evidence: Evidence
    verdict: Verdict

    @property
    def canonical(self) -> CanonicalVolume:
        return self.findings.canonical

    @property
    def masks(self) -> Masks:
        return self.findings.masks

    @property
    def marked(self) -> MarkedVolume:
        return self.findings.marked


def segment(
    volume: Volume,
    claims: HeaderClaims,
    networks: Sequence[Segmenter],
    settings: Settings,
    progress: Progress = ignore,
) -> Findings:
    """The mask of every network that is for this volume."""
    canonical = to_canonical(volume)
    subject = subject_of(volume.modality, claims, canonical.spacing_mm)
    chosen = choose(networks, settings.inference.use, subject)
    masks: dict[SegmentKind, Mask] = {}
    falls: list[str] = []
    for network in chosen.networks:
        progress(f"network {network.identity.kind.value}")
        masks[network.identity.kind] = network.segment(canonical.array, canonical.spacing_mm)
        falls += network.falls
    models = tuple(network.identity for network in chosen.networks)
    modality = volume.modality or modality_of(canonical.array)
    return Findings(canonical, modality, masks, models, chosen.unanswered, tuple(falls))


def assess(
    volume: Volume,
    findings: Findings,
    claims: HeaderClaims,
    settings: Settings,
    *,
    acquisition: Acquisition,
    unpictured: str = "",
) -> Assessment:
    """What the findings amount to, and the verdict.

    `unpictured` says why nobody needs pictures of the skin.
    """
    canonical, masks = findings.canonical, findings.masks
    with ThreadPoolExecutor(max_workers=1) as beside:
        look = beside.submit(_look, findings, settings, unpictured)
        measured = measure(
            masks,
            canonical.spacing_mm,
            models=findings.models,
            claims=claims,
            matrix=canonical.array.shape,
            modality=volume.modality,
            unanswered=findings.unanswered,
            in_gap=canonical.in_gap,
            widest_gap_mm=volume.geometry.widest_gap_mm,
            warnings=(*volume.warnings, *findings.falls),
            acquisition=acquisition,
        )
        skin, probability = look.result()
    evidence = replace(measured, face_probability=probability, unpictured=skin.missing)
    return Assessment(findings, skin, evidence, judge(evidence, settings.verdict))


def _look(
    findings: Findings, settings: Settings, unpictured: str
) -> tuple[Renderings, float | None]:
    """Pictures of the skin, and what the face detector finds in the plain ones.

    No network has a part in its answer. Raises `RenderingError` where it is asked and can't be.
    """
    detector = installed_detector(settings.evidence.face_detector)
    if detector is None and unpictured:
        return Renderings(missing=unpictured), None
    array, spacing_mm = findings.canonical.array, findings.canonical.spacing_mm
    try:
        skin = render(array, spacing_mm, findings.modality, findings.masks)
    except RenderingError as error:
        if detector is not None:
            raise
        return Renderings(missing=str(error)), None
    return skin, None if detector is None else detector.probability(skin.plain)
