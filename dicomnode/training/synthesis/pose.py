"""A subject in front of the scanner: turned, scaled, bent, and seen through a field of view."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as nn_f
from scipy.spatial.transform import Rotation

from dicomnode.training.synthesis.scene import Chance, Scene, Tensor
from dicomnode.training.synthesis.subject import OnDevice, Subject, mapped, points_at

Matrix = npt.NDArray[np.float64]
Vector = npt.NDArray[np.float64]
# The middle of the head, and how far it reaches from there: template millimetres, HPL axes.
HEAD_MIDDLE = np.array([0.0, -8.0, -30.0, 1.0])
HEAD_REACH_MM = ((165.0, 118.0), (116.0, 112.0), (92.0, 92.0))  # (toward low, toward high index)
# How heads differ from one another and from themselves: millimetres at most, cells of the field.
BENDS = ((5.0, 6), (8.0, 3))


@dataclass(frozen=True)
class Frame:
    """The grid of one training volume: voxels of `spacing_mm`, axes (head, posterior, left)."""

    shape: tuple[int, int, int]
    spacing_mm: tuple[float, float, float]


@dataclass(frozen=True)
class Placement:
    """`source_index`: (3, *shape) voxel of the subject for each voxel of the frame.

    `seen`: the field of view.
    """

    source_index: Tensor
    seen: Tensor


def place(subject: OnDevice, frame: Frame, chance: Chance) -> Placement:
    """Where the subject lies for the scanner, and how much of it is seen."""
    matrix = _turned_and_scaled(subject.subject, chance)
    lengths_mm, centre_mm = _field_of_view(subject.subject, matrix, chance)
    offset_mm = _window_offset(lengths_mm, frame, chance)
    axes = [
        (torch.arange(n, device=subject.device, dtype=torch.float32) - (n - 1) / 2) * side
        for n, side in zip(frame.shape, frame.spacing_mm, strict=True)
    ]
    per_mm = 1.0 / np.array(subject.subject.spacing_mm)
    to_index = np.eye(4)
    to_index[:3, :3] = matrix * per_mm[:, None]
    to_index[:3, 3] = _middle_index(subject.subject) + to_index[:3, :3] @ (centre_mm + offset_mm)
    index = mapped(to_index, torch.stack(torch.meshgrid(*axes, indexing="ij")))
    for most_mm, cells in BENDS:
        bend_mm = chance.between(0, most_mm)
        for axis in range(3):
            index[axis] += bend_mm * float(per_mm[axis]) * chance.smooth(frame.shape, cells)
    return Placement(index, _seen(axes, lengths_mm, offset_mm))


def _seen(axes: list[Tensor], lengths_mm: Vector, offset_mm: Vector) -> Tensor:
    """The box of `lengths_mm` whose middle lies `offset_mm` from the frame's."""
    z, y, x = (
        (along + offset).abs() <= length / 2
        for along, length, offset in zip(axes, lengths_mm, offset_mm, strict=True)
    )
    box: Tensor = z[:, None, None] & y[None, :, None] & x[None, None, :]
    return box


def _middle_index(subject: Subject) -> Vector:
    """The voxel that the subject turns about."""
    if subject.to_template is not None:
        found: Vector = np.linalg.solve(subject.to_template, HEAD_MIDDLE)[:3]
        return found
    return (np.array(subject.depth_mm.shape) - 1) / 2.0


def _turned_and_scaled(subject: Subject, chance: Chance) -> Matrix:
    """From millimetres in the frame to millimetres in the subject."""
    rng = chance.rng
    spread = 8.0 if rng.random() < 0.75 else 25.0
    if not subject.has_head:
        spread = 5.0
    turn = Rotation.from_euler("xyz", rng.normal(0, spread, 3).clip(-50, 50), degrees=True)
    # Persons from three years on to large adults: larger here means smaller in the frame.
    scale = rng.uniform(0.88, 1.22) * rng.uniform(0.95, 1.05, 3)
    if rng.random() < 0.5:
        scale = scale * np.array([1.0, 1.0, -1.0])
    matrix: Matrix = turn.as_matrix() @ np.diag(scale)
    return matrix


def _field_of_view(subject: Subject, matrix: Matrix, chance: Chance) -> tuple[Vector, Vector]:
    """Lengths of the field of view and where its middle lies from the subject's, both in mm."""
    rng = chance.rng
    if not subject.has_head:
        return _trunk_view(subject, chance)
    shrink = 1.0 / np.abs(np.linalg.det(matrix)) ** (1 / 3)
    low, high = np.zeros(3), np.zeros(3)
    for axis, (before, after) in enumerate(HEAD_REACH_MM):
        low[axis] = -before * shrink - rng.uniform(0, 45)
        high[axis] = after * shrink + rng.uniform(0, 45)
    if chance.happens(0.45):  # the neck, the jaw or all of the lower head
        low[0] += rng.uniform(30, 160)
    if chance.happens(0.12):  # the crown
        high[0] -= rng.uniform(45, 140)
    if chance.happens(0.14):  # the face
        low[1] += rng.uniform(40, 90)
    if chance.happens(0.10):  # the back of the head
        high[1] -= rng.uniform(45, 110)
    if chance.happens(0.10):  # a side
        side = rng.uniform(45, 110)
        if rng.random() < 0.5:
            low[2] += side
        else:
            high[2] -= side
    if chance.happens(0.10):  # a slab
        middle = rng.uniform(low[0], max(low[0], high[0]))
        half = rng.uniform(15, 60)
        low[0], high[0] = max(low[0], middle - half), min(high[0], middle + half)
    middle_mm = _middle_index(subject) * np.array(subject.spacing_mm)
    size_mm = (np.array(subject.depth_mm.shape) - 1) * np.array(subject.spacing_mm)
    low = np.maximum(low, -middle_mm * shrink)  # the scan itself ends here
    high = np.minimum(high, (size_mm - middle_mm) * shrink)
    high = np.maximum(high, low + 25.0)
    return high - low, (low + high) / 2


def _trunk_view(subject: Subject, chance: Chance) -> tuple[Vector, Vector]:
    size = np.array(subject.depth_mm.shape) * np.array(subject.spacing_mm)
    lengths = size * chance.rng.uniform(0.5, 1.0, 3)
    if chance.happens(0.5):
        lengths = np.maximum(lengths, np.minimum(size, 60.0))
    room = np.maximum(0.0, size - lengths) / 2
    return lengths, chance.rng.uniform(-1, 1, 3) * room


def _window_offset(lengths_mm: Vector, frame: Frame, chance: Chance) -> Vector:
    """A field of view larger than the frame is looked at piece by piece, as a predictor does."""
    room = np.maximum(0.0, lengths_mm - np.array(frame.shape) * np.array(frame.spacing_mm)) / 2
    offset: Vector = room * chance.rng.choice([-1.0, 0.0, 1.0], 3)
    return offset


def sampled(fields: Tensor, source_index: Tensor, padding: str = "border") -> Tensor:
    """(c, *source shape) fields at (3, *shape) voxel positions, linear; edges are carried on."""
    shape = fields.shape[1:]
    halves = [max(1.0, (n - 1) / 2.0) for n in shape]
    unit = torch.stack([source_index[axis] / halves[axis] - 1.0 for axis in (2, 1, 0)], dim=-1)
    out = nn_f.grid_sample(
        fields[None].float(), unit[None], mode="bilinear", padding_mode=padding, align_corners=True
    )
    return out[0]


def seen_scene(
    subject: OnDevice, painted: Tensor, is_ct: bool, placement: Placement, frame: Frame
) -> Scene:
    """The subject as the frame sees it."""
    image, depth = sampled(torch.stack([painted, subject.depth_mm]), placement.source_index)
    nothing = torch.zeros(frame.shape, dtype=torch.bool, device=subject.device)
    matrix = subject.subject.to_template
    return Scene(
        image=image,
        body=depth > 0,
        depth_mm=depth,
        seen=placement.seen,
        spacing_mm=frame.spacing_mm,
        is_ct=is_ct,
        points=None if matrix is None else points_at(matrix, placement.source_index),
        anonymised=nothing,
        ambiguous=nothing,
    )
