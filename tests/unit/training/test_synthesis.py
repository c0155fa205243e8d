"""Volumes drawn for training: the labels say what was done, and only that."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from dicomnode.training.drawn import DrawnHead, draw_head
from dicomnode.training.drawn_defacing import CPU, deface_drawn, scene_of
from dicomnode.training.sources import drawn_body_subject, drawn_head_subject
from dicomnode.training.synthesis import faults, labels
from dicomnode.training.synthesis.cuts import CUTS
from dicomnode.training.synthesis.deface import METHOD_SHARES, METHODS, deface
from dicomnode.training.synthesis.fields import grown
from dicomnode.training.synthesis.fills import FILLS
from dicomnode.training.synthesis.generate import Generator
from dicomnode.training.synthesis.pose import Frame
from dicomnode.training.synthesis.scene import Chance, Scene
from dicomnode.training.synthesis.subject import OnDevice, Subject, load_subject, save_subject

FRAME = Frame((40, 40, 32), (6.4, 6.4, 6.4))
# A hard edge or a soft one is drawn by chance: a method is tried with several seeds.
SEEDS = range(4)


@pytest.fixture(scope="module")
def head() -> DrawnHead:
    return draw_head(11, "MR", spacing_mm=4.0)


@pytest.fixture(scope="module")
def scene(head: DrawnHead) -> Scene:
    return scene_of(head)


@pytest.fixture(scope="module")
def subjects() -> list[OnDevice]:
    made = [drawn_head_subject(1), drawn_head_subject(2), drawn_body_subject(1)]
    return [OnDevice(subject, CPU) for subject in made]


@pytest.mark.parametrize("method", METHODS)
def test_what_changed_in_the_head_is_marked(scene: Scene, method: str) -> None:
    for seed in SEEDS:
        done = deface(scene, method, Chance(seed, CPU))
        changed = (done.image - scene.image).abs() > 0.1 * scene.range[1]
        soft = grown(done.anonymised, 16.0, scene.spacing_mm)  # a soft edge reaches past its half
        assert done.anonymised.any()
        assert not (changed & scene.body & ~soft).any()


@pytest.mark.parametrize("method", ["face_box:zero", "plane:zero", "face_and_ears:zero"])
def test_hard_zero_fills_leave_exact_zeros_where_they_are_marked(scene: Scene, method: str) -> None:
    done = [deface(scene, method, Chance(seed, CPU)) for seed in range(6)]
    assert any(bool((d.image[d.anonymised] == 0).all()) for d in done)


@pytest.mark.parametrize("method", ["face_box", "plane", "face_and_ears"])
def test_whole_face_methods_leave_little_face(scene: Scene, method: str) -> None:
    before = (labels.label_map(scene) == labels.FACE).sum()
    for seed in SEEDS:
        made = labels.label_map(deface(scene, method, Chance(seed, CPU)))
        assert (made == labels.FACE).sum() < 0.6 * before


def test_half_of_a_face_is_still_a_face(scene: Scene) -> None:
    before = (labels.label_map(scene) == labels.FACE).sum()
    for seed in SEEDS:
        made = labels.label_map(deface(scene, "half_face", Chance(seed, CPU)))
        assert 0.1 * before < (made == labels.FACE).sum() < 0.95 * before


def test_what_is_marked_lies_near_the_head_and_air_further_out_is_left_open(scene: Scene) -> None:
    done = deface(scene, "face_box:constant", Chance(3, CPU))
    far = ~grown(scene.body, labels.MARGIN_MM, scene.spacing_mm)
    assert not (done.anonymised & far).any()
    assert not (done.ambiguous & ~far).any()


def test_skull_stripping_keeps_a_brain_and_no_face(scene: Scene) -> None:
    for seed in SEEDS:
        done = deface(scene, "skull_strip", Chance(seed, CPU))
        made = labels.label_map(done)
        kept_ml = float((made == labels.FOREGROUND).sum()) * 0.064
        assert 600 < kept_ml < 2500
        assert (made == labels.FACE).sum() * 0.064 < 2


@pytest.mark.parametrize("cut", CUTS)
@pytest.mark.parametrize("fill", FILLS)
def test_every_cut_goes_with_every_fill(scene: Scene, cut: str, fill: str) -> None:
    done = deface(scene, f"{cut}:{fill}", Chance(5, CPU))
    assert done.image.shape == scene.image.shape
    assert torch.isfinite(done.image).all()
    assert done.anonymised.any()


@pytest.mark.parametrize("fault", faults.FAULTS)
def test_no_fault_of_a_scanner_counts_as_anonymised_or_adds_anatomy(
    scene: Scene, fault: str
) -> None:
    for seed in SEEDS:
        odd = faults.FAULTS[fault](scene, Chance(seed, CPU))
        assert odd.image.shape == scene.image.shape
        assert torch.isfinite(odd.image).all()
        assert not odd.anonymised.any()
        assert not (odd.body & ~scene.body).any()


def test_an_intact_face_counts_down_to_its_depth(scene: Scene) -> None:
    assert scene.points is not None
    box = labels.face_box(scene.points) & scene.body
    visible = labels.label_map(scene) == labels.FACE
    assert not (visible & ~box).any()
    assert 0.5 * box.sum() < visible.sum() < box.sum()


def test_what_a_tool_left_behind_its_cut_is_no_face(scene: Scene) -> None:
    """A shell is gone, skin and all: the tissue under it no longer shows a face."""
    shell = (scene.depth_mm > 0) & (scene.depth_mm < 14)
    nothing = torch.zeros_like(shell)
    assert scene.points is not None
    box = labels.face_box(scene.points)
    grown_box = grown(box, 12.0, scene.spacing_mm)
    left = labels.visible_face(
        scene.body & ~shell, box, shell & grown_box, ~nothing, scene.spacing_mm
    )
    assert left.sum() < 0.1 * (box & scene.body & ~shell).sum()


def test_samples_repeat_with_their_seed(subjects: list[OnDevice]) -> None:
    generator = Generator(subjects, FRAME)
    for seed in range(6):
        first, second = generator.draw(seed), generator.draw(seed)
        assert torch.equal(first.image, second.image)
        assert torch.equal(first.labels, second.labels)


def test_samples_are_normalised_as_nnunet_does_and_cover_all_that_can_happen(
    subjects: list[OnDevice],
) -> None:
    generator = Generator(subjects, FRAME)
    methods = set()
    for seed in range(30):
        sample = generator.draw(seed)
        methods.add(sample.method)
        assert torch.isfinite(sample.image).all()
        assert sample.labels.max() <= labels.IGNORED
        assert (sample.method == "none") == (not (sample.labels == labels.ANONYMISED).any())
    assert len(methods) > 6


def test_a_trunk_has_neither_face_nor_anonymised_area(subjects: list[OnDevice]) -> None:
    generator = Generator([s for s in subjects if not s.subject.has_head], FRAME)
    for seed in range(8):
        found = generator.draw(seed).labels
        assert not torch.isin(found, torch.tensor([labels.FACE, labels.ANONYMISED])).any()


def test_a_method_that_is_left_out_is_never_drawn(subjects: list[OnDevice]) -> None:
    kept = "face_box"
    others = [name for name in METHOD_SHARES if name != kept]
    generator = Generator(subjects[:2], FRAME, without=others)
    assert {generator.draw(seed).method for seed in range(12)} <= {"none", kept}


def test_subjects_survive_being_stored(tmp_path: Path, subjects: list[OnDevice]) -> None:

    for subject in (subjects[0].subject, _real_mr()):
        read = load_subject(save_subject(subject, tmp_path))
        assert (read.name, read.person, read.kind) == (subject.name, subject.person, subject.kind)
        assert np.abs(read.depth_mm - subject.depth_mm).max() <= 0.25
        if subject.image is not None and read.image is not None:
            assert np.abs(read.image - subject.image).max() <= 0.002
        if subject.to_template is not None and read.to_template is not None:
            assert np.allclose(read.to_template, subject.to_template)


def _real_mr() -> Subject:
    rng = np.random.default_rng(0)
    image = rng.random((8, 8, 8)).astype(np.float32)
    depth = np.full((8, 8, 8), 3.0, np.float32)
    return Subject("real", "somebody", "body", "MR", (2.0, 2.0, 2.0), depth, image)


def test_a_drawn_head_is_defaced_for_the_demo(head: DrawnHead) -> None:
    array, anonymised = deface_drawn(head, "face_box:zero", 9002)
    assert array.shape == head.array.shape
    assert (head.face & ~anonymised).sum() < 0.4 * head.face.sum()
