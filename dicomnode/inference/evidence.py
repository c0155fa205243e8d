"""What the masks of one series amount to, in numbers.

Volumes are taken on the regular grid that the networks saw, where every voxel has one size.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from dicomnode.domain import Acquisition, Evidence, HeaderClaims, ModelIdentity, SegmentKind
from dicomnode.inference.pieces import largest_piece_voxels
from dicomnode.inference.profiles import box
from dicomnode.inference.surface import face_surface

Mask = npt.NDArray[np.uint8]
Triple = tuple[float, float, float]

SKIN_DEPTH_MM = 10.0
SURFACE_GRID_MM = 2.0
SEAM_MM = 6.0
NOT_KNOWN = Acquisition()


def measure(
    masks: Mapping[SegmentKind, Mask],
    spacing_mm: Triple,
    *,
    models: tuple[ModelIdentity, ...],
    claims: HeaderClaims,
    matrix: tuple[int, ...] | None = None,
    modality: str = "",
    unanswered: Mapping[SegmentKind, str] = MappingProxyType({}),
    in_gap: npt.NDArray[np.bool_] | None = None,
    widest_gap_mm: float = 0.0,
    warnings: tuple[str, ...] = (),
    acquisition: Acquisition = NOT_KNOWN,
) -> Evidence:
    """Evidence from `masks`, all on one grid with axes (z, y, x) and `spacing_mm` likewise.

    `matrix` is the size of the grid, which has to be told where no network looked. `in_gap`
    broadcasts to the grid and says where slices are missing.
    """
    voxel_ml = float(np.prod(spacing_mm)) / 1000.0
    depth, height, width = matrix or next(iter(masks.values())).shape
    return Evidence(
        volumes_ml={kind: _round(np.count_nonzero(m) * voxel_ml) for kind, m in masks.items()},
        largest_component_ml={
            kind: _round(largest_piece_voxels(m) * voxel_ml) for kind, m in masks.items()
        },
        exposed_face_ml=_round(exposed_face_ml(masks, spacing_mm)),
        models=models,
        claims=claims,
        field_of_view_mm=(
            _round(depth * spacing_mm[0]),
            _round(height * spacing_mm[1]),
            _round(width * spacing_mm[2]),
        ),
        spacing_mm=spacing_mm,
        matrix=(int(depth), int(height), int(width)),
        widest_gap_mm=_round(widest_gap_mm),
        face_in_gaps_ml=_round(_face_in_gaps_voxels(masks, in_gap) * voxel_ml),
        warnings=warnings,
        modality=modality,
        unanswered=dict(unanswered),
        face_surface=face_surface(masks, spacing_mm),
        acquisition=acquisition,
    )


def _face_in_gaps_voxels(
    masks: Mapping[SegmentKind, Mask], in_gap: npt.NDArray[np.bool_] | None
) -> int:
    """Face, intact or removed, that lies where slices are missing: nobody has seen it."""
    if in_gap is None or not in_gap.any():
        return 0
    seen = [
        masks[kind] for kind in (SegmentKind.FACE, SegmentKind.ANONYMISED_AREA) if kind in masks
    ]
    return int(np.count_nonzero(np.any([mask.astype(bool) & in_gap for mask in seen], axis=0)))


def exposed_face_ml(masks: Mapping[SegmentKind, Mask], spacing_mm: Triple) -> float:
    """Face tissue that the outside can see: what a face is recognised by.

    Tissue behind a removed face still lies in the face's region, but the nearest thing that isn't
    tissue is the anonymised area. So only those face voxels count whose nearest voxel outside the
    body is plain air, at most `SKIN_DEPTH_MM` away. What lies beyond the field of view is unknown
    and exposes nothing.
    """
    face = masks.get(SegmentKind.FACE)
    if face is None or not face.any():
        return 0.0
    step = tuple(max(1, int(SURFACE_GRID_MM / mm)) for mm in spacing_mm)
    around = _around(face, [int(np.ceil(SKIN_DEPTH_MM / mm)) for mm in spacing_mm], step)
    thinned = {kind: mask[around].astype(bool) for kind, mask in masks.items()}
    empty = np.zeros_like(thinned[SegmentKind.FACE])
    anonymised = thinned.get(SegmentKind.ANONYMISED_AREA, empty)
    tissue = (thinned.get(SegmentKind.FOREGROUND, empty) | thinned[SegmentKind.FACE]) & ~anonymised
    if tissue.all():
        return 0.0
    grid_mm = [mm * n for mm, n in zip(spacing_mm, step, strict=True)]
    depth_mm, nearest = ndimage.distance_transform_edt(
        tissue, sampling=grid_mm, return_indices=True
    )
    covered = _grown(anonymised, grid_mm)
    exposed = thinned[SegmentKind.FACE] & (depth_mm <= SKIN_DEPTH_MM) & ~covered[tuple(nearest)]
    return float(np.count_nonzero(exposed) * np.prod(grid_mm) / 1000.0)


def _grown(mask: npt.NDArray[np.bool_], grid_mm: list[float]) -> npt.NDArray[np.bool_]:
    """`mask` and what lies within `SEAM_MM`: two networks leave a seam between their masks."""
    grown = np.zeros_like(mask)
    if mask.any():
        near = _around(mask, [int(SEAM_MM / mm) + 1 for mm in grid_mm], (1, 1, 1))
        away_mm = ndimage.distance_transform_edt(~mask[near], sampling=grid_mm)
        grown[near] = away_mm <= SEAM_MM
    return grown


def _around(
    mask: Mask | npt.NDArray[np.bool_], margin: list[int], step: tuple[int, ...]
) -> tuple[slice, ...]:
    """The box of `mask` with a margin in voxels, every `step`-th voxel of it."""
    sides = box(mask)
    assert sides is not None
    return tuple(
        slice(max(0, side.start - more), side.stop + more, every)
        for side, more, every in zip(sides, margin, step, strict=True)
    )


def _round(value: float) -> float:
    return round(float(value), 2)
