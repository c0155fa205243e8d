"""Draws synthetic CT-like and MR-like heads: for `make demo`, tests and training (numpy, scipy)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import numpy as np
import numpy.typing as npt
from scipy import ndimage
from scipy.spatial.transform import Rotation

from dicomnode.training import anatomy
from dicomnode.training.solids import Field, Points
from dicomnode.training.tissue import INTENSITY, Modality, Tissue

Volume = npt.NDArray[np.float32]
Affine = npt.NDArray[np.float64]
Labels = npt.NDArray[np.uint8]
Mask = npt.NDArray[np.bool_]

# Rows: patient L, P, H in millimetres; columns: array axes toward H, P, L.
HPL_TO_LPS = np.array([[0.0, 0.0, 1.0], [0.0, 1.0, 0.0], [1.0, 0.0, 0.0]])
DEFAULT_EXTENT_MM = (256.0, 248.0, 208.0)


@dataclass(frozen=True)
class DrawnHead:
    """A drawn head and what is known about it, all on one grid.

    `array`: float32, axes (toward head, toward posterior, toward left); HU for CT, arbitrary
    units for MR. `affine`: 4x4, array index to LPS millimetres. `labels`: `Tissue` values.
    `face`: foreground inside the soft-face box (brow to chin). `foreground`: anatomy, inner air
    included, table excluded. `to_template`: 4x4, array index to template millimetres (x right,
    y anterior, z superior), the affine map nearest to how this head was bent.
    """

    array: Volume
    affine: Affine
    labels: Labels
    face: Mask
    foreground: Mask
    modality: Modality
    to_template: Affine


@dataclass(frozen=True)
class Pose:
    """From template to patient: scale, then rotation (degrees about L, P, H), then shift."""

    scale: tuple[float, float, float] = (0.92, 0.92, 0.92)
    face_scale: float = 1.0
    rotation_degrees: tuple[float, float, float] = (0.0, 0.0, 0.0)
    shift_lps_mm: tuple[float, float, float] = (0.0, 0.0, 0.0)

    @staticmethod
    def random(rng: np.random.Generator, tilt_degrees: float = 8.0) -> Pose:
        size = rng.uniform(0.84, 0.98)
        x, y, z = (float(size * rng.uniform(0.96, 1.04)) for _ in range(3))
        turn = rng.normal(0.0, tilt_degrees / 2.0, 3).clip(-tilt_degrees, tilt_degrees)
        shift = rng.normal(0.0, 4.0, 3)
        return Pose(
            scale=(x, y, z),
            face_scale=float(rng.uniform(0.86, 1.0)),
            rotation_degrees=(float(turn[0]), float(turn[1]), float(turn[2])),
            shift_lps_mm=(float(shift[0]), float(shift[1]), float(shift[2])),
        )


def centred_affine(shape: tuple[int, int, int], spacing_mm: float, centre_lps_mm: Field) -> Affine:
    """Affine (array index to LPS mm) of an HPL grid whose middle lies at `centre_lps_mm`."""
    affine = np.eye(4)
    affine[:3, :3] = HPL_TO_LPS * spacing_mm
    affine[:3, 3] = centre_lps_mm - affine[:3, :3] @ ((np.array(shape) - 1) / 2.0)
    return affine


def smooth_noise(
    shape: tuple[int, int, int], cells: int, rng: np.random.Generator, order: int = 1
) -> Field:
    """Noise of about unit size that changes over 1/`cells` of the field; float32 of `shape`."""
    coarse = rng.normal(size=(cells, cells, cells)).astype(np.float32)
    factors = [n / cells for n in shape]
    fine = ndimage.zoom(coarse, factors, order=order, mode="nearest", grid_mode=True)
    return cast(Field, fine.astype(np.float32))


def template_points(
    shape: tuple[int, int, int], affine: Affine, pose: Pose, rng: np.random.Generator
) -> Points:
    """Template coordinates (mm) of every voxel, softly bent by up to a few millimetres."""
    index = np.meshgrid(*(np.arange(n, dtype=np.float32) for n in shape), indexing="ij")
    turn = Rotation.from_euler("xyz", pose.rotation_degrees, degrees=True).as_matrix()
    # Turn about the middle of the head (MNI 0, -10, -20), with x and y flipped from LPS.
    to_template = (turn @ np.diag([-1.0, -1.0, 1.0])).T @ affine[:3, :3]
    offset = (turn @ np.diag([-1.0, -1.0, 1.0])).T @ (affine[:3, 3] - np.array(pose.shift_lps_mm))
    x, y, z = (
        sum(np.float32(to_template[r, c]) * index[c] for c in range(3)) + np.float32(offset[r])
        for r in range(3)
    )
    bend = [2.5 * smooth_noise(shape, 5, rng) for _ in range(3)]
    x = x / np.float32(pose.scale[0]) + bend[0]
    y = y / np.float32(pose.scale[1]) + bend[1]
    z = z / np.float32(pose.scale[2]) + bend[2]
    z = np.where(z < -20, -20 + (z + 20) / np.float32(pose.face_scale), z)
    return Points(x.astype(np.float32), y.astype(np.float32), z.astype(np.float32))


def paint(labels: Labels, modality: Modality, rng: np.random.Generator) -> Volume:
    """Intensities with tissue texture, partial volume, shading (MR) and scanner noise."""
    means = np.array([INTENSITY[modality][t] for t in Tissue], np.float32)
    texture = {"CT": 8.0, "MR": 14.0}[modality]
    clean = means[labels] + np.float32(texture) * smooth_noise(labels.shape, 24, rng) * (labels > 0)
    clean = ndimage.gaussian_filter(clean, 0.55)
    normal = rng.standard_normal(labels.shape, dtype=np.float32)
    if modality == "CT":
        return cast(Volume, (clean + 14.0 * normal).astype(np.float32))
    shading = np.exp(0.12 * smooth_noise(labels.shape, 3, rng, order=3))
    other = rng.standard_normal(labels.shape, dtype=np.float32)
    return cast(Volume, np.hypot(clean * shading + 9.0 * normal, 9.0 * other).astype(np.float32))


def draw_labels(
    rng: np.random.Generator,
    shape: tuple[int, int, int],
    affine: Affine,
    build: anatomy.Build,
    pose: Pose,
) -> tuple[Labels, Points]:
    """Tissue labels of one person, and the template coordinates of every voxel."""
    points = template_points(shape, affine, pose, rng)
    wobble = smooth_noise(shape, 9, rng)
    folds = smooth_noise(shape, 28, rng)
    return anatomy.head(points, build, wobble, folds), points


def nearest_affine(points: Points, where: Mask) -> Affine:
    """The affine map from array index to template millimetres that fits best inside `where`."""
    few = np.argwhere(where)[::97]
    index = np.column_stack([few, np.ones(len(few))])
    at = tuple(few.T)
    wanted = np.column_stack([points.x[at], points.y[at], points.z[at]])
    solution = np.linalg.lstsq(index, wanted.astype(np.float64), rcond=None)[0]
    return cast(Affine, np.vstack([solution.T, [0.0, 0.0, 0.0, 1.0]]))


def draw_head(
    seed: int,
    modality: Modality,
    spacing_mm: float = 2.0,
    shape: tuple[int, int, int] | None = None,
    tilt_degrees: float = 8.0,
) -> DrawnHead:
    """One person, the same for the same seed, modality and grid.

    `shape` counts voxels toward (head, posterior, left); by default the grid holds the head from
    crown to neck. The origin of LPS lies in the middle of the template's brain.
    """
    rng = np.random.default_rng(seed)
    if shape is None:
        shape = cast(tuple[int, int, int], tuple(round(e / spacing_mm) for e in DEFAULT_EXTENT_MM))
    affine = centred_affine(shape, spacing_mm, np.array([0.0, 5.0, -26.0], np.float32))
    build = anatomy.Build.random(rng, headrest=modality == "CT" and bool(rng.random() < 0.6))
    pose = Pose.random(rng, tilt_degrees)
    labels, points = draw_labels(rng, shape, affine, build, pose)
    foreground = anatomy.foreground(labels)
    face = anatomy.face_box(points) & foreground
    to_template = nearest_affine(points, face)
    array = paint(labels, modality, rng)
    return DrawnHead(array, affine, labels, face, foreground, modality, to_template)
