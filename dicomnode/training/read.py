"""Reads training sources: NIfTI files, DICOM folders and lossless archives of DICOM series.

A minimal reader for classic single-frame series whose slices are evenly spaced; anything else is
left to `dicomnode.dicom`.
"""

from __future__ import annotations

import tarfile
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from pydicom import dcmread
from pydicom.errors import InvalidDicomError

from dicomnode.training.drawn import Affine, Volume
from dicomnode.training.grid import to_hpl
from dicomnode.training.tissue import Modality

LPS_FROM_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
FEWEST_SLICES = 10


@dataclass(frozen=True)
class Scan:
    """One series: HPL axes, `affine` to LPS mm; HU for CT."""

    name: str
    array: Volume
    affine: Affine
    modality: Modality


def _nibabel() -> Any:
    """Imported when needed, and not fully typed."""
    import nibabel

    return nibabel


def read_nifti(path: Path) -> tuple[Volume, Affine]:
    """Voxels and affine (LPS mm), HPL axes."""
    image = _nibabel().load(path)
    array = np.asarray(image.dataobj, dtype=np.float32)
    return to_hpl(array, LPS_FROM_RAS @ np.asarray(image.affine, dtype=np.float64))


def write_nifti(path: Path, array: npt.NDArray[Any], affine: Affine) -> None:
    """Writes voxels with an affine to LPS mm."""
    nibabel = _nibabel()
    nibabel.save(nibabel.Nifti1Image(array, LPS_FROM_RAS @ affine), path)


def _blobs(path: Path) -> Iterator[bytes]:
    if path.is_dir():
        for file in sorted(path.rglob("*")):
            if file.is_file():
                yield file.read_bytes()
        return
    with tarfile.open(path) as archive:
        for member in archive:
            handle = archive.extractfile(member) if member.isfile() else None
            if handle is not None:
                yield handle.read()


def _series_of(path: Path) -> dict[str, list[Any]]:
    series: dict[str, list[Any]] = defaultdict(list)
    for blob in _blobs(path):
        try:
            header = dcmread(BytesIO(blob))
        except InvalidDicomError:
            continue
        if "PixelData" in header and "ImagePositionPatient" in header:
            series[str(header.SeriesInstanceUID)].append(header)
    return series


def _volume_of(slices: list[Any]) -> tuple[Volume, Affine]:
    """PS3.3 C.7.6.2.1.1: columns of the affine are row step, column step and slice step."""
    orient = np.array(slices[0].ImageOrientationPatient, dtype=np.float64)
    across, down = orient[:3], orient[3:]
    normal = np.cross(across, down)
    slices.sort(key=lambda s: float(np.dot(np.array(s.ImagePositionPatient, float), normal)))
    first, last = (np.array(s.ImagePositionPatient, float) for s in (slices[0], slices[-1]))
    row_mm, column_mm = (float(v) for v in slices[0].PixelSpacing)
    affine = np.eye(4)
    affine[:3, 0] = (last - first) / (len(slices) - 1)
    affine[:3, 1] = down * row_mm
    affine[:3, 2] = across * column_mm
    affine[:3, 3] = first
    array = np.stack([_pixels_of(s) for s in slices])
    return to_hpl(array, affine)


def _pixels_of(header: Any) -> Volume:
    slope = float(header.get("RescaleSlope", 1.0))
    intercept = float(header.get("RescaleIntercept", 0.0))
    out: Volume = header.pixel_array.astype(np.float32) * np.float32(slope) + np.float32(intercept)
    return out


def read_dicom(path: Path) -> list[Scan]:
    """Every volumetric CT or MR series in a folder or a tar archive, named by its order."""
    scans: list[Scan] = []
    for slices in _series_of(path).values():
        modality = str(slices[0].get("Modality", ""))
        if len(slices) < FEWEST_SLICES or modality not in ("CT", "MR"):
            continue
        array, affine = _volume_of(slices)
        stem = path.name.split(".")[0]
        known: Modality = "CT" if modality == "CT" else "MR"
        scans.append(Scan(f"{stem}_{len(scans)}", array, affine, known))
    return scans


def read_scans(path: Path) -> list[Scan]:
    """One NIfTI file, one archive, or one folder of DICOM files."""
    if path.name.endswith((".nii", ".nii.gz")):
        array, affine = read_nifti(path)
        modality: Modality = "CT" if array.min() < -500 else "MR"
        return [Scan(path.name.split(".")[0], array, affine, modality)]
    return read_dicom(path)
