"""Simulated defacing: the mask says what was changed, and only that."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from dicomnode.training.drawn import DrawnHead, Mask, Volume, draw_head
from dicomnode.training.hard_negatives import FAULTS
from dicomnode.training.simulate import CUTS, FILLS, MARGIN_MM, METHODS, deface
from dicomnode.training.sources import Source, drawn_body_source
from dicomnode.training.variants import ANONYMISED, FACE, make_variant, visible_face


@pytest.fixture(scope="module")
def head() -> DrawnHead:
    return draw_head(11, "MR", spacing_mm=4.0)


def _deface(head: DrawnHead, method: str, seed: int = 1) -> tuple[Volume, Mask]:
    rng = np.random.default_rng(seed)
    return deface(head.array, head.affine, head.foreground, head.face, method, rng)


@pytest.mark.parametrize("method", METHODS)
def test_every_changed_voxel_of_the_head_is_in_the_mask(head: DrawnHead, method: str) -> None:
    out, mask = _deface(head, method)
    changed = ~np.isclose(out, head.array, atol=1e-3)
    around = np.ones((3, 3, 3), bool)
    soft = ndimage.binary_dilation(mask, around, iterations=4)  # soft edges reach past the half
    assert mask.any()
    assert not (changed & head.foreground & ~soft).any()


@pytest.mark.parametrize("method", ["face_box:zero", "shear:zero", "face_and_ears:zero"])
def test_what_the_mask_marks_is_exactly_zero_for_hard_zero_fills(
    head: DrawnHead, method: str
) -> None:
    for seed in range(4):
        out, mask = _deface(head, method, seed)
        if np.array_equal(out == 0, (out == 0) | mask):
            return
    pytest.fail("no hard edge in four draws")


@pytest.mark.parametrize("method", ["face_box", "shear", "face_and_ears"])
def test_whole_face_methods_leave_little_face(head: DrawnHead, method: str) -> None:
    _, mask = _deface(head, method)
    assert (head.face & ~mask).sum() < 0.35 * head.face.sum()


def test_the_mask_stays_near_the_head(head: DrawnHead) -> None:
    _, mask = _deface(head, "face_box")
    away_mm = ndimage.distance_transform_edt(~head.foreground, sampling=4.0)
    assert float(away_mm[mask].max()) <= MARGIN_MM


def test_skull_stripping_keeps_brain_and_takes_the_rest(head: DrawnHead) -> None:
    _, mask = _deface(head, "skull_strip")
    kept = head.foreground & ~mask
    assert not (kept & head.face).any()
    assert 300 < kept.sum() * 0.064 < 2500


def test_without_a_face_nothing_is_done(head: DrawnHead) -> None:
    nothing = np.zeros_like(head.face)
    rng = np.random.default_rng(0)
    out, mask = deface(head.array, head.affine, head.foreground, nothing, "face_box", rng)
    assert out is head.array
    assert not mask.any()


@pytest.mark.parametrize("cut", CUTS)
@pytest.mark.parametrize("fill", FILLS)
def test_every_cut_goes_with_every_fill(head: DrawnHead, cut: str, fill: str) -> None:
    out, mask = _deface(head, f"{cut}:{fill}")
    assert out.shape == head.array.shape
    assert np.isfinite(out).all()
    assert mask.any()


def test_the_same_generator_state_defaces_the_same(head: DrawnHead) -> None:
    first, second = (_deface(head, "half_face", 9) for _ in range(2))
    assert np.array_equal(first[0], second[0])
    assert np.array_equal(first[1], second[1])


@pytest.mark.parametrize("fault", FAULTS)
def test_faults_never_add_foreground(head: DrawnHead, fault: str) -> None:
    rng = np.random.default_rng(2)
    out, body = FAULTS[fault](head.array, head.foreground, rng)
    assert out.shape == head.array.shape
    assert not (body & ~head.foreground).any()


def _source(head: DrawnHead) -> Source:
    return Source(
        "h", "h", "drawn_head", "MR", head.affine, head.foreground, head.face, labels=head.labels
    )


def test_an_intact_variant_has_no_anonymised_voxel(head: DrawnHead) -> None:
    for seed in range(5):
        variant = make_variant(_source(head), np.random.default_rng(seed), method="none")
        assert not (variant.labels == ANONYMISED).any()
        assert np.isfinite(variant.array).all()


def test_a_body_has_neither_face_nor_anonymised_voxels() -> None:
    source = drawn_body_source(3)
    for seed in range(3):
        variant = make_variant(source, np.random.default_rng(seed))
        assert not np.isin(variant.labels, [FACE, ANONYMISED]).any()


def test_variants_repeat_with_their_seed(head: DrawnHead) -> None:
    first, second = (make_variant(_source(head), np.random.default_rng(4)) for _ in range(2))
    assert np.array_equal(first.array, second.array)
    assert np.array_equal(first.labels, second.labels)


def test_an_intact_face_counts_down_to_its_depth(head: DrawnHead) -> None:
    nothing = np.zeros_like(head.face)
    visible = visible_face(head.foreground, head.face, nothing, (4.0, 4.0, 4.0))
    assert not (visible & ~head.face).any()
    assert 0.5 * head.face.sum() < visible.sum() < head.face.sum()


def test_what_a_tool_left_behind_its_cut_is_no_face(head: DrawnHead) -> None:
    front = np.arange(head.face.shape[1]) < np.argwhere(head.face)[:, 1].mean()
    cut = head.face & front[None, :, None]
    widened = ndimage.binary_dilation(cut, iterations=1)
    anonymised = cut | (widened & ~head.foreground)
    visible = visible_face(head.foreground & ~cut, head.face, anonymised, (4.0, 4.0, 4.0))
    left = head.face & ~cut
    assert visible.sum() < 0.75 * left.sum()
    assert not (visible & anonymised).any()
