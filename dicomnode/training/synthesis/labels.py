"""The rules that turn a scene into reference labels.

Foreground: body inside the field of view that nobody replaced. Anonymised area: voxels that a
method replaced, as far as they lie in the original body (inner air included) widened by
`MARGIN_MM`; replaced air further out is ambiguous and left out of the loss. Face: the soft face,
brow to chin, in front of the ears, as far as it lies behind untouched skin.
"""

from __future__ import annotations

import torch

from dicomnode.training.anatomy import (
    FACE_BACK_MM,
    FACE_BOTTOM_MM,
    FACE_TOP_MM,
    FACE_TOP_SLOPE,
)
from dicomnode.training.synthesis.fields import Spacing, grown
from dicomnode.training.synthesis.scene import Points, Scene, Tensor

BACKGROUND, FOREGROUND, FACE, ANONYMISED, IGNORED = 0, 1, 2, 3, 4
MARGIN_MM = 5.0
SKIN_MM = 6.0
FACE_DEPTH_MM = 24.0


def face_box(p: Points) -> Tensor:
    """The soft-face box, as `anatomy.face_box` draws it."""
    top = FACE_TOP_MM + FACE_TOP_SLOPE * (p.y - 30.0)
    return (p.y > FACE_BACK_MM) & (p.z < top) & (p.z > FACE_BOTTOM_MM)


def visible_face(
    body: Tensor, box: Tensor, anonymised: Tensor, seen: Tensor, spacing_mm: Spacing
) -> Tensor:
    """The part of the face box that still shows a face: near skin that nobody touched.

    Skin: face within `SKIN_MM` of air that is seen and isn't anonymised. Tissue deeper than
    `FACE_DEPTH_MM` behind such skin (tongue, palate) is no face, nor is what a tool left behind
    its cut.
    """
    outside = seen & ~body & ~anonymised
    intact = box & body & ~anonymised
    skin = intact & grown(outside, SKIN_MM, spacing_mm)
    if not bool(skin.any()):
        return skin
    return intact & grown(skin, FACE_DEPTH_MM, spacing_mm)


def label_map(scene: Scene) -> Tensor:
    """uint8 labels: `BACKGROUND`, `FOREGROUND`, `FACE`, `ANONYMISED`, `IGNORED`."""
    body = scene.body & scene.seen
    labels = torch.zeros(body.shape, dtype=torch.uint8, device=body.device)
    labels[body] = FOREGROUND
    if scene.points is not None:
        box = face_box(scene.points)
        covered = scene.anonymised | scene.ambiguous
        labels[visible_face(body, box, covered, scene.seen, scene.spacing_mm)] = FACE
    labels[scene.anonymised] = ANONYMISED
    labels[scene.ambiguous & ~scene.anonymised] = IGNORED
    return labels
