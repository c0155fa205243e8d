"""Readers that know nothing of dicomnode, and a comparison of volumes in the patient.

SimpleITK (GDCM) reads each file at its own place, so it judges tilted and uneven stacks too;
dcm2niix sorts a whole folder into volumes by rules of its own, so it judges the sorting.
"""

from __future__ import annotations

import itertools
import subprocess
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dcm2niix
import nibabel as nib
import numpy as np
import SimpleITK as sitk  # noqa: N813
from numpy.typing import NDArray

TOLERANCE_MM = 0.01
_RAS_TO_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
# Files that dcm2niix makes by interpolation, beside the one with the values of the scanner.
_INTERPOLATED = ("_Tilt", "_Eq")


@dataclass(frozen=True)
class ReadVolume:
    """`values` with axes in any order; `affine_lps` takes an index and 1 to patient millimetres."""

    values: NDArray[Any]
    affine_lps: NDArray[np.float64]


def by_simpleitk(path: Path) -> ReadVolume:
    """One file: a slice, or all frames of a multi-frame object on one grid, (z, y, x)."""
    return _of_image(sitk.ReadImage(str(path)))


def series_by_simpleitk(paths: Sequence[Path]) -> ReadVolume:
    """An even stack of single-frame files, put in order by GDCM, (z, y, x)."""
    with tempfile.TemporaryDirectory() as folder:
        _link(paths, Path(folder))
        names = sitk.ImageSeriesReader.GetGDCMSeriesFileNames(folder)
        return _of_image(sitk.ReadImage(names))


def _of_image(image: sitk.Image) -> ReadVolume:
    directions = np.array(image.GetDirection()).reshape(3, 3) * np.array(image.GetSpacing())
    affine = np.eye(4)
    affine[:3, :3] = directions[:, ::-1]
    affine[:3, 3] = image.GetOrigin()
    return ReadVolume(sitk.GetArrayFromImage(image), affine)


def by_dcm2niix(paths: Sequence[Path]) -> list[ReadVolume]:
    """Every volume that dcm2niix makes of these files, (x, y, z), each time point its own."""
    with tempfile.TemporaryDirectory() as source, tempfile.TemporaryDirectory() as result:
        _link(paths, Path(source))
        options = ["-b", "n", "-z", "n", "-p", "n", "-f", "volume", "-o", result]
        subprocess.run([dcm2niix.bin, *options, source], check=True, capture_output=True)
        files = sorted(Path(result).glob("*.nii"))
        tilted = any("_Tilt" in file.name for file in files)
        kept = [file for file in files if not any(word in file.name for word in _INTERPOLATED)]
        return [volume for file in kept for volume in _nifti_volumes(file, tilted)]


def _nifti_volumes(path: Path, tilted: bool) -> list[ReadVolume]:
    image = nib.load(path)
    values = np.asarray(image.dataobj)
    values = values.reshape(*values.shape[:3], -1)
    affine = _RAS_TO_LPS @ image.affine
    if tilted:  # the step has the right direction, but the length of the way along the normal
        normal = np.cross(affine[:3, 0], affine[:3, 1])
        step = affine[:3, 2]
        affine[:3, 2] *= np.linalg.norm(step) * np.linalg.norm(normal) / abs(step @ normal)
    return [ReadVolume(values[..., time], affine) for time in range(values.shape[3])]


def _link(paths: Iterable[Path], folder: Path) -> None:
    for number, path in enumerate(paths):
        (folder / f"{number:05d}.dcm").symlink_to(path.resolve())


def difference(one: ReadVolume, other: ReadVolume, lowest: float = -np.inf) -> str:
    """Where two volumes differ, in words; empty where each voxel of one lies on a voxel of the
    other and holds the same value. Values below `lowest` count as that."""
    mapping = _mapping(one, other)
    turned = np.rint(mapping[:3, :3]).astype(int)
    if not (np.abs(turned).sum(axis=0) == 1).all() or not (np.abs(turned).sum(axis=1) == 1).all():
        return f"the axes don't fit: {np.round(mapping[:3, :3], 4).tolist()}"
    axes = [int(np.flatnonzero(turned[axis])[0]) for axis in range(3)]
    if tuple(one.values.shape[axis] for axis in axes) != other.values.shape:
        return f"shapes {one.values.shape} and {other.values.shape} don't fit"
    flips = tuple(axis for axis in range(3) if turned[axis, axes[axis]] < 0)
    if (off_mm := _farthest_mm(one, other, turned, flips)) > TOLERANCE_MM:
        return f"a corner is off by {off_mm:.4f} mm"
    moved = np.flip(one.values.transpose(axes), flips).astype(np.float64)
    expected = other.values.astype(np.float64)
    wrong = ~np.isclose(
        np.maximum(moved, lowest), np.maximum(expected, lowest), rtol=1e-5, atol=1e-3
    )
    worst = np.abs(moved - expected)[wrong].max(initial=0.0)
    return f"{wrong.sum()} of {wrong.size} values differ by up to {worst:g}" if wrong.any() else ""


def _mapping(one: ReadVolume, other: ReadVolume) -> NDArray[np.float64]:
    """Indices of one to indices of the other, through the patient."""
    return np.linalg.inv(_full(other)) @ _full(one)


def _full(volume: ReadVolume) -> NDArray[np.float64]:
    """An axis with one index has no step: let it be 1 mm along the normal of the others."""
    affine = volume.affine_lps.copy()
    for axis in np.flatnonzero(np.array(volume.values.shape) == 1):
        first, second = (affine[:3, rest] for rest in range(3) if rest != axis)
        normal = np.cross(first, second)
        affine[:3, axis] = normal / np.linalg.norm(normal)
    return affine


def _farthest_mm(
    one: ReadVolume, other: ReadVolume, turned: NDArray[np.int_], flips: tuple[int, ...]
) -> float:
    """How far corners lie from the voxels of the other volume that they are taken for."""
    offset = np.zeros(3)
    offset[list(flips)] = np.array(other.values.shape)[list(flips)] - 1
    ends = [(0, size - 1) for size in one.values.shape]
    corners = np.array(list(itertools.product(*ends)), dtype=float)
    mine = corners @ _full(one)[:3, :3].T + one.affine_lps[:3, 3]
    partners = corners @ turned.T + offset
    theirs = partners @ _full(other)[:3, :3].T + other.affine_lps[:3, 3]
    return float(np.linalg.norm(mine - theirs, axis=1).max())


def unmatched(
    volumes: Sequence[ReadVolume], others: Sequence[ReadVolume], lowest: float = -np.inf
) -> list[str]:
    """What keeps the volumes from being pairs of equals, each of the others taken once."""
    left, problems = list(others), []
    for number, volume in enumerate(volumes):
        reasons: list[str] = []
        for at in _nearest_first(volume, left):
            reasons.append(difference(volume, left[at], lowest))
            if not reasons[-1]:
                del left[at]
                break
        else:
            problems.append(f"volume {number}: {'; '.join(reasons) or 'no partner is left'}")
    return [*problems, f"{len(left)} have no partner"] if left else problems


def _nearest_first(volume: ReadVolume, others: Sequence[ReadVolume]) -> list[int]:
    """The few others whose centre is nearest, and all that share it."""
    middle = _centre(volume)
    far = [float(np.linalg.norm(_centre(other) - middle)) for other in others]
    order = sorted(range(len(far)), key=far.__getitem__)
    return [at for at in order if far[at] <= max(TOLERANCE_MM, far[order[0]])]


def _centre(volume: ReadVolume) -> NDArray[np.float64]:
    index = (np.array(volume.values.shape) - 1) / 2
    return np.asarray(volume.affine_lps[:3, :3] @ index + volume.affine_lps[:3, 3])
