"""NRRD and MetaImage files as volumes, through SimpleITK, and masks on the same grid."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from dicomnode.dicom.nifti import check_shape, volume_of, voxels_of
from dicomnode.dicom.refusals import refuse
from dicomnode.dicom.volume import Volume
from dicomnode.domain import RefusalCode

ITK_SUFFIXES = (".nrrd", ".nhdr", ".mha", ".mhd")
_NRRD_SUFFIXES = (".nrrd", ".nhdr")


def read_itk(path: Path) -> Volume:
    """A 3D gray volume; its k, j, i axes become slice, row, column.

    Raises `SeriesRefusedError` where it is none, or says nothing of orientation.
    """
    header = _header(path)
    _check(header, path)
    try:
        voxels = _simpleitk().GetArrayFromImage(header.Execute())
    except (RuntimeError, MemoryError):
        _refuse_unreadable(path)
    values = np.asarray(voxels, dtype=np.float32).transpose(2, 1, 0)
    return volume_of(values, _affine(header))


def write_mask_itk(mask: NDArray[np.uint8], like: Path, out: Path) -> None:
    """A mask (slice, row, column) of `read_itk(like)` as uint8 on the grid of `like`; the format
    is that of the suffix of `out`."""
    itk, header = _simpleitk(), _header(like)
    voxels = voxels_of(mask, _affine(header))
    if voxels.shape != header.GetSize():
        raise ValueError(f"mask has shape {voxels.shape}, {like.name} {header.GetSize()}")
    image = itk.GetImageFromArray(np.ascontiguousarray(voxels.transpose(2, 1, 0)))
    image.SetSpacing(header.GetSpacing())
    image.SetOrigin(header.GetOrigin())
    image.SetDirection(header.GetDirection())
    itk.WriteImage(image, str(out), useCompression=True)


def _simpleitk() -> Any:
    """Imported when needed: the receiver doesn't, and it has no types."""
    import SimpleITK

    return SimpleITK


def _header(path: Path) -> Any:
    """A reader that knows size and place, and hasn't read a voxel."""
    reader = _simpleitk().ImageFileReader()
    reader.SetFileName(str(path))
    try:
        reader.ReadImageInformation()
    except RuntimeError:
        _refuse_unreadable(path)
    return reader


def _refuse_unreadable(path: Path) -> NoReturn:
    refuse(RefusalCode.UNREADABLE_OBJECT, f"{path.name} can't be read as {path.suffix[1:].upper()}")


def _check(header: Any, path: Path) -> None:
    if header.GetNumberOfComponents() != 1:
        refuse(RefusalCode.NOT_MONOCHROME, "the voxels are not gray values")
    check_shape(header.GetSize(), np.dtype(np.float32))
    has_place = any(key == "NRRD_space" for key in header.GetMetaDataKeys())
    if path.suffix.lower() in _NRRD_SUFFIXES and not has_place:
        refuse(
            RefusalCode.NO_GEOMETRY,
            "the file names no space, so left, front and top are unknown",
            "space",
        )


def _affine(header: Any) -> NDArray[np.float64]:
    """(i, j, k, 1) to LPS millimetres, which are ITK's own."""
    affine = np.eye(4)
    affine[:3, :3] = np.reshape(header.GetDirection(), (3, 3)) * header.GetSpacing()
    affine[:3, 3] = header.GetOrigin()
    return affine
