"""Drawn heads: what `make demo` and the training set rely on."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from dicomnode.training.drawn import DrawnHead, draw_head
from dicomnode.training.tissue import Modality, Tissue


@pytest.fixture(scope="module", params=["CT", "MR"])
def head(request: pytest.FixtureRequest) -> DrawnHead:
    modality: Modality = request.param
    return draw_head(5, modality, spacing_mm=4.0)


def test_the_same_seed_draws_the_same_head() -> None:
    first, second = (draw_head(3, "CT", spacing_mm=6.0) for _ in range(2))
    assert np.array_equal(first.array, second.array)
    assert not np.array_equal(first.array, draw_head(4, "CT", spacing_mm=6.0).array)


def test_a_drawn_head_has_the_tissues_of_a_head(head: DrawnHead) -> None:
    wanted = {Tissue.SKIN, Tissue.FAT, Tissue.BONE, Tissue.GREY, Tissue.WHITE, Tissue.EYE}
    assert wanted <= {Tissue(int(v)) for v in np.unique(head.labels)}


def test_volumes_are_those_of_a_person(head: DrawnHead) -> None:
    voxel_ml = 4.0**3 / 1000
    brain = np.isin(head.labels, [int(Tissue.GREY), int(Tissue.WHITE)])
    assert 2000 < head.foreground.sum() * voxel_ml < 6500
    assert 800 < brain.sum() * voxel_ml < 2200
    assert 200 < head.face.sum() * voxel_ml < 1200


def test_the_face_is_in_front_and_below_the_brain(head: DrawnHead) -> None:
    face = np.argwhere(head.face).mean(axis=0)
    brain = np.argwhere(head.labels == Tissue.WHITE).mean(axis=0)
    assert face[0] < brain[0]  # toward the head: lower index is lower
    assert face[1] < brain[1]  # toward posterior: lower index is further forward
    assert not (head.face & ~head.foreground).any()


def test_axes_run_to_head_posterior_and_left(head: DrawnHead) -> None:
    directions = head.affine[:3, :3] / 4.0
    assert np.allclose(directions, [[0, 0, 1], [0, 1, 0], [1, 0, 0]])


def test_ct_is_in_hounsfield_units() -> None:
    head = draw_head(8, "CT", spacing_mm=4.0)
    assert abs(float(np.median(head.array[head.labels == Tissue.AIR])) + 1000) < 15
    assert float(np.median(head.array[head.labels == Tissue.BONE])) > 500
    assert 0 < float(np.median(head.array[head.labels == Tissue.GREY])) < 80


def test_drawing_needs_neither_torch_nor_itk() -> None:
    heavy = "{'torch', 'nnunetv2', 'SimpleITK', 'nibabel'}"
    code = f"import sys, dicomnode.training.drawn; sys.exit(bool({heavy} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
