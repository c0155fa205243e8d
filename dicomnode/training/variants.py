"""Training volumes from a source: pose, field of view, contrast, faults, defacing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import numpy as np
import numpy.typing as npt
from scipy import ndimage
from scipy.spatial.transform import Rotation

from dicomnode.training import contrast
from dicomnode.training.drawn import Affine, Labels, Mask, Volume
from dicomnode.training.grid import Grid, spacing_of
from dicomnode.training.hard_negatives import FAULTS
from dicomnode.training.simulate import METHOD_SHARES, deface, pick
from dicomnode.training.sources import Source
from dicomnode.training.tissue import Modality

FOREGROUND, FACE, ANONYMISED = 1, 2, 3
SKIN_MM = 6.0
FACE_DEPTH_MM = 24.0

# Chance of each fault; several can meet in one volume.
FAULT_CHANCES = {
    "zeroed_background": 0.3,
    "round_field_of_view": 0.08,
    "constant_border": 0.12,
    "wrapped": 0.05,
}
DEFACED_SHARE = 0.55


@dataclass(frozen=True)
class Variant:
    """`array` (HPL axes); `labels`: 0 background, 1 foreground, 2 face, 3 anonymised."""

    array: Volume
    labels: Labels
    affine: Affine
    method: str


def visible_face(
    body: Mask, face: Mask, anonymised: Mask, spacing_mm: tuple[float, float, float]
) -> Mask:
    """The part of the face box that still shows a face: near skin that nobody touched.

    Skin: face within `SKIN_MM` of air that isn't anonymised. Tissue deeper than `FACE_DEPTH_MM`
    behind such skin (tongue, palate) is no face, nor is what a tool left behind its cut.
    """
    outside: Mask = ~body & ~anonymised
    if not outside.any():
        return np.zeros(body.shape, bool)
    intact: Mask = face & body & ~anonymised
    near_air: Mask = ndimage.distance_transform_edt(~outside, sampling=spacing_mm) <= SKIN_MM
    skin: Mask = intact & near_air
    if not skin.any():
        return skin
    behind_mm: Volume = ndimage.distance_transform_edt(~skin, sampling=spacing_mm)
    return intact & (behind_mm <= FACE_DEPTH_MM)


def label_map(
    body: Mask, face: Mask, anonymised: Mask, spacing_mm: tuple[float, float, float]
) -> Labels:
    """Label values of one volume; see `visible_face` for what counts as face."""
    labels = body.astype(np.uint8) * np.uint8(FOREGROUND)
    labels[visible_face(body, face, anonymised, spacing_mm)] = FACE
    labels[anonymised] = ANONYMISED
    return labels


@dataclass(frozen=True)
class _Placed:
    array: Volume
    body: Mask
    face: Mask
    affine: Affine


def _spacing(rng: np.random.Generator) -> tuple[float, float, float]:
    base = rng.uniform(1.7, 3.2)
    spacing = [base, base, base]
    if rng.random() < 0.5:
        spacing[int(rng.integers(3))] = rng.uniform(2.5, 6.0)
    return (spacing[0], spacing[1], spacing[2])


def _world(source: Source, rng: np.random.Generator) -> Affine:
    """Patient to source: turned, scaled and perhaps mirrored about the middle of the foreground."""
    centre = source.affine[:3, :3] @ np.argwhere(source.foreground).mean(axis=0)
    centre += source.affine[:3, 3]
    world = np.eye(4)
    drawn = source.labels is not None
    if not drawn and rng.random() < 0.6:
        angles = rng.normal(0, 9, 3).clip(-28, 28)
        world[:3, :3] = Rotation.from_euler("xyz", angles, degrees=True).as_matrix()
    scale = rng.uniform(0.92, 1.22) * rng.uniform(0.95, 1.05, 3)
    world[:3, :3] = world[:3, :3] @ np.diag(np.ones(3) if source.kind == "body" else scale)
    if rng.random() < 0.5:
        world[:3, :3] = world[:3, :3] @ np.diag([-1.0, 1.0, 1.0])
    world[:3, 3] = centre - world[:3, :3] @ centre
    return world


def _window(source: Source, rng: np.random.Generator) -> tuple[npt.NDArray[np.float64], ...]:
    """First and last corner of the field of view, in source voxels."""
    shape = np.array(source.foreground.shape, float)
    inside = np.argwhere(source.foreground)
    low, high = inside.min(axis=0).astype(float), inside.max(axis=0).astype(float)
    step = np.linalg.norm(source.affine[:3, :3], axis=0)
    first, last = np.zeros(3), shape - 1
    # Chance that a side is trimmed, and by how many millimetres past the head's edge at most.
    sides = (
        ((0.45, 130.0), (0.12, 60.0)),
        ((0.25, 70.0), (0.12, 50.0)),
        ((0.12, 45.0), (0.12, 45.0)),
    )
    for axis, (lower, upper) in enumerate(sides):
        if rng.random() < lower[0]:
            first[axis] = max(0.0, low[axis] + rng.uniform(-20, lower[1]) / step[axis])
        if rng.random() < upper[0]:
            last[axis] = min(shape[axis] - 1, high[axis] - rng.uniform(-20, upper[1]) / step[axis])
    return first, np.maximum(last, first + 24.0 / step)


def _target(source: Source, world: Affine, rng: np.random.Generator) -> Grid:
    """The window as a grid in the patient; it shrinks with the head where `world` does."""
    first, last = _window(source, rng)
    step = np.linalg.norm(source.affine[:3, :3], axis=0)
    directions = source.affine[:3, :3] / step
    shrink = np.linalg.norm(world[:3, :3] @ directions, axis=0)
    spacing = np.array(_spacing(rng))
    shape = np.maximum(8, ((last - first) * step / shrink / spacing).astype(int))
    affine = np.eye(4)
    affine[:3, :3] = directions * spacing
    middle = source.affine[:3, :3] @ ((first + last) / 2) + source.affine[:3, 3]
    there = np.linalg.solve(world[:3, :3], middle - world[:3, 3])
    affine[:3, 3] = there - affine[:3, :3] @ ((shape - 1) / 2.0)
    return Grid((int(shape[0]), int(shape[1]), int(shape[2])), affine)


def _onto(field: npt.NDArray[np.generic], matrix: Affine, shape: tuple[int, int, int]) -> Volume:
    """Edges are carried outwards, so that a turned scan ends where the array ends."""
    return cast(
        Volume,
        ndimage.affine_transform(
            field.astype(np.float32),
            matrix[:3, :3],
            matrix[:3, 3],
            output_shape=shape,
            output=np.float32,
            order=1,
            mode="nearest",
        ),
    )


def _contrast(source: Source, rng: np.random.Generator) -> tuple[Volume, Modality]:
    if source.labels is not None:
        return contrast.paint_anything(source.labels, rng)
    array = cast(Volume, source.array)
    if source.modality == "CT":
        return array, "CT"
    return contrast.remap(array, rng), "MR"


def _place(source: Source, array: Volume, rng: np.random.Generator) -> _Placed:
    world = _world(source, rng)
    grid = _target(source, world, rng)
    matrix = np.linalg.inv(source.affine) @ world @ grid.affine
    body = _onto(source.foreground, matrix, grid.shape) >= 0.5
    face = _onto(source.face, matrix, grid.shape) >= 0.5
    return _Placed(_onto(array, matrix, grid.shape), body, face & body, grid.affine)


def make_variant(source: Source, rng: np.random.Generator, method: str | None = None) -> Variant:
    """`method`: a name in `simulate.METHODS`, "none", or drawn at random."""
    array, modality = _contrast(source, rng)
    placed = _place(source, array, rng)
    array, body = contrast.degrade(placed.array, modality, rng), placed.body
    if rng.random() < FAULT_CHANCES["zeroed_background"]:
        array, body = FAULTS["zeroed_background"](array, body, rng)
    if method is None:
        method = pick(METHOD_SHARES, rng) if rng.random() < DEFACED_SHARE else "none"
    anonymised = np.zeros(body.shape, bool)
    if method != "none":
        array, anonymised = deface(array, placed.affine, body, placed.face, method, rng)
    for name in ("round_field_of_view", "constant_border", "wrapped"):
        if rng.random() < FAULT_CHANCES[name]:
            array, left = FAULTS[name](array, body | anonymised, rng)
            body, anonymised = body & left, anonymised & left
    spacing_mm = spacing_of(placed.affine)
    labels = label_map(body, placed.face, anonymised, spacing_mm)
    return Variant(array, labels, placed.affine, method if anonymised.any() else "none")
