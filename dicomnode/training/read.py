"""Reads training sources as the node reads what it examines: NIfTI files and DICOM series."""

from __future__ import annotations

import tarfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import numpy.typing as npt
from pydicom.config import disable_value_validation

from dicomnode.config import SeriesSettings
from dicomnode.dicom import nifti
from dicomnode.dicom.header import PARSE_ERRORS, read_data_set, reason, text
from dicomnode.dicom.resample import to_canonical
from dicomnode.dicom.series import SourceStack, sort_series
from dicomnode.dicom.volume import Volume as SourceVolume
from dicomnode.dicom.volume import read_volume
from dicomnode.errors import DicomnodeError
from dicomnode.training.drawn import Affine, Volume
from dicomnode.training.find import Found, Skips
from dicomnode.training.grid import to_hpl
from dicomnode.training.tissue import Modality

LPS_FROM_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
FEWEST_SLICES = 10
# A stack that leans less than this is taken as upright: no reason to interpolate it.
UPRIGHT_DEGREES = 3.0
# Of the time points or echoes of a series one is enough: they show the same head.
SERIES = SeriesSettings(volumes="first")


@dataclass(frozen=True)
class Scan:
    """One volume: HPL axes, `affine` to LPS mm; HU for CT. `file`: for the list of what was
    skipped."""

    name: str
    file: str
    array: Volume
    affine: Affine
    modality: Modality


def _nibabel() -> Any:
    """Imported when needed, and not fully typed."""
    import nibabel

    return nibabel


def read_nifti(path: Path) -> tuple[Volume, Affine]:
    """Voxels and affine (LPS mm), HPL axes; never resampled, so label maps stay what they are."""
    image = _nibabel().load(path)
    array = np.asarray(image.dataobj, dtype=np.float32)
    return to_hpl(array, LPS_FROM_RAS @ np.asarray(image.affine, dtype=np.float64))


def write_nifti(path: Path, array: npt.NDArray[Any], affine: Affine) -> None:
    """Writes voxels with an affine to LPS mm."""
    nibabel = _nibabel()
    nibabel.save(nibabel.Nifti1Image(array, LPS_FROM_RAS @ affine), path)


def read_nifti_scan(path: Path) -> tuple[Volume, Affine]:
    """Voxels and affine (LPS mm), HPL axes; raises `DicomnodeError` for what is no volume."""
    return _upright(nifti.read_nifti(path))


def read_scans(found: Found, skips: Skips) -> Iterator[Scan]:
    """Every usable CT or MR volume; those of DICOM series are numbered by their order."""
    first = found.label(found.paths[0])
    if found.is_nifti:
        with skips.guard(first):
            array, affine = read_nifti_scan(found.paths[0])
            yield Scan(found.name, first, array, affine, nifti.modality_of(array))
        return
    number = 0
    for file, stack in _stacks(found, skips):
        with skips.guard(file):
            volume = read_volume(stack)
            known: Modality = "CT" if volume.modality == "CT" else "MR"
            yield Scan(f"{found.name}_{number}", file, *_upright(volume), known)
            number += 1


def _upright(volume: SourceVolume) -> tuple[Volume, Affine]:
    """Voxels and affine, HPL axes; only what is uneven or leans a lot is interpolated.

    A subject knows the sides of its voxels but not the angles between them.
    """
    geometry = volume.geometry
    if min(geometry.shape) < FEWEST_SLICES:
        raise DicomnodeError(f"a scan of less than {FEWEST_SLICES} slices")
    if geometry.is_evenly_spaced and geometry.tilt_degrees < UPRIGHT_DEGREES:
        return to_hpl(volume.array, geometry.affine_lps)
    canonical = to_canonical(volume)
    return canonical.array, canonical.affine_lps


def _stacks(found: Found, skips: Skips) -> Iterator[tuple[str, SourceStack]]:
    """The volumes-to-be of every series with the file to name them by."""
    first = found.label(found.paths[0])
    with skips.guard(first), _unpacked(found) as paths:
        for series in _series(paths, found, skips):
            file = first if found.is_archive else found.label(series[0])
            with skips.guard(file):
                sorted_series = sort_series(series, SERIES)
                for aside in sorted_series.set_aside:
                    skips.add(file, f"{aside.refusal} ({aside.images} images)")
                for stack in sorted_series.stacks:
                    yield file, stack


@contextmanager
def _unpacked(found: Found) -> Iterator[Sequence[Path]]:
    """The files themselves, or those in the archive while this lasts, in its order."""
    if not found.is_archive:
        yield found.paths
        return
    with TemporaryDirectory(prefix="dicomnode-") as folder, tarfile.open(found.paths[0]) as archive:
        paths = []
        for member in archive:
            if member.isfile():
                archive.extract(member, folder, filter="data")
                paths.append(Path(folder, member.name))
        yield paths


@disable_value_validation()
def _series(paths: Sequence[Path], found: Found, skips: Skips) -> list[list[Path]]:
    """Files of one Series Instance UID, in the order in which their first ones stand."""
    series: dict[str, list[Path]] = {}
    for path in paths:
        try:
            uid = text(read_data_set(path), "SeriesInstanceUID") or ""
        except PARSE_ERRORS as error:
            file = found.label(found.paths[0] if found.is_archive else path)
            skips.add(file, f"no image that can be read: {reason(error)}")
        else:
            series.setdefault(uid, []).append(path)
    return list(series.values())
