"""Simulated defacing: a cut, a fill, and the mask of what was replaced."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from dicomnode.training.synthesis.cuts import draw_cut
from dicomnode.training.synthesis.fields import blurred, grown
from dicomnode.training.synthesis.fills import ANY_FILL, EMPTY_FILL, FILLS, SURFACE_FILL
from dicomnode.training.synthesis.labels import MARGIN_MM
from dicomnode.training.synthesis.scene import Chance, Scene, Tensor


@dataclass(frozen=True)
class Method:
    """A cut, and how often each fill goes with it."""

    cut: str
    fills: Mapping[str, float]


METHODS: dict[str, Method] = {
    "face_box": Method("face_box", ANY_FILL),
    "plane": Method("plane", ANY_FILL),
    "plane_of_face": Method("plane_of_face", ANY_FILL),
    "face_and_ears": Method("face_and_ears", ANY_FILL),
    "half_face": Method("half_face", ANY_FILL),
    "skin_shell": Method("skin_shell", ANY_FILL),
    "surface_blur": Method("skin_shell", {"blur": 1.0}),
    "box_blur": Method("face_box", {"blur": 1.0}),
    "round_the_face": Method("round_the_face", ANY_FILL | SURFACE_FILL),
    "skull_strip": Method("skull_strip", EMPTY_FILL),
    "below_the_brow": Method("below_the_brow", EMPTY_FILL),
}
# Cuts that another face can be put into.
REFACED_CUTS = {"face_box": 0.6, "face_and_ears": 0.2, "round_the_face": 0.2}
METHOD_SHARES = {
    "face_box": 0.20,
    "plane": 0.10,
    "plane_of_face": 0.07,
    "face_and_ears": 0.12,
    "half_face": 0.07,
    "skin_shell": 0.08,
    "surface_blur": 0.07,
    "box_blur": 0.03,
    "round_the_face": 0.07,
    "skull_strip": 0.06,
    "below_the_brow": 0.02,
    "reface": 0.11,
}


def deface(scene: Scene, method: str, chance: Chance) -> Scene:
    """The scene after one of `METHODS`, or "cut:fill" of `CUTS` and `FILLS`; no head, no change."""
    if scene.points is None:
        return scene
    if ":" in method:
        cut_name, fill_name = method.split(":")
    else:
        cut_name = METHODS[method].cut
        fill_name = chance.one_of(METHODS[method].fills)
    return replaced(
        scene, draw_cut(cut_name, scene, chance), FILLS[fill_name](scene, chance), chance
    )


def reface(scene: Scene, other: Tensor, other_body: Tensor, chance: Chance) -> Scene:
    """Another head's face in place of this one's (mri_reface, afni_refacer).

    `other`: that head's image where this one's voxels lie; its brightness is brought to this one's.
    """
    if scene.points is None or not bool((other_body & scene.body).any()):
        return scene
    cut = draw_cut(chance.one_of(REFACED_CUTS), scene, chance)
    own, theirs = scene.image[scene.body], other[other_body]
    gain = own.std() / theirs.std().clamp(min=1e-6)
    matched = (other - theirs.mean()) * gain + own.mean()
    if not scene.is_ct:
        matched = matched.clamp(min=scene.lowest)
    wide = replace(scene, body=scene.body | (other_body & cut))
    out = replaced(wide, cut, matched, chance)
    return replace(out, body=scene.body)


def replaced(scene: Scene, cut: Tensor, fill: Tensor, chance: Chance) -> Scene:
    """`fill` inside `cut`, with a hard or soft edge, and what is known of it."""
    near = grown(scene.body, MARGIN_MM, scene.spacing_mm)
    cut = cut & scene.seen
    if chance.happens(0.3):
        cut = cut & near  # tools that leave the air alone
    image, changed = _blend(scene.image, fill, cut, chance)
    return replace(
        scene,
        image=image,
        anonymised=scene.anonymised | (changed & near),
        ambiguous=scene.ambiguous | (changed & ~near),
    )


def _blend(image: Tensor, fill: Tensor, cut: Tensor, chance: Chance) -> tuple[Tensor, Tensor]:
    if chance.happens(0.65):
        return image.where(~cut, fill), cut
    soft_voxels = chance.between(0.4, 1.1)
    weight = blurred(cut.float(), (soft_voxels, soft_voxels, soft_voxels))
    return weight * fill + (1 - weight) * image, weight >= 0.5
