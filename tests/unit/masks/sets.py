"""A small data set of small images, and networks that are quick."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import numpy.typing as npt

from dicomnode.domain import ModelIdentity, SegmentKind
from dicomnode.errors import ModelError

# Oblique and left-handed on purpose: masks have to lie as the image does.
AFFINE = np.array(
    [[-2.0, 0.0, 0.0, 20.0], [0.0, 0.0, 3.0, -30.0], [0.0, 2.0, 0.0, 7.0], [0.0, 0.0, 0.0, 1.0]]
)


class Threshold:
    """Calls what is above a value its region."""

    falls: tuple[str, ...] = ()

    def __init__(self, kind: SegmentKind, above: float, name: str = "", *modalities: str) -> None:
        self.identity = ModelIdentity(kind, name or kind.value, "1", "0" * 64)
        self.modalities = modalities or ("CT", "MR")
        self.above = above

    def segment(
        self, array: npt.NDArray[np.float32], spacing_mm: tuple[float, float, float]
    ) -> npt.NDArray[np.uint8]:
        return (array > self.above).astype(np.uint8)


NETWORKS = [Threshold(SegmentKind.FOREGROUND, 50), Threshold(SegmentKind.ANONYMISED_AREA, 200)]


def array() -> npt.NDArray[np.int16]:
    return np.random.default_rng(3).integers(0, 300, (9, 10, 11)).astype(np.int16)


def save(path: Path, voxels: npt.NDArray[np.generic] | None = None) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(array() if voxels is None else voxels, AFFINE), path)
    return path


def load() -> list[Threshold]:
    """What a process of a device calls."""
    return NETWORKS


def load_in_vain() -> list[Threshold]:
    raise ModelError("no such device")
