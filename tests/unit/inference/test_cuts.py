"""Cuts lie as radiologists read them, true to scale, and a mask is seen where it is."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from dicomnode.domain import SegmentKind, View
from dicomnode.inference.cuts import COLOURS, CT_WINDOW_HU, PLANES, MarkedVolume, draw_cut

SHAPE = (40, 50, 60)
SPACING_MM = (2.0, 1.0, 1.0)


def marked(box: tuple[slice, ...], **masks: np.ndarray) -> MarkedVolume:
    """A bright box in a dark volume."""
    array = np.zeros(SHAPE, np.float32)
    array[box] = 100.0
    return MarkedVolume(
        array, SPACING_MM, "MR", {SegmentKind(kind): mask for kind, mask in masks.items()}
    )


def box_mask(box: tuple[slice, ...]) -> np.ndarray:
    mask = np.zeros(SHAPE, np.uint8)
    mask[box] = 1
    return mask


# Toward the head, in front, on the patient's left.
CORNER = (slice(28, 34), slice(6, 12), slice(46, 52))


@pytest.mark.parametrize(
    ("view", "index", "is_right"),
    [(View.AXIAL, 31, True), (View.CORONAL, 9, True), (View.SAGITTAL, 49, False)],
)
def test_head_and_front_are_up_and_the_patients_left_is_on_the_right(
    view: View, index: int, is_right: bool
) -> None:
    grey = np.asarray(draw_cut(marked(CORNER), view, index, 200).plain).astype(int)
    # The letters stand in the middle of the edges; the box does not reach them.
    inner = grey[24:-24, 24:-24]
    rows, columns = np.nonzero(inner > 128)
    assert rows.mean() < inner.shape[0] / 2
    assert bool(columns.mean() > inner.shape[1] / 2) is is_right


@pytest.mark.parametrize(
    ("view", "size"),
    [(View.AXIAL, (180, 150)), (View.CORONAL, (135, 180)), (View.SAGITTAL, (112, 180))],
)
def test_a_cut_is_true_to_scale(view: View, size: tuple[int, int]) -> None:
    cut = draw_cut(marked(CORNER), view, 5, 180)
    assert cut.plain.size == cut.marked.size == size


def test_fills_tint_and_foreground_is_only_an_outline() -> None:
    box = (slice(10, 30), slice(15, 35), slice(20, 40))
    for kind in SegmentKind:
        volume = marked(box, **{kind.value: box_mask(box)})
        pixels = np.asarray(draw_cut(volume, View.AXIAL, 20, 240).marked.convert("RGB"))
        is_outline = (pixels == COLOURS[kind]).all(axis=-1)
        assert 200 < is_outline.sum() < 600
        centre = pixels[100, 120].astype(int)
        assert bool(np.ptp(centre) < 8) is (kind is SegmentKind.FOREGROUND)


def test_a_mask_on_one_voxel_is_seen() -> None:
    mask = np.zeros(SHAPE, np.uint8)
    mask[20, 25, 30] = 1
    cut = draw_cut(marked(CORNER, face=mask), View.AXIAL, 20, 240).marked.convert("RGB")
    assert (np.asarray(cut) == COLOURS[SegmentKind.FACE]).all(axis=-1).any()


def test_the_plain_cut_knows_no_mask() -> None:
    mask = box_mask(CORNER)
    plain, with_mask = (
        draw_cut(volume, View.AXIAL, 31, 200).plain
        for volume in (marked(CORNER), marked(CORNER, face=mask, foreground=mask))
    )
    assert plain.tobytes() == with_mask.tobytes()


def test_the_middle_is_that_of_the_face_removed_or_not() -> None:
    removed = box_mask((slice(30, 35), slice(5, 9), slice(20, 30)))
    face = box_mask((slice(10, 15), slice(5, 9), slice(20, 30)))
    volume = marked(CORNER, anonymised_area=removed, face=face)
    z, y, x = volume.middle
    assert 14 <= z <= 30
    assert (y, x) == (6, 24)


def test_a_speck_does_not_move_the_middle_from_a_face() -> None:
    speck = box_mask((slice(0, 1), slice(49, 50), slice(59, 60)))
    face = box_mask((slice(10, 15), slice(5, 9), slice(20, 30)))
    middle = marked(CORNER, anonymised_area=speck, face=face).middle
    assert middle == pytest.approx((12, 6, 24), abs=1)


def test_the_extent_holds_what_no_network_found() -> None:
    box = (slice(5, 36), slice(10, 40), slice(10, 50))
    first, last = marked(box, foreground=box_mask((slice(20, 22), box[1], box[2]))).extent(0)
    assert first <= 6
    assert last >= 34


@pytest.mark.parametrize("value", [0.0, -1024.0])
def test_an_empty_volume_has_cuts_too(value: float) -> None:
    volume = MarkedVolume(np.full(SHAPE, value, np.float32), SPACING_MM, "MR", {})
    for view in PLANES:
        assert isinstance(draw_cut(volume, view, volume.middle[0], 64).marked, Image.Image)


def test_ct_is_shown_in_a_window_of_soft_tissue() -> None:
    assert MarkedVolume(np.zeros(SHAPE, np.float32), SPACING_MM, "CT", {}).window == CT_WINDOW_HU
