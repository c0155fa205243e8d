"""Synthetic CT and MR series, written as real files.

The content is a function of patient coordinates (an ellipsoid with a bright ball toward left,
anterior and head), so that a mirrored or shifted volume is found by looking at values.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import (
    UID,
    CTImageStorage,
    ExplicitVRLittleEndian,
    MRImageStorage,
    SecondaryCaptureImageStorage,
)

AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
SAGITTAL = (0.0, 1.0, 0.0, 0.0, 0.0, -1.0)
CORONAL = (1.0, 0.0, 0.0, 0.0, 0.0, -1.0)

_SOP_CLASS: dict[str, UID] = {
    "CT": CTImageStorage,
    "MR": MRImageStorage,
    "OT": SecondaryCaptureImageStorage,
}
_AIR = {"CT": -1000.0, "MR": 0.0}
_NAMESPACE = uuid.UUID("5c0ffee0-0000-4000-8000-00000000da7a")


def make_uid(*parts: object) -> str:
    """The same parts give the same UID, on every machine."""
    return f"2.25.{uuid.uuid5(_NAMESPACE, '/'.join(map(str, parts))).int}"


def oblique(alpha: float, beta: float, gamma: float) -> tuple[float, ...]:
    """ImageOrientationPatient of an axial frame turned about x, y and z, in degrees."""
    a, b, g = np.radians([alpha, beta, gamma])
    rx = np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]])
    ry = np.array([[np.cos(b), 0, np.sin(b)], [0, 1, 0], [-np.sin(b), 0, np.cos(b)]])
    rz = np.array([[np.cos(g), -np.sin(g), 0], [np.sin(g), np.cos(g), 0], [0, 0, 1]])
    turned = rz @ ry @ rx
    return (*turned[:, 0].tolist(), *turned[:, 1].tolist())


def slice_positions(
    orientation: Sequence[float],
    slices: int,
    slice_spacing_mm: float,
    extent_mm: tuple[float, float],
    tilt_degrees: float = 0.0,
    missing: Collection[int] = (),
) -> NDArray[np.float64]:
    """ImagePositionPatient of each slice, (n, 3), the stack centred on the origin.

    A tilted gantry moves each slice along the column direction (downwards in the image).
    """
    row, column = np.array(orientation[:3]), np.array(orientation[3:])
    step = np.cross(row, column) + np.tan(np.radians(tilt_degrees)) * column
    distances = (np.arange(slices) - (slices - 1) / 2) * slice_spacing_mm
    first = -row * extent_mm[1] / 2 - column * extent_mm[0] / 2
    kept = [index for index in range(slices) if index not in set(missing)]
    return np.asarray(first + distances[kept, None] * step)


def head(points_lps_mm: NDArray[np.float64], size_mm: float) -> NDArray[np.float64]:
    """Tissue between 0 and 1 at each point, (..., 3) -> (...): a body and one bright ball."""
    radii = np.array([0.36, 0.44, 0.42]) * size_mm
    body = np.sum((points_lps_mm / radii) ** 2, axis=-1) < 1
    centre = np.array([0.14, -0.16, 0.12]) * size_mm
    ball = np.sum(((points_lps_mm - centre) / (0.12 * size_mm)) ** 2, axis=-1) < 1
    ramp = 0.45 + 0.1 * points_lps_mm[..., 2] / size_mm
    return np.where(ball, 0.95, np.where(body, ramp, 0.0))


def make_series(
    folder: Path,
    *,
    slices: int = 12,
    rows: int = 32,
    columns: int = 32,
    modality: str = "MR",
    orientation: Sequence[float] = AXIAL,
    pixel_spacing_mm: tuple[float, float] = (2.0, 2.0),
    slice_spacing_mm: float = 4.0,
    tilt_degrees: float = 0.0,
    missing: Collection[int] = (),
    positions_mm: NDArray[np.float64] | None = None,
    volume: NDArray[Any] | None = None,
    transfer_syntax: str = ExplicitVRLittleEndian,
    signed: bool = False,
    bits_stored: int = 16,
    slope: float | Sequence[float] | None = None,
    intercept: float = 0.0,
    photometric: str = "MONOCHROME2",
    padding: int | None = None,
    noise: float = 0.01,
    seed: int = 0,
    patient: str = "Synthetic^Head",
    study: str = "study",
    series: str = "series",
    series_number: int = 1,
    without: Collection[str] = (),
    change: Mapping[str, Any] | Callable[[int, FileDataset], None] | None = None,
    reverse_files: bool = False,
) -> list[Path]:
    """Write one series of single-frame objects and return its files in slice order.

    `volume` (slice, row, column) replaces the drawn head; its values are real (rescaled) ones.
    `slope` may differ per slice. `missing` leaves out slices by index; `positions_mm` gives all
    positions. `without` deletes attributes by keyword, `change` sets them (or is called with
    the slice number and the data set) as the last step. `study` and `series` are names: the
    same names give the same UIDs.
    """
    extent = (rows * pixel_spacing_mm[0], columns * pixel_spacing_mm[1])
    if positions_mm is None:
        positions_mm = slice_positions(
            orientation, slices, slice_spacing_mm, extent, tilt_degrees, missing
        )
    if volume is None:
        volume = _draw(positions_mm, orientation, rows, columns, pixel_spacing_mm, modality)
        sigma = noise * (1000.0 if modality == "MR" else 400.0)
        volume = volume + np.random.default_rng(seed).normal(0, sigma, volume.shape)
    if slope is None:
        slope, intercept = (1.0, -1024.0 if not signed else 0.0) if modality == "CT" else (1.0, 0.0)
    slopes = np.broadcast_to(np.asarray(slope, dtype=float), (len(positions_mm),))
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for index, position in enumerate(positions_mm):
        low = -(2 ** (bits_stored - 1)) if signed else 0
        stored = np.rint((volume[index] - intercept) / slopes[index])
        stored = np.clip(stored, low, low + 2**bits_stored - 1)
        if photometric == "MONOCHROME1":
            stored = 2 * low + 2**bits_stored - 1 - stored
        ds = _data_set(modality, patient, study, series, series_number, index)
        ds.ImageOrientationPatient = [f"{value:.12g}" for value in orientation]
        ds.ImagePositionPatient = [f"{value:.12g}" for value in position]
        ds.PixelSpacing = [f"{value:.12g}" for value in pixel_spacing_mm]
        ds.SliceThickness = f"{slice_spacing_mm:.12g}"
        if tilt_degrees:
            ds.GantryDetectorTilt = f"{tilt_degrees:.6g}"
        if modality == "CT" or slopes[index] != 1.0 or intercept:
            ds.RescaleSlope = f"{slopes[index]:.12g}"
            ds.RescaleIntercept = f"{intercept:.12g}"
            ds.RescaleType = "HU" if modality == "CT" else "US"
        _set_pixels(ds, stored, signed, bits_stored, photometric, padding)
        _edit(ds, index, without, change)
        path = folder / f"{index:04d}.dcm"
        write(ds, path, UID(transfer_syntax))
        paths.append(path)
    return paths[::-1] if reverse_files else paths


def _draw(
    positions_mm: NDArray[np.float64],
    orientation: Sequence[float],
    rows: int,
    columns: int,
    pixel_spacing_mm: tuple[float, float],
    modality: str,
) -> NDArray[np.float64]:
    r, c = np.meshgrid(np.arange(rows), np.arange(columns), indexing="ij")
    in_plane = c[..., None] * pixel_spacing_mm[1] * np.array(orientation[:3]) + r[
        ..., None
    ] * pixel_spacing_mm[0] * np.array(orientation[3:])
    size = max(rows * pixel_spacing_mm[0], columns * pixel_spacing_mm[1])
    air = _AIR.get(modality, 0.0)
    full = 1000.0 if modality == "MR" else 1400.0
    tissue = np.stack([head(in_plane + position, size) for position in positions_mm])
    return air + full * tissue


def _data_set(
    modality: str, patient: str, study: str, series: str, number: int, index: int
) -> FileDataset:
    sop_class = _SOP_CLASS.get(modality, MRImageStorage)
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = sop_class
    meta.MediaStorageSOPInstanceUID = UID(make_uid(study, series, "instance", index))
    ds = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    ds.SpecificCharacterSet = "ISO_IR 192"
    ds.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL" if modality == "CT" else "M"]
    ds.SOPClassUID = sop_class
    ds.SOPInstanceUID = meta.MediaStorageSOPInstanceUID
    ds.StudyDate = ds.SeriesDate = ds.AcquisitionDate = ds.ContentDate = "20260102"
    ds.StudyTime = ds.SeriesTime = ds.AcquisitionTime = ds.ContentTime = "101112"
    ds.AccessionNumber = "A1"
    ds.Modality = modality
    ds.Manufacturer = "dicomnode tests"
    ds.ReferringPhysicianName = ""
    ds.StudyDescription = "Synthetic study"
    ds.SeriesDescription = f"Synthetic {series}"
    ds.PatientName = patient
    ds.PatientID = "SYN-" + make_uid("patient", patient)[-8:]
    ds.PatientBirthDate = "19700101"
    ds.PatientSex = "O"
    ds.PatientPosition = "HFS"
    ds.StudyInstanceUID = make_uid(study)
    ds.SeriesInstanceUID = make_uid(study, series)
    ds.StudyID = "1"
    ds.SeriesNumber = str(number)
    ds.InstanceNumber = str(index + 1)
    ds.FrameOfReferenceUID = make_uid(study, "frame of reference")
    ds.PositionReferenceIndicator = ""
    if modality == "CT":
        ds.KVP = "120"
    elif modality == "MR":
        ds.ScanningSequence = "GR"
        ds.SequenceVariant = "MP"
        ds.ScanOptions = ""
        ds.MRAcquisitionType = "3D"
        ds.EchoTime = "3"
        ds.EchoTrainLength = "1"
    return ds


def _set_pixels(
    ds: FileDataset,
    stored: NDArray[np.float64],
    signed: bool,
    bits_stored: int,
    photometric: str,
    padding: int | None,
) -> None:
    width = 8 if bits_stored <= 8 else 16
    values = stored.astype(np.int64)
    if padding is not None:
        values[:2, :] = padding
        ds.PixelPaddingValue = padding
        ds["PixelPaddingValue"].VR = "SS" if signed else "US"
    ds.SamplesPerPixel = 1
    ds.PhotometricInterpretation = photometric
    ds.Rows, ds.Columns = stored.shape
    ds.BitsAllocated, ds.BitsStored, ds.HighBit = width, bits_stored, bits_stored - 1
    ds.PixelRepresentation = int(signed)
    ds.PixelData = values.astype(f"<{'i' if signed else 'u'}{width // 8}").tobytes()
    ds["PixelData"].VR = "OW" if width == 16 else "OB"


def _edit(
    ds: FileDataset,
    index: int,
    without: Collection[str],
    change: Mapping[str, Any] | Callable[[int, FileDataset], None] | None,
) -> None:
    for keyword in without:
        if keyword in ds:
            delattr(ds, keyword)
    if callable(change):
        change(index, ds)
    elif change is not None:
        for keyword, value in change.items():
            setattr(ds, keyword, value)


def write(ds: FileDataset, path: Path, transfer_syntax: UID) -> None:
    if transfer_syntax.is_encapsulated:
        ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        if "PixelData" in ds:
            ds.compress(transfer_syntax, generate_instance_uid=False)
    elif not transfer_syntax.is_little_endian and "PixelData" in ds:
        width = ds.BitsAllocated // 8
        ds.PixelData = np.frombuffer(ds.PixelData, f"<u{width}").astype(f">u{width}").tobytes()
    ds.file_meta.TransferSyntaxUID = transfer_syntax
    ds.set_original_encoding(None, None)
    ds.save_as(
        path,
        implicit_vr=transfer_syntax.is_implicit_VR,
        little_endian=transfer_syntax.is_little_endian,
        enforce_file_format=True,
    )
