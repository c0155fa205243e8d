"""What a passer-by would see of the face: how much of its surface was anonymised, how much is skin.

The head is looked at from the front, the left and the right, along the axes of the grid. On every
line of sight the first solid voxel is the skin as seen from outside; where the face or the
anonymised area begins close behind it, it is a part of the face. Areas are those that the three
looks see, so what faces forward and outward counts in full and what faces up or down little.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from dicomnode.domain import FacePart, FaceSurface, SegmentKind

Mask = npt.NDArray[np.uint8]
Flags = npt.NDArray[np.bool_]
Triple = tuple[float, float, float]

GRID_MM = 2.0
# The networks' masks end a little apart, and neither ends exactly at the skin.
SEAM_MM = 6.0
# Of an adult, below the crown: brow, under the eyes, upper lip, chin. Read off the template's head
# (`training.anatomy`, 0.92 of it is an average one), like the breadth that they belong to.
PART_ENDS_MM = (118.0, 141.0, 171.0, 226.0)
BREADTH_MM = 149.0
CRANIUM_MM = 100.0
LEAST_COVERED = 0.5


def face_surface(masks: Mapping[SegmentKind, Mask], spacing_mm: Triple) -> FaceSurface | None:
    """None where a network is missing. Axes of the masks: (z, y, x), toward head, back and left."""
    if any(kind not in masks for kind in SegmentKind):
        return None
    step = tuple(max(1, int(GRID_MM / mm)) for mm in spacing_mm)
    thin = tuple(slice(None, None, n) for n in step)
    z_mm, y_mm, x_mm = (mm * n for mm, n in zip(spacing_mm, step, strict=True))
    face, anonymised, tissue = (
        masks[kind][thin].astype(bool)
        for kind in (SegmentKind.FACE, SegmentKind.ANONYMISED_AREA, SegmentKind.FOREGROUND)
    )
    removed_mm2 = intact_mm2 = 0.0
    for axis, flipped in ((1, False), (2, False), (2, True)):
        look = [np.flip(m, axis) if flipped else m for m in (face, anonymised, tissue)]
        skin = _seen(look[0], look[1], look[2], axis, y_mm if axis == 1 else x_mm)
        area_mm2 = z_mm * (x_mm if axis == 1 else y_mm)
        removed_mm2 += np.count_nonzero(skin[0]) * area_mm2
        intact_mm2 += np.count_nonzero(skin[1]) * area_mm2
    seen_mm2 = removed_mm2 + intact_mm2
    return FaceSurface(
        area_cm2=round(float(seen_mm2) / 100.0, 1),
        anonymised_percent=_percent(removed_mm2, seen_mm2),
        intact_percent=_percent(intact_mm2, seen_mm2),
        parts=_parts(face | anonymised, tissue | face | anonymised, z_mm, x_mm),
    )


def _seen(
    face: Flags, anonymised: Flags, tissue: Flags, axis: int, depth_mm: float
) -> tuple[Flags, Flags]:
    """The lines of sight along `axis` that meet removed and intact face.

    What the edge of the field of view cuts is not skin: nobody knows what lies before it.
    """
    marked = face | anonymised
    skin = np.argmax(marked | tissue, axis=axis)
    first = np.argmax(marked, axis=axis)
    is_face = marked.any(axis=axis) & (skin > 0) & ((first - skin) * depth_mm <= SEAM_MM)
    there = np.expand_dims(first, axis)
    is_removed = np.take_along_axis(anonymised, there, axis).squeeze(axis)
    return is_face & is_removed, is_face & ~is_removed


def _parts(marked: Flags, body: Flags, z_mm: float, x_mm: float) -> tuple[FacePart, ...] | None:
    """The parts of which at least half the height is marked; None where the crown is not in view.

    A part is told by its distance from the crown alone, in proportion to the head's breadth.
    """
    heights = np.flatnonzero(body.any(axis=(1, 2)))
    if not marked.any():
        return ()
    crown = int(heights[-1])
    if crown == body.shape[0] - 1:
        return None
    below_mm = (crown - np.flatnonzero(marked.any(axis=(1, 2)))) * z_mm
    scale = _breadth_mm(body[max(0, crown - int(CRANIUM_MM / z_mm)) :], x_mm) / BREADTH_MM
    ends = [end * scale for end in PART_ENDS_MM]
    return tuple(
        part
        for part, top, bottom in zip(FacePart, ends, ends[1:], strict=False)
        if np.count_nonzero((below_mm >= top) & (below_mm < bottom)) * z_mm
        >= LEAST_COVERED * (bottom - top)
    )


def _breadth_mm(cranium: Flags, x_mm: float) -> float:
    """An average one where the field of view cuts it."""
    columns = np.flatnonzero(cranium.any(axis=(0, 1)))
    if columns[0] == 0 or columns[-1] == cranium.shape[2] - 1:
        return BREADTH_MM
    return float(columns[-1] - columns[0] + 1) * x_mm


def _percent(part: float, whole: float) -> float | None:
    return round(float(100.0 * part / whole), 1) if whole else None
