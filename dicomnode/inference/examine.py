"""The main path: one series in, masks, SEGs, evidence and a verdict out."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt

from dicomnode import __version__
from dicomnode.config import Settings
from dicomnode.dicom.header import read_claims
from dicomnode.dicom.resample import CanonicalVolume, mask_to_source, to_canonical
from dicomnode.dicom.segmentation import verify_segmentation, write_segmentation
from dicomnode.dicom.uids import result_uid
from dicomnode.dicom.volume import SourceSeries, SliceGeometry, read_series, read_volume
from dicomnode.domain import (
    Evidence,
    Examination,
    ModelIdentity,
    Revision,
    SegmentationFile,
    SegmentKind,
)
from dicomnode.errors import SeriesRefusedError
from dicomnode.inference.evidence import measure
from dicomnode.inference.picture import write_picture
from dicomnode.inference.verdict import judge

log = logging.getLogger("dicomnode.inference")

Mask = npt.NDArray[np.uint8]
Masks = Mapping[SegmentKind, Mask]


class Segmenter(Protocol):
    """A network that is loaded and ready; see `dicomnode.inference.nnunet.Network`."""

    @property
    def identity(self) -> ModelIdentity: ...

    def segment(
        self, array: npt.NDArray[np.float32], spacing_mm: tuple[float, float, float]
    ) -> Mask: ...


def examine(
    revision: Revision,
    networks: Sequence[Segmenter],
    settings: Settings,
    out_folder: Path,
    progress: Callable[[str], None] = lambda stage: None,
) -> Examination:
    """Examine one revision; a series that can't become a volume gets a refusal, not an error.

    Writes the SEGs and `picture.png` into `out_folder`. Raises `SegmentationError` when a SEG,
    decoded again, is not the mask.
    """
    try:
        progress("volume")
        source = read_series(revision.paths)
        volume = read_volume(source)
    except SeriesRefusedError as refused:
        return Examination(revision.digest, refusal=refused.refusal, software_version=__version__)
    canonical = to_canonical(volume)
    masks = segment(canonical, networks, progress)
    evidence = measure(
        masks,
        canonical.spacing_mm,
        models=tuple(network.identity for network in networks),
        claims=read_claims(source.datasets),
    )
    verdict = judge(evidence, settings.verdict)
    progress("SEG")
    segmentations = write_masks(masks, canonical, source, revision, evidence, settings, out_folder)
    write_picture(
        out_folder / "picture.png", canonical.array, canonical.spacing_mm, masks, verdict
    )
    return Examination(
        revision.digest, evidence, verdict, None, segmentations, software_version=__version__
    )
