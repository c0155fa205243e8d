"""One volume as its files hold it, slice by slice: DICOM instances or frames, or a NIfTI file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from dicomnode.defacing.grid import Flags
from dicomnode.dicom.header import read_acquisition, read_claims
from dicomnode.dicom.nifti import modality_of, read_stored_nifti
from dicomnode.dicom.pixel_format import pixel_format
from dicomnode.dicom.pixels import PixelReader, check_limits
from dicomnode.dicom.series import SourceStack
from dicomnode.dicom.volume import Volume, padding_of, rescale_of, volume_of
from dicomnode.domain import Acquisition, HeaderClaims

# Whole numbers in DICOM, any in NIfTI.
Stored = npt.NDArray[Any]


@dataclass(frozen=True)
class Limits:
    """Between which values one slice can store."""

    lowest: float
    highest: float


@dataclass(frozen=True)
class Line:
    """Rescale of one slice (PS3.3 C.11.1.1.2): value = stored * slope + intercept."""

    slope: float
    intercept: float

    def stored(self, values: npt.NDArray[np.floating[Any]], like: Stored, limits: Limits) -> Stored:
        """The inverse, once, within what can be stored, in the type of the slice `like`."""
        raw = (values - self.intercept) / self.slope
        if np.issubdtype(like.dtype, np.integer):
            raw = np.rint(raw)
        return np.asarray(np.clip(raw, limits.lowest, limits.highest).astype(like.dtype))


@dataclass(frozen=True)
class Slices:
    """`stored`, `lines` and `limits` have one entry for each slice of `volume`; `padding`
    (slice, row, column) is what the scanner saw nothing of."""

    volume: Volume
    stored: Sequence[Stored]
    lines: Sequence[Line]
    limits: Sequence[Limits]
    padding: Flags
    claims: HeaderClaims
    acquisition: Acquisition

    @property
    def voxel_ml(self) -> float:
        geometry = self.volume.geometry
        row_mm, column_mm = geometry.pixel_spacing_mm
        return geometry.slice_spacing_mm * row_mm * column_mm / 1000.0


def read_slices(stack: SourceStack) -> Slices:
    """Decoded once. Raises `SeriesRefusedError` where that can't be done."""
    check_limits(stack.geometry, stack.images)
    with PixelReader() as reader:
        stored = list(reader.each(stack.images))
    layouts = [pixel_format(ds) for ds in stack.datasets]
    padding = [
        padding_of(plane, ds, stack.modality)
        for plane, ds in zip(stored, stack.datasets, strict=True)
    ]
    return Slices(
        volume=volume_of(stack, stored),
        stored=stored,
        lines=[Line(*rescale_of(ds)) for ds in stack.datasets],
        limits=[Limits(layout.lowest, layout.highest) for layout in layouts],
        padding=np.stack(padding),
        claims=read_claims(stack.datasets),
        acquisition=read_acquisition(stack.datasets, stack.geometry.slice_spacing_mm),
    )


def read_nifti_slices(path: Path, modality: str) -> Slices:
    """`modality` is CT, MR, or empty: then the values tell. Raises `SeriesRefusedError`."""
    found = read_stored_nifti(path)
    volume = replace(found.volume, modality=modality or modality_of(found.volume.array))
    count, kind = len(found.stored), found.stored.dtype
    limits = (
        Limits(np.iinfo(kind).min, np.iinfo(kind).max)
        if np.issubdtype(kind, np.integer)
        else Limits(float(np.finfo(kind).min), float(np.finfo(kind).max))
    )
    return Slices(
        volume=volume,
        stored=list(found.stored),
        lines=[Line(found.slope, found.intercept)] * count,
        limits=[limits] * count,
        padding=~np.isfinite(found.stored),
        claims=HeaderClaims(),
        acquisition=Acquisition(slice_spacing_mm=round(volume.geometry.slice_spacing_mm, 3)),
    )
