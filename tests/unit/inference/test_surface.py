"""The face's surface, measured on drawn heads and bodies whose masks are known."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

from dicomnode.domain import FacePart, FaceSurface, SegmentKind
from dicomnode.inference.surface import face_surface
from dicomnode.training import anatomy
from dicomnode.training.drawn import DrawnHead, Mask, draw_head
from dicomnode.training.drawn_body import draw_body
from dicomnode.training.drawn_defacing import deface_drawn

SPACING_MM = (3.0, 3.0, 3.0)


@cache
def drawn() -> DrawnHead:
    return draw_head(1, "MR", spacing_mm=3.0)


def masks(anonymised: Mask | None = None) -> dict[SegmentKind, np.ndarray]:
    """What perfect networks would answer to the drawn head."""
    head = drawn()
    area = np.zeros_like(head.face) if anonymised is None else anonymised
    found = {
        SegmentKind.FOREGROUND: head.foreground & ~area,
        SegmentKind.ANONYMISED_AREA: area,
        SegmentKind.FACE: head.face & ~area,
    }
    return {kind: mask.astype(np.uint8) for kind, mask in found.items()}


def measured(found: dict[SegmentKind, np.ndarray]) -> FaceSurface:
    surface = face_surface(found, SPACING_MM)
    assert surface is not None
    return surface


def test_an_intact_face_is_all_skin_and_all_of_it_is_in_view() -> None:
    surface = measured(masks())
    assert (surface.anonymised_percent, surface.intact_percent) == (0.0, 100.0)
    assert surface.parts == tuple(FacePart)
    assert 100.0 < surface.area_cm2 < 500.0


@pytest.mark.parametrize(
    ("method", "least", "most"),
    [("face_box", 85.0, 100.0), ("skin_shell", 85.0, 100.0), ("half_face", 30.0, 70.0)],
)
def test_a_defaced_share_is_what_the_method_takes(method: str, least: float, most: float) -> None:
    _, area = deface_drawn(drawn(), method, seed=1)
    surface = measured(masks(area))
    assert surface.anonymised_percent is not None
    assert surface.intact_percent is not None
    assert least <= surface.anonymised_percent <= most
    assert surface.anonymised_percent + surface.intact_percent == pytest.approx(100.0, abs=0.2)


def block(removed: slice, front: int = 0) -> dict[SegmentKind, np.ndarray]:
    """Air, then a block of tissue that is all face; `front` voxels are out of view."""
    found = {kind: np.zeros((20, 40, 20), np.uint8) for kind in SegmentKind}
    found[SegmentKind.ANONYMISED_AREA][:, removed] = 1
    tissue = np.zeros((20, 40, 20), np.uint8)
    tissue[:, 10:] = 1
    tissue[found[SegmentKind.ANONYMISED_AREA] > 0] = 0
    found[SegmentKind.FOREGROUND] = found[SegmentKind.FACE] = tissue
    return {kind: mask[:, front:] for kind, mask in found.items()}


def test_tissue_behind_a_removed_face_is_no_skin() -> None:
    assert measured(block(slice(10, 16))).anonymised_percent == 100.0


def test_a_body_has_no_share_of_a_face() -> None:
    tissue = anatomy.foreground(draw_body(1).labels).astype(np.uint8)
    none = np.zeros_like(tissue)
    found = {
        SegmentKind.FOREGROUND: tissue,
        SegmentKind.ANONYMISED_AREA: none,
        SegmentKind.FACE: none,
    }
    surface = measured(found)
    assert surface == FaceSurface(0.0, None, None, ())


def test_what_the_field_of_view_cuts_is_no_skin() -> None:
    assert measured(block(slice(0), front=5)).intact_percent == 100.0
    assert measured(block(slice(0), front=12)).intact_percent is None


def test_a_cut_off_mouth_and_chin_are_not_in_view() -> None:
    above = int(np.flatnonzero(drawn().face.any(axis=(1, 2)))[0]) + 18
    surface = measured({kind: mask[above:] for kind, mask in masks().items()})
    assert surface.parts is not None
    assert FacePart.UPPER in surface.parts
    assert FacePart.LOWER not in surface.parts


def test_without_the_crown_no_part_can_be_told() -> None:
    crown = int(np.flatnonzero(drawn().foreground.any(axis=(1, 2)))[-1])
    surface = measured({kind: mask[: crown - 3] for kind, mask in masks().items()})
    assert surface.parts is None
    assert surface.intact_percent == 100.0


def test_a_missing_network_leaves_it_unmeasured() -> None:
    found = masks()
    del found[SegmentKind.FACE]
    assert face_surface(found, SPACING_MM) is None
