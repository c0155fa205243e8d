"""Which tissue lies where in a drawn head.

Coordinates are those of the MNI template in millimetres (x right, y anterior, z superior), so
that positions can be read off any atlas; `drawn` scales, bends and turns them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from dicomnode.training.solids import (
    Field,
    Points,
    Solid,
    blend,
    capsule,
    ellipsoid,
    mirrored,
)
from dicomnode.training.tissue import NOT_ANATOMY, Tissue

# The soft-face box in template millimetres. Back and top are those of the face part of
# `mniMask_pydeface_plus_ears` (on the grid of avg152T1); the template ends at the upper lip, so the
# box is carried on to the chin.
FACE_BACK_MM, FACE_TOP_MM, FACE_TOP_SLOPE, FACE_BOTTOM_MM = 24.0, -36.0, 0.18, -156.0
Labels = npt.NDArray[np.uint8]
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Build:
    """What differs from one drawn person to the next; millimetres and plain factors."""

    nose_mm: float = 0.0
    chin_mm: float = 0.0
    jaw_mm: float = 0.0
    cheek_mm: float = 0.0
    ears: bool = True
    shoulders: bool = True
    skin_mm: float = 2.5
    fat_mm: float = 3.0
    skull_mm: float = 6.0
    mouth_open_mm: float = 3.0
    headrest: bool = False

    @staticmethod
    def random(rng: np.random.Generator, headrest: bool) -> Build:
        return Build(
            nose_mm=rng.uniform(-4, 6),
            chin_mm=rng.uniform(-6, 6),
            jaw_mm=rng.uniform(-4, 5),
            cheek_mm=rng.uniform(-4, 6),
            ears=bool(rng.random() < 0.9),
            shoulders=bool(rng.random() < 0.7),
            skin_mm=rng.uniform(1.8, 3.0),
            fat_mm=rng.uniform(1.5, 6.0),
            skull_mm=rng.uniform(4.5, 7.5),
            mouth_open_mm=rng.uniform(1.0, 6.0),
            headrest=headrest,
        )


def _skin_solids(b: Build) -> list[Solid]:
    n, c, j = b.nose_mm, b.chin_mm, b.jaw_mm
    solids = [
        ellipsoid((0, -15, 20), (81, 102, 78)),
        ellipsoid((0, -22, -25), (77, 84, 55)),
        ellipsoid((0, 34, -66), (62 + j / 2, 50, 66)),
        mirrored(capsule((10, 78, -20), (46, 64, -22), 9, 10)),
        mirrored(ellipsoid((38, 56, -70), (24, 24 + b.cheek_mm, 26))),
        mirrored(capsule((56 + j, 2, -82), (28 + j / 2, 54, -126), 16, 15)),
        ellipsoid((0, 66 + c, -128), (34, 24, 20)),
        ellipsoid((0, 78, -100), (24, 16, 14)),
        capsule((0, -28, -70), (0, -42, -240), 57, 58),
    ]
    if b.shoulders:
        solids.append(ellipsoid((0, -48, -275), (200, 80, 75)))
    return [
        *solids,
        capsule((0, 80, -36), (0, 97 + n, -74), 7, 10),
        mirrored(ellipsoid((10, 90 + n / 2, -78), (9, 11, 8))),
    ]


def _skin(p: Points, b: Build) -> Field:
    """Signed distance to the skin, eye sockets and closed lips pressed in, ears added."""
    skin = blend(p, _skin_solids(b), 14.0)
    sockets = mirrored(ellipsoid((31, 84, -42), (15, 9, 9)))(p)
    lips = ellipsoid((0, 98, -101), (20, 7, 1.5))(p)
    skin = np.maximum(np.maximum(skin, -sockets), -lips)
    lids = mirrored(ellipsoid((31, 64, -41), (13, 14, 12)))(p)
    skin = np.minimum(skin, lids)
    if b.ears:
        ear = mirrored(ellipsoid((83, -30, -45), (6, 17, 30)))(p)
        shell = mirrored(ellipsoid((89, -26, -44), (5, 10, 20)))(p)
        skin = np.minimum(skin, np.maximum(ear, -shell))
    return skin


def _outer_layers(p: Points, b: Build, skin: Field, wobble: Field) -> Labels:
    labels = np.zeros(skin.shape, np.uint8)
    if b.headrest:
        rest = np.abs(ellipsoid((0, -20, 10), (105, 118, 400))(p)) - 4.0
        labels[(rest < 0) & np.broadcast_to(p.y < -60, skin.shape)] = Tissue.TABLE
    labels[skin < 0] = Tissue.SKIN
    labels[skin < -b.skin_mm] = Tissue.FAT
    labels[skin < -(b.skin_mm + b.fat_mm + 1.5 * wobble)] = Tissue.MUSCLE
    return labels


def _bones(p: Points, b: Build, labels: Labels, skin: Field, cavity: Field) -> None:
    deep = skin < -(b.skin_mm + 1.0)
    skull = (cavity < b.skull_mm) & deep
    labels[skull] = Tissue.BONE
    labels[skull & (cavity > 0.3 * b.skull_mm) & (cavity < 0.7 * b.skull_mm)] = Tissue.MARROW
    j = b.jaw_mm
    face_bones = [
        mirrored(capsule((49 + j, 8, -72), (46 + j, 18, -116), 6, 7)),
        mirrored(capsule((46 + j, 18, -116), (12, 70 + b.chin_mm, -134), 7, 7)),
        mirrored(capsule((62, 18, -56), (44, 66, -62), 5, 6)),
        mirrored(capsule((14, 78, -24), (52, 60, -28), 5, 5)),
        ellipsoid((0, 52, -86), (30, 28, 14)),
        ellipsoid((0, 68 + b.chin_mm, -130), (16, 8, 9)),
    ]
    labels[(blend(p, face_bones, 3.0) < 0) & deep] = Tissue.BONE
    spine = capsule((0, -38, -78), (0, -44, -260), 13, 14)(p)
    labels[spine < 0] = Tissue.BONE
    labels[spine < -3] = Tissue.MARROW
    gap = np.broadcast_to((p.z % 17.0) < 4.0, spine.shape)
    labels[(spine < 0) & gap] = Tissue.MUSCLE
    canal = capsule((0, -58, -70), (0, -64, -260), 9, 8)(p)
    labels[canal < 0] = Tissue.CSF
    labels[canal < -3.5] = Tissue.WHITE
    arch = mirrored(capsule((24, 52, -104), (6, 76, -104), 4.5, 4.5))(p)
    low = mirrored(capsule((24, 50, -115), (6, 73, -115), 4.5, 4.5))(p)
    labels[(np.minimum(arch, low) < 0) & deep] = Tissue.TEETH


def _brain(p: Points, labels: Labels, cavity: Field, wobble: Field, folds: Field) -> None:
    labels[cavity < 0] = Tissue.CSF
    labels[cavity < -(2.0 + 1.5 * np.maximum(folds, 0.0))] = Tissue.GREY
    labels[cavity < -(7.0 + 4.0 * folds)] = Tissue.WHITE
    falx = np.broadcast_to((np.abs(p.x) < 1.2) & (p.z > 10), cavity.shape)
    labels[falx & (cavity < 0)] = Tissue.CSF
    deep_grey = mirrored(ellipsoid((16, -5, 6), (10, 18, 11)))(p)
    labels[deep_grey < 0] = Tissue.GREY
    ventricle = mirrored(capsule((7, 25, 12), (14, -32, 18), 4, 6))(p)
    labels[ventricle + 1.5 * wobble < 0] = Tissue.CSF
    tent = np.broadcast_to((p.y < -30) & (np.abs(p.z + 14 - 0.2 * (p.y + 30)) < 1.5), cavity.shape)
    labels[tent & (cavity < 0)] = Tissue.CSF


def _soft_organs(p: Points, b: Build, labels: Labels, skin: Field) -> None:
    """Eyes and the air inside; nothing of it breaks the outermost 2 mm."""
    inside = skin < -2.0
    orbit = mirrored(capsule((31, 62, -41), (18, 28, -36), 16, 6))(p)
    labels[(orbit < 0) & inside] = Tissue.FAT
    labels[(mirrored(ellipsoid((31, 61, -41), (12, 12, 12)))(p) < 0) & inside] = Tissue.EYE
    cavities = [
        mirrored(ellipsoid((6, 58, -64), (4.5, 28, 18))),
        mirrored(ellipsoid((31, 46, -72), (12, 15, 14))),
        mirrored(ellipsoid((8, 73, -14), (9, 4, 9))),
        ellipsoid((0, 20, -42), (11, 12, 9)),
        capsule((0, 18, -72), (0, 0, -120), 7, 8),
        capsule((0, 0, -120), (0, -6, -260), 8, 9),
        ellipsoid((0, 56, -109), (16, 24, b.mouth_open_mm)),
    ]
    air = np.minimum.reduce([solid(p) for solid in cavities])
    labels[(air < 0) & inside] = Tissue.CAVITY


def head(p: Points, b: Build, wobble: Field, folds: Field) -> Labels:
    """Tissue labels at the points; `wobble` and `folds` are smooth noise of about unit size."""
    skin = _skin(p, b)
    cerebrum, cerebellum = (
        ellipsoid((0, -17, 19), (69, 86, 61)),
        ellipsoid((0, -58, -38), (54, 42, 30)),
    )
    temporal = mirrored(ellipsoid((40, -8, -24), (26, 36, 20)))
    cavity = blend(p, [cerebrum, cerebellum, temporal], 12.0)
    labels = _outer_layers(p, b, skin, wobble)
    _bones(p, b, labels, skin, cavity)
    _brain(p, labels, cavity, wobble, folds)
    _soft_organs(p, b, labels, skin)
    return labels


def face_box(p: Points) -> Mask:
    """The soft-face box, brow to chin, ears not included: see `FACE_BACK_MM` and the others."""
    top = FACE_TOP_MM + FACE_TOP_SLOPE * (p.y - 30.0)
    box: Mask = (p.y > FACE_BACK_MM) & (p.z < top) & (p.z > FACE_BOTTOM_MM)
    return box


def foreground(labels: Labels) -> Mask:
    """Everything anatomical, inner air included."""
    out: Mask = ~np.isin(labels, [int(t) for t in NOT_ANATOMY])
    return out
