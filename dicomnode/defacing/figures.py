"""How far the skin is from where the face was, and what else the networks see otherwise now.

Surfaces are compared as by Mahmutoglu et al. 2024 (CTA-DEFACE): a face whose skin is still where it
was can be recognised, whatever a detector says.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from dicomnode.defacing.grid import Flags, Step, Triple, coarse_mm, step_of
from dicomnode.defacing.slices import Slices
from dicomnode.dicom.resample import mask_to_source
from dicomnode.domain import SegmentKind
from dicomnode.inference.assessment import Assessment
from dicomnode.inference.skin import skin_level

# Skin that is farther away than this is farther than any figure of it matters.
_MARGIN_MM = 40.0
_GRID_MM = 1.0


@dataclass(frozen=True)
class Figures:
    """Millimetres from the skin that was removed to the nearest skin of the result: mean, 95th
    percentile and maximum; None where the removed region had no skin. `kept_foreground_dice`: of
    the foreground network's masks before and after, outside of what was removed.
    """

    surface_mean_mm: float | None
    surface_p95_mm: float | None
    surface_max_mm: float | None
    kept_foreground_dice: float


def figures(
    before: Assessment, after: Assessment, source: Slices, again: Slices, removed: Flags
) -> Figures:
    """`removed` (slice, row, column) on the source slices."""
    distances = _distances_mm(source, again, removed)
    known = distances.size > 0
    return Figures(
        surface_mean_mm=round(float(distances.mean()), 2) if known else None,
        surface_p95_mm=round(float(np.percentile(distances, 95)), 2) if known else None,
        surface_max_mm=round(float(distances.max()), 2) if known else None,
        kept_foreground_dice=round(_kept_dice(before, after, source, removed), 5),
    )


def _distances_mm(source: Slices, again: Slices, removed: Flags) -> npt.NDArray[np.float64]:
    """From each voxel of the skin that was removed."""
    geometry = source.volume.geometry
    spacing_mm: Triple = (geometry.slice_spacing_mm, *geometry.pixel_spacing_mm)
    step = step_of(spacing_mm, _GRID_MM)
    box = _around(removed, spacing_mm, step)
    level = skin_level(source.volume.array, source.volume.modality)
    old, new = (_skin(each.volume.array[box] > level) for each in (source, again))
    away_mm = ndimage.distance_transform_edt(~new, sampling=coarse_mm(spacing_mm, step))
    return np.asarray(away_mm[old & removed[box]])


def _around(removed: Flags, spacing_mm: Triple, step: Step) -> tuple[slice, ...]:
    """The box of what was removed, with a margin, every so many voxels."""
    sides = ndimage.find_objects(removed.view(np.uint8))[0]
    margins = [int(np.ceil(_MARGIN_MM / mm)) for mm in spacing_mm]
    return tuple(
        slice(max(0, side.start - margin), side.stop + margin, n)
        for side, margin, n in zip(sides, margins, step, strict=True)
    )


def _skin(tissue: Flags) -> Flags:
    """Tissue that touches the air outside, of pieces that are more than noise."""
    tissue = ndimage.binary_opening(tissue)
    air, _ = ndimage.label(~tissue)
    sizes = np.bincount(air.ravel())
    sizes[0] = 0
    outside = air == int(sizes.argmax())
    return np.asarray(tissue & ndimage.binary_dilation(outside))


def _kept_dice(before: Assessment, after: Assessment, source: Slices, removed: Flags) -> float:
    geometry, kind = source.volume.geometry, SegmentKind.FOREGROUND
    seen = [
        mask_to_source(each.masks[kind], each.canonical, geometry).astype(bool) & ~removed
        for each in (before, after)
    ]
    total = sum(int(np.count_nonzero(mask)) for mask in seen)
    return 2 * int(np.count_nonzero(seen[0] & seen[1])) / total if total else 1.0
