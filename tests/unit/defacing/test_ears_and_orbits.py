"""What is optional: ears that go, and orbits of which no more goes than the network says."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from scipy import ndimage

from dicomnode.config_defacing import DefacingSettings
from dicomnode.defacing.ears import ear_region
from dicomnode.defacing.grid import depth_mm
from dicomnode.defacing.region import SKIN_MM, Growth, removed_region
from dicomnode.training import anatomy
from dicomnode.training.anatomy import Build
from dicomnode.training.drawn import Pose, centred_affine, draw_head, draw_labels
from dicomnode.training.tissue import Tissue
from tests.unit.defacing.heads import brain_of


def drawn_with_and_without_ears() -> list[np.ndarray]:
    """The foreground of one head, and of the same person without ears."""
    rng = np.random.default_rng(5)
    build, pose = Build.random(rng, headrest=False), Pose.random(rng, 8.0)
    affine = centred_affine((64, 62, 52), 4.0, np.array([0.0, 5.0, -26.0], np.float32))
    found = []
    for ears in (True, False):
        same = np.random.default_rng(7)
        labels, points = draw_labels(same, (64, 62, 52), affine, replace(build, ears=ears), pose)
        found.append(anatomy.foreground(labels))
    return [*found, anatomy.face_box(points) & found[1]]


def test_both_ears_go_and_little_else_of_the_head() -> None:
    eared, earless, face = drawn_with_and_without_ears()
    ears, gone = eared & ~earless, ear_region(eared, face, (4.0, 4.0, 4.0))
    assert ears.sum() * 0.064 > 5
    assert (gone & ears).sum() > 0.95 * ears.sum()
    assert (gone & earless).sum() < 0.5 * ears.sum()


def test_a_head_whose_ears_are_no_flaps_keeps_its_sides() -> None:
    _, earless, face = drawn_with_and_without_ears()
    assert not ear_region(earless, face, (4.0, 4.0, 4.0)).any()


def test_of_the_orbits_no_more_goes_than_the_network_says() -> None:
    """The network's mask ends three millimetres early here; growth takes some of the eyes then."""
    drawn = draw_head(3, "MR", spacing_mm=3.0)
    seen, spacing_mm = ndimage.binary_erosion(drawn.face), (3.0, 3.0, 3.0)
    brain, eyes = brain_of(drawn), (drawn.labels == Tissue.EYE) & ~seen
    growths = (Growth(), Growth(spares_orbits=True))
    grown, spared = (
        removed_region(seen, drawn.foreground, brain, spacing_mm, growth) for growth in growths
    )
    deep = depth_mm(drawn.foreground, spacing_mm) > SKIN_MM
    assert (grown & eyes).sum() > 0.5 * eyes.sum()
    assert (spared & eyes).sum() < 0.1 * eyes.sum()
    assert not (spared & ((deep & ~seen) | brain)).any()
    # The skin goes as before, and the air before it: no shell stays.
    assert not (grown & ~spared & ~deep).any()


def test_another_choice_makes_other_objects_and_the_default_those_of_before() -> None:
    assert DefacingSettings().method == "fill noise, outward 8.0 mm, inward 1.0 mm"
    every = [
        DefacingSettings(),
        DefacingSettings(ears="remove"),
        DefacingSettings(spare_orbits=True),
        DefacingSettings(ears="remove", spare_orbits=True),
    ]
    assert len({settings.method for settings in every}) == len(every)


def test_a_slab_has_no_ears_and_a_face_that_is_all_protected_no_region() -> None:
    slab, nothing = np.zeros((4, 30, 30), bool), np.zeros((4, 30, 30), bool)
    slab[:, 5:25, 5:25] = True
    face = nothing.copy()
    face[2, 5:7, 13:15] = True
    assert not ear_region(slab, face, (4.0, 4.0, 4.0)).any()
    assert not removed_region(face, slab, ~nothing, (4.0, 4.0, 4.0), Growth()).any()
