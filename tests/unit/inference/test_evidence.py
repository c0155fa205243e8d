from __future__ import annotations

import numpy as np
import pytest

from dicomnode.domain import HeaderClaims, SegmentKind
from dicomnode.inference.evidence import exposed_face_ml, measure


def test_volumes_are_in_millilitres_of_the_grid() -> None:
    mask = np.zeros((10, 10, 10), np.uint8)
    mask[2:7, 2:7, 2:7] = 1
    found = measure(
        {SegmentKind.FOREGROUND: mask}, (2.0, 4.0, 5.0), models=(), claims=HeaderClaims()
    )
    assert found.volumes_ml[SegmentKind.FOREGROUND] == 125 * 40 / 1000
    assert found.field_of_view_mm == (20.0, 40.0, 50.0)
    assert found.matrix == (10, 10, 10)


def head(removed: slice) -> dict[SegmentKind, np.ndarray]:
    """A block of tissue with air in front of it; `removed` rows of it were anonymised."""
    foreground = np.zeros((20, 40, 20), np.uint8)
    foreground[:, 10:, :] = 1
    face = np.zeros_like(foreground)
    face[:, 10:22, :] = 1
    anonymised = np.zeros_like(foreground)
    anonymised[:, removed, :] = 1
    for mask in (foreground, face):
        mask[anonymised > 0] = 0
    return {
        SegmentKind.FOREGROUND: foreground,
        SegmentKind.FACE: face,
        SegmentKind.ANONYMISED_AREA: anonymised,
    }


def test_skin_against_air_is_exposed() -> None:
    exposed = exposed_face_ml(head(slice(0, 0)), (2.0, 2.0, 2.0))
    assert exposed == pytest.approx(20 * 20 * 5 * 8 / 1000)


def test_tissue_behind_a_removed_face_is_not_exposed() -> None:
    masks = head(slice(8, 16))
    assert masks[SegmentKind.FACE].any()
    assert exposed_face_ml(masks, (2.0, 2.0, 2.0)) == 0.0


def test_even_a_thin_removed_shell_hides_what_is_behind_it() -> None:
    assert exposed_face_ml(head(slice(9, 12)), (2.0, 2.0, 2.0)) == 0.0


def test_the_edge_of_the_field_of_view_exposes_nothing() -> None:
    masks = {kind: mask[:, 10:, :] for kind, mask in head(slice(0, 0)).items()}
    assert exposed_face_ml(masks, (2.0, 2.0, 2.0)) == 0.0


def test_face_and_anonymised_area_count_where_slices_are_missing() -> None:
    face, area = np.zeros((10, 10, 10), np.uint8), np.zeros((10, 10, 10), np.uint8)
    face[:, :2], area[:, 1:4] = 1, 1
    in_gap = np.zeros((10, 1, 1), np.bool_)
    in_gap[4:6] = True
    masks = {SegmentKind.FACE: face, SegmentKind.ANONYMISED_AREA: area}
    found = measure(
        masks, (10.0, 10.0, 10.0), models=(), claims=HeaderClaims(), in_gap=in_gap, widest_gap_mm=30
    )
    assert found.face_in_gaps_ml == 2 * 4 * 10
    assert found.widest_gap_mm == 30.0
