"""What is taken away: all of the face and its skin, nothing of the brain."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from dicomnode.defacing.brain import protected_brain
from dicomnode.defacing.region import Growth, face_pieces, hull, removed_region
from dicomnode.errors import DefacingError
from tests.unit.defacing.heads import MODALITIES, SEEDS, SPACING_MM, brain_of, head

CASES = [(modality, seed) for modality in MODALITIES for seed in SEEDS]


def a_network_s_view(face: np.ndarray) -> np.ndarray:
    """A mask that ends two voxels under the skin, as networks' masks do."""
    return ndimage.binary_erosion(face, iterations=2)


@pytest.mark.parametrize(("modality", "seed"), CASES)
def test_no_voxel_of_the_brain_is_ever_removed(modality: str, seed: int) -> None:
    drawn = head(modality, seed)
    brain = protected_brain(drawn.array, drawn.foreground, drawn.face, SPACING_MM, modality)
    removed = removed_region(drawn.face, drawn.foreground, brain, SPACING_MM, Growth())
    assert not (removed & brain_of(drawn)).any()
    assert (brain & brain_of(drawn)).sum() > 0.9 * brain_of(drawn).sum()


@pytest.mark.parametrize(("modality", "seed"), CASES)
def test_a_skin_shell_of_two_voxels_does_not_stay(modality: str, seed: int) -> None:
    """The published script left one, and it is enough to recognise a face."""
    drawn = head(modality, seed)
    seen = a_network_s_view(drawn.face)
    nothing = np.zeros_like(seen)
    removed = removed_region(seen, drawn.foreground, nothing, SPACING_MM, Growth())
    rest = drawn.foreground & ~removed
    pieces, count = ndimage.label(rest)
    sizes = np.bincount(pieces.ravel())[1:]
    assert count == 1 or sorted(sizes)[-2] * 0.008 < 0.5, "a shell hangs in the air"
    # Of the true face only a rim beside its own border with the rest of the head is left.
    left = drawn.face & rest
    inside = ndimage.distance_transform_edt(drawn.face, sampling=SPACING_MM) > 6.0
    assert not (left & inside).any()


def test_the_mask_grows_outward_and_not_deeper() -> None:
    block = np.zeros((40, 40, 40), bool)
    block[:, 10:, :] = True  # tissue from row 10 on, air before it
    face = np.zeros_like(block)
    face[15:25, 12:16, 15:25] = True
    removed = removed_region(face, block, np.zeros_like(face), (1.0, 1.0, 1.0), Growth(4.0, 0.0))
    assert removed[20, 9, 20], "the air before it"
    assert removed[20, 10, 20], "the skin"
    assert removed[20, 13, 27], "beside it, at the same depth"
    assert not removed[20, 16:, 20].any(), "deeper"


def test_what_is_cut_off_from_the_head_goes_too() -> None:
    tissue = np.zeros((30, 40, 30), bool)
    tissue[5:25, 20:, 5:25] = True
    tissue[10:20, 10:12, 10:20] = True  # a shell in front, held by a bridge
    tissue[14:16, 12:20, 14:16] = True
    face = np.zeros_like(tissue)
    face[13:17, 14:18, 13:17] = True
    removed = removed_region(face, tissue, np.zeros_like(face), (1.0, 1.0, 1.0), Growth(1.0, 0.0))
    assert removed[10:20, 10:12, 10:20].all()
    assert not removed[5:25, 22:, 5:25].any()


def test_only_the_largest_piece_counts_unless_the_edge_cuts_the_face() -> None:
    face = np.zeros((40, 40, 40), bool)
    face[10:20, 10:20, 10:20] = True
    face[30:36, 30:36, 30:36] = True
    whole = face_pieces(face, (2.0, 2.0, 2.0))
    assert whole[15, 15, 15]
    assert not whole[32, 32, 32]
    face[30:36, 30:36, 34:40] = True  # touches the edge: the field of view parts the face
    cut = face_pieces(face, (2.0, 2.0, 2.0))
    assert cut[15, 15, 15]
    assert cut[32, 32, 36]


def test_a_head_without_a_brain_is_not_touched() -> None:
    drawn = head("MR")
    empty = np.where(brain_of(drawn), np.float32(0), drawn.array)
    with pytest.raises(DefacingError, match="no brain"):
        protected_brain(np.zeros_like(empty), drawn.foreground, drawn.face, SPACING_MM, "CT")


def test_the_hull_of_a_few_voxels_in_a_line_is_those_voxels() -> None:
    line = np.zeros((10, 10, 10), bool)
    line[5, 5, 2:8] = True
    assert np.array_equal(hull(line, (4.0, 4.0, 4.0)), line)
