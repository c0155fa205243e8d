"""A person, or a trunk, that training volumes are drawn from."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import torch
from scipy import ndimage

from dicomnode.training.drawn import Affine, Labels, Mask, Volume
from dicomnode.training.synthesis.scene import DEPTH_LIMIT_MM, Points, Tensor
from dicomnode.training.tissue import Modality

_DEPTH_STEPS_PER_MM = 2  # as stored: int8 half millimetres


@dataclass(frozen=True)
class Subject:
    """Arrays with axes (head, posterior, left) on one regular grid.

    `image`: a real scan (HU in CT; 0 to about 1 in MR); `tissue`: drawn anatomy instead.
    `depth_mm`: see `Scene`. `to_template`: 4x4, voxel index to template millimetres (x right,
    y anterior, z superior); None where there is no head.
    """

    name: str
    person: str
    kind: str
    modality: Modality
    spacing_mm: tuple[float, float, float]
    depth_mm: Volume
    image: Volume | None = None
    tissue: Labels | None = None
    to_template: Affine | None = None

    @property
    def has_head(self) -> bool:
        return self.to_template is not None


def depth_of(body: Mask, spacing_mm: tuple[float, float, float]) -> Volume:
    """Distance to the body's surface in millimetres, negative outside.

    The edge of the array is no surface: what lies beyond it is unknown.
    """
    if body.all() or not body.any():
        return np.full(body.shape, DEPTH_LIMIT_MM if body.any() else -DEPTH_LIMIT_MM, np.float32)
    half = min(spacing_mm) / 2
    inside = ndimage.distance_transform_edt(body, sampling=spacing_mm) - half
    outside = ndimage.distance_transform_edt(~body, sampling=spacing_mm) - half
    depth = np.where(body, inside, -outside)
    return cast(Volume, depth.clip(-DEPTH_LIMIT_MM, DEPTH_LIMIT_MM).astype(np.float32))


def save_subject(subject: Subject, folder: Path) -> Path:
    """One compressed file; depth in half millimetres, real voxels in half precision."""
    arrays: dict[str, Any] = {
        "depth": np.round(subject.depth_mm * _DEPTH_STEPS_PER_MM).astype(np.int8),
        "spacing_mm": np.array(subject.spacing_mm),
    }
    if subject.image is not None:
        arrays["image"] = _stored(subject.image, subject.modality)
    if subject.tissue is not None:
        arrays["tissue"] = subject.tissue
    if subject.to_template is not None:
        arrays["to_template"] = subject.to_template
    path = folder / f"{subject.name}.npz"
    named = np.array([subject.name, subject.person, subject.kind, subject.modality])
    np.savez_compressed(path, names=named, **arrays)
    return path


def _stored(image: Volume, modality: Modality) -> npt.NDArray[np.generic]:
    """CT in whole HU; MR in 1/500 of its brightest tissue, which is below any scanner's noise."""
    if modality == "CT":
        return np.round(image).astype(np.int16)
    return np.round(image.clip(0, 4) * 500).astype(np.int16)


def load_subject(path: Path) -> Subject:
    with np.load(path, allow_pickle=False) as file:
        name, person, kind, modality = (str(value) for value in file["names"])
        a, b, c = (float(side) for side in file["spacing_mm"])
        image = file["image"].astype(np.float32) if "image" in file else None
        if image is not None and modality == "MR":
            image /= 500
        return Subject(
            name,
            person,
            kind,
            cast(Modality, modality),
            (a, b, c),
            file["depth"].astype(np.float32) / _DEPTH_STEPS_PER_MM,
            image,
            file.get("tissue"),
            file.get("to_template"),
        )


class OnDevice:
    """A subject's tensors, kept on one device while a training runs."""

    def __init__(self, subject: Subject, device: torch.device) -> None:
        self.subject = subject
        self.device = device
        self.depth_mm = torch.as_tensor(subject.depth_mm, device=device)
        self.body = self.depth_mm > 0
        self.image = self._on(subject.image)
        self.tissue = None
        if subject.tissue is not None:
            self.tissue = torch.as_tensor(subject.tissue, device=device).long()

    def _on(self, array: Volume | None) -> Tensor | None:
        return None if array is None else torch.as_tensor(array, device=self.device)

    @property
    def shape(self) -> tuple[int, int, int]:
        a, b, c = self.depth_mm.shape
        return (a, b, c)

    def points(self) -> Points | None:
        """Template coordinates of the subject's own voxels."""
        matrix = self.subject.to_template
        return None if matrix is None else points_of(matrix, self.shape, self.device)


def points_of(to_template: Affine, shape: tuple[int, ...], device: torch.device) -> Points:
    """Template coordinates of every voxel of a grid."""
    index = torch.meshgrid(
        *(torch.arange(n, device=device, dtype=torch.float32) for n in shape), indexing="ij"
    )
    return points_at(to_template, torch.stack(index))


def points_at(to_template: Affine, index: Tensor) -> Points:
    """Template coordinates at (3, ...) voxel positions."""
    return Points(*mapped(to_template, index))


def mapped(matrix: Affine, at: Tensor) -> Tensor:
    """A 4x4 affine applied to (3, ...) positions."""
    rotation = torch.as_tensor(matrix[:3, :3], dtype=torch.float32, device=at.device)
    offset = torch.as_tensor(matrix[:3, 3], dtype=torch.float32, device=at.device)
    turned: Tensor = torch.tensordot(rotation, at, dims=1)
    return turned + offset.view(3, *[1] * (at.ndim - 1))
