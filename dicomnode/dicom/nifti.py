"""NIfTI files as volumes, and masks back on the same grid."""

from __future__ import annotations

import gzip
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

import nibabel as nib
import numpy as np
from nibabel.arrayproxy import ArrayProxy
from nibabel.filebasedimages import ImageFileError
from nibabel.spatialimages import HeaderDataError
from numpy.typing import NDArray

from dicomnode.dicom.geometry import SliceGeometry
from dicomnode.dicom.header import PARSE_ERRORS, reason
from dicomnode.dicom.pixels import MAXIMUM_VOXELS
from dicomnode.dicom.refusals import refuse
from dicomnode.dicom.resample import CanonicalVolume
from dicomnode.dicom.stack import MINIMUM_SLICES
from dicomnode.dicom.volume import Volume
from dicomnode.domain import RefusalCode

# What nibabel raises on a broken file: its own errors, and those of the parts it is made of.
_READ_ERRORS = (*PARSE_ERRORS, ImageFileError, HeaderDataError, MemoryError)
_RAS_TO_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
_RIGHT_ANGLE = 1e-3
_NO_MR_BELOW = -500.0
_SCANNER = 1  # NIFTI_XFORM_SCANNER_ANAT
# Free text of NIfTI-1 and NIfTI-2, and of the ANALYZE header that the first still carries.
_WORDS = ("data_type", "db_name", "intent_name", "descrip", "aux_file")
_Any = TypeVar("_Any", bound=np.generic)


def read_nifti(path: Path) -> Volume:
    """A 3D NIfTI-1 or NIfTI-2 file; its k, j, i axes become slice, row, column.

    Raises `SeriesRefusedError` where it is no single gray volume or says nothing of orientation.
    """
    try:
        image = _load(path)
        shape = tuple(int(size) for size in image.shape)
        check_shape(shape, image.get_data_dtype())  # type: ignore[no-untyped-call]
        affine = _orientation(image)
        values = _values(path, image).reshape(shape[:3])
    except _READ_ERRORS as error:
        refuse(
            RefusalCode.UNREADABLE_OBJECT, f"{path.name} can't be read as NIfTI: {reason(error)}"
        )
    return volume_of(values, affine)


def modality_of(values: NDArray[np.floating[Any]]) -> Literal["CT", "MR"]:
    """A guess, as the file does not say: Hounsfield units reach far below zero, MR does not."""
    return "CT" if float(values.min()) < _NO_MR_BELOW else "MR"


def volume_of(values: NDArray[np.float32], affine: NDArray[np.float64]) -> Volume:
    """Voxels (i, j, k) as a stack of slices; `affine` takes (i, j, k, 1) to LPS millimetres."""
    array = np.ascontiguousarray(_in_slices(values, affine))
    broken = ~np.isfinite(array)
    warnings: tuple[str, ...] = ()
    if broken.any():
        array[broken] = array[~broken].min() if not broken.all() else 0.0
        warnings = (f"{broken.mean():.1%} of the voxels are no numbers and count as the lowest",)
    return Volume(array, _geometry(affine, values.shape), modality="", warnings=warnings)


def _in_slices(voxels: NDArray[_Any], affine: NDArray[np.float64]) -> NDArray[_Any]:
    """Voxels (i, j, k) as (slice, row, column)."""
    array = voxels.transpose(2, 1, 0)
    return array[::-1] if _is_reversed(affine) else array


def voxels_of(mask: NDArray[_Any], affine: NDArray[np.float64]) -> NDArray[_Any]:
    """Values (slice, row, column) of `volume_of` as voxels (i, j, k)."""
    return (mask[::-1] if _is_reversed(affine) else mask).transpose(2, 1, 0)


@dataclass(frozen=True)
class StoredNifti:
    """`stored` (slice, row, column) as in the file: value = stored * slope + intercept."""

    volume: Volume
    stored: NDArray[Any]
    slope: float
    intercept: float


def read_stored_nifti(path: Path) -> StoredNifti:
    """A file of one volume, as `read_nifti`, with the stored values. Raises as that does."""
    volume = read_nifti(path)
    image = _load(path)
    proxy = _proxy(image)
    stored = np.asarray(proxy.get_unscaled())  # type: ignore[no-untyped-call]
    stored = _in_slices(stored.reshape(stored.shape[:3]), _orientation(image))
    return StoredNifti(volume, stored, float(proxy.slope), float(proxy.inter))


def write_stored_nifti(
    planes: Sequence[NDArray[Any]], like: Path, out: Path, *, without_words: bool
) -> None:
    """Other stored values (slice, row, column) in a file that is `like` byte for byte elsewhere.

    `without_words`: its free text is emptied and extensions are left out, since both may name a
    person. `out` is compressed where its name ends in .gz.
    """
    image = _load(like)
    proxy, affine = _proxy(image), _orientation(image)
    voxels = voxels_of(np.stack(planes), affine).astype(proxy.dtype, copy=False)
    whole = gzip.decompress(like.read_bytes()) if _is_compressed(like) else like.read_bytes()
    data = voxels.tobytes(order="F")
    if without_words:
        head, tail = _without_words(whole, image), b""
    else:
        head, tail = whole[: proxy.offset], whole[proxy.offset + len(data) :]
    made = head + data + tail
    out.write_bytes(gzip.compress(made, mtime=0) if _is_compressed(out) else made)


def _proxy(image: nib.Nifti1Image) -> ArrayProxy:
    """What stands in the file, before anything is rescaled."""
    assert isinstance(image.dataobj, ArrayProxy)
    return image.dataobj


def _without_words(whole: bytes, image: nib.Nifti1Image) -> bytes:
    """The header alone, with the four bytes that say that no extension follows."""
    size = image.header.sizeof_hdr
    header = type(image.header)(binaryblock=whole[:size], check=False)
    for field in _WORDS:
        if field in header:
            header[field] = b""
    header["vox_offset"] = size + 4
    return bytes(header.binaryblock) + bytes(4)


def write_mask_nifti(mask: NDArray[np.uint8], like: Path, out: Path) -> None:
    """A mask (slice, row, column) of `read_nifti(like)` as uint8 on the grid of `like`."""
    image = _load(like)
    affine = _orientation(image)
    voxels = voxels_of(mask, affine)
    if voxels.shape != tuple(image.shape[:3]):
        raise ValueError(f"mask has shape {voxels.shape}, {like.name} {image.shape}")
    header = image.header.copy()  # type: ignore[no-untyped-call]
    header.set_data_dtype(np.uint8)
    header.set_slope_inter(1, 0)
    header["cal_min"] = header["cal_max"] = 0
    result = nib.Nifti1Image(voxels.astype(np.uint8), image.affine, header)  # type: ignore[no-untyped-call]
    result.to_filename(out)


def write_volume_nifti(canonical: CanonicalVolume, out: Path) -> None:
    """The grid that the networks see, as float32 with its place in the patient."""
    write_on_grid(canonical.array, canonical, out)


def write_on_grid(
    array: NDArray[np.float32] | NDArray[np.uint8], canonical: CanonicalVolume, out: Path
) -> None:
    """An array (z, y, x) on the grid that the networks see, such as their mask, in its type."""
    to_ras = _RAS_TO_LPS @ canonical.affine_lps[:, [2, 1, 0, 3]]
    image = nib.Nifti1Image(array.transpose(2, 1, 0), to_ras)  # type: ignore[no-untyped-call]
    image.header.set_xyzt_units("mm")  # type: ignore[no-untyped-call]
    image.set_sform(to_ras, _SCANNER)  # type: ignore[no-untyped-call]
    image.set_qform(to_ras, _SCANNER)  # type: ignore[no-untyped-call]
    out.parent.mkdir(parents=True, exist_ok=True)
    image.to_filename(out)


def _values(path: Path, image: nib.Nifti1Image) -> NDArray[np.float32]:
    """A compressed file is read to its end: its CRC-32 is there, and nibabel stops before it."""
    if not _is_compressed(path):
        return np.asarray(image.dataobj, dtype=np.float32)
    with gzip.open(path) as stream:
        streamed = type(image).from_stream(stream)
        values = np.asarray(streamed.dataobj, dtype=np.float32)
        while stream.read(1 << 20):
            pass
    return values


def _is_compressed(path: Path) -> bool:
    return path.suffix.lower() == ".gz"


def _load(path: Path) -> nib.Nifti1Image:
    """Nifti2Image is one too; other formats that nibabel knows say less about orientation."""
    image = nib.load(path)
    if not isinstance(image, nib.Nifti1Image):
        kind = type(image).__name__
        refuse(RefusalCode.UNREADABLE_OBJECT, f"{path.name} is no NIfTI file but a {kind}")
    return image


def check_shape(shape: tuple[int, ...], kind: np.dtype[np.generic]) -> None:
    """Raises `SeriesRefusedError` unless it is one volume of gray values of a bearable size."""
    if len(shape) < 3 or any(size != 1 for size in shape[3:]):
        refuse(
            RefusalCode.NOT_VOLUMETRIC,
            f"the file holds an array of {' x '.join(map(str, shape))}, not one volume",
            "dim",
            shape,
        )
    if min(shape[:3]) < MINIMUM_SLICES:
        refuse(
            RefusalCode.TOO_FEW_SLICES,
            f"a volume takes {MINIMUM_SLICES} slices or more, the file has {min(shape[:3])}",
            "dim",
            shape,
        )
    if int(np.prod(shape[:3], dtype=np.int64)) > MAXIMUM_VOXELS:
        refuse(RefusalCode.UNREADABLE_PIXELS, "more voxels than the node reads", "dim", shape)
    if kind.fields is not None or kind.kind not in "iuf":
        refuse(RefusalCode.NOT_MONOCHROME, "the voxels are not gray values", "datatype", [kind])


def _orientation(image: nib.Nifti1Image) -> NDArray[np.float64]:
    """(i, j, k, 1) to LPS millimetres."""
    header = image.header
    if not (header["qform_code"] or header["sform_code"]):
        refuse(
            RefusalCode.NO_GEOMETRY,
            "neither qform nor sform is set, so left, front and top are unknown",
            "qform_code, sform_code",
            [0, 0],
        )
    affine = _RAS_TO_LPS @ image.affine
    if not np.isfinite(affine).all() or abs(np.linalg.det(affine[:3, :3])) < 1e-6:
        refuse(RefusalCode.NO_GEOMETRY, "the affine is not invertible", "srow_x, srow_y, srow_z")
    unit = affine[:3, :2] / np.linalg.norm(affine[:3, :2], axis=0)
    if abs(float(unit[:, 0] @ unit[:, 1])) > _RIGHT_ANGLE:
        refuse(
            RefusalCode.NO_GEOMETRY,
            "the first two axes are not at a right angle",
            "srow_x, srow_y, srow_z",
            [f"{float(unit[:, 0] @ unit[:, 1]):.4f}"],
        )
    return np.asarray(affine)


def _is_reversed(affine: NDArray[np.float64]) -> bool:
    """Slices have to grow along the normal, the cross product of the i and j directions."""
    return float(np.linalg.det(affine[:3, :3])) < 0


def _geometry(affine: NDArray[np.float64], shape: tuple[int, ...]) -> SliceGeometry:
    spacing = np.linalg.norm(affine[:3, :2], axis=0)
    steps = np.arange(shape[2])[:: -1 if _is_reversed(affine) else 1]
    return SliceGeometry(
        positions_mm=affine[:3, 3] + steps[:, None] * affine[:3, 2],
        row_cosines=affine[:3, 0] / spacing[0],
        column_cosines=affine[:3, 1] / spacing[1],
        pixel_spacing_mm=(float(spacing[1]), float(spacing[0])),
        rows=shape[1],
        columns=shape[0],
    )
