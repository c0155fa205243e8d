"""Drawn heads as DICOM series, for `make demo`: nobody's face, and no patient's name."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, MRImageStorage

from dicomnode.dicom.uids import result_uid
from dicomnode.training.drawn import draw_head
from dicomnode.training.drawn_defacing import deface_drawn

_SOP_CLASSES = {"CT": CTImageStorage, "MR": MRImageStorage}


@dataclass(frozen=True)
class DrawnSeries:
    """One series of the demo: what was drawn, and its files."""

    study: str
    description: str
    modality: Literal["CT", "MR"]
    defaced: bool
    seed: int

    @property
    def study_instance_uid(self) -> str:
        return result_uid("demo", self.study)

    @property
    def series_instance_uid(self) -> str:
        return result_uid("demo", self.study, self.modality)


STUDIES = (
    DrawnSeries("intact", "CT-like head, intact", "CT", False, 9001),
    DrawnSeries("intact", "MR-like head, intact", "MR", False, 9001),
    DrawnSeries("defaced", "CT-like head, defaced", "CT", True, 9002),
    DrawnSeries("defaced", "MR-like head, defaced", "MR", True, 9002),
)


def write_series(series: DrawnSeries, folder: Path) -> list[Path]:
    """Draw `series` and write it into `folder`, one axial slice per file."""
    head = draw_head(series.seed, series.modality, spacing_mm=2.0)
    array = head.array
    if series.defaced:
        array, _ = deface_drawn(head, "face_box:zero", series.seed)
    stored = np.clip(np.rint(array), -2000, 4000).astype(np.int16)
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for index, pixels in enumerate(stored):
        position = head.affine @ (index, 0.0, 0.0, 1.0)
        path = folder / f"{index:04d}.dcm"
        _instance(series, index, pixels, position[:3]).save_as(path, enforce_file_format=True)
        paths.append(path)
    return paths


def _instance(
    series: DrawnSeries,
    index: int,
    pixels: npt.NDArray[np.int16],
    position_lps_mm: npt.NDArray[np.float64],
) -> Dataset:
    """One slice: rows toward posterior, columns toward left (PS3.3 C.7.6.2)."""
    ds = Dataset()
    ds.SOPClassUID = _SOP_CLASSES[series.modality]
    ds.SOPInstanceUID = result_uid("demo", series.study, series.modality, str(index))
    ds.StudyInstanceUID = series.study_instance_uid
    ds.SeriesInstanceUID = series.series_instance_uid
    ds.FrameOfReferenceUID = result_uid("demo", series.study, series.modality, "frame")
    ds.PatientName = f"DRAWN^{series.study.upper()}"
    ds.PatientID = f"DRAWN-{series.study.upper()}"
    ds.PatientBirthDate = ds.PatientSex = ds.AccessionNumber = ds.ReferringPhysicianName = ""
    ds.StudyDate = ds.SeriesDate = "20260101"
    ds.StudyTime = ds.SeriesTime = "120000"
    ds.StudyID = "1"
    ds.StudyDescription = f"dicomnode demo: {series.study}"
    ds.SeriesDescription = series.description
    ds.Modality = series.modality
    ds.Manufacturer = "dicomnode demo"
    ds.PositionReferenceIndicator = ""
    ds.SeriesNumber = 1 if series.modality == "CT" else 2
    ds.InstanceNumber = index + 1
    ds.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    ds.PatientPosition = "HFS"
    ds.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    ds.ImagePositionPatient = [round(float(value), 4) for value in position_lps_mm]
    ds.PixelSpacing = [2.0, 2.0]
    ds.SliceThickness = 2.0
    ds.Rows, ds.Columns = pixels.shape
    ds.SamplesPerPixel = 1
    ds.PhotometricInterpretation = "MONOCHROME2"
    ds.BitsAllocated = ds.BitsStored = 16
    ds.HighBit = 15
    ds.PixelRepresentation = 1
    if series.modality == "CT":
        ds.RescaleSlope, ds.RescaleIntercept, ds.RescaleType = 1, 0, "HU"
    else:
        ds.ScanningSequence, ds.SequenceVariant, ds.MRAcquisitionType = "GR", "NONE", "3D"
        ds.ScanOptions = ds.EchoTime = ds.EchoTrainLength = None
    ds.PixelData = pixels.astype("<i2").tobytes()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    return ds
