"""Synthetic multi-frame series: Enhanced and Legacy Converted Enhanced CT and MR, real files.

Enhanced objects follow PS3.3 A.36 and A.38, with the functional groups of C.7.6.16 either shared
or per frame; `dciodvfy` finds no error in them (tests/unit/dicom/test_multiframe.py).
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import highdicom.legacy
import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.datadict import tag_for_keyword
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import (
    UID,
    EnhancedCTImageStorage,
    EnhancedMRImageStorage,
    ExplicitVRLittleEndian,
)

from tests.factories import AXIAL, head, make_uid, slice_positions, write

_SOP_CLASS = {"CT": EnhancedCTImageStorage, "MR": EnhancedMRImageStorage}
_IMAGE_TYPE = ["DERIVED", "PRIMARY", "VOLUME", "NONE"]


@dataclass(frozen=True)
class Group:
    """What makes one volume: all frames that share this."""

    stack: int = 1
    time: int = 1
    echo_time_ms: float | None = None
    b_value: float | None = None
    direction: tuple[float, float, float] | None = None


@dataclass(frozen=True)
class Multiframe:
    """The files, and for each group its real values and positions in order of slices."""

    paths: list[Path]
    groups: tuple[Group, ...]
    values: tuple[NDArray[np.float64], ...]
    positions_mm: tuple[NDArray[np.float64], ...]


@dataclass(frozen=True)
class _Frame:
    group: Group
    index: int  # within its group
    orientation: Sequence[float]
    position_mm: NDArray[np.float64]
    stored: NDArray[np.uint16]
    slope: float
    intercept: float


def make_multiframe(
    folder: Path,
    *,
    modality: str = "MR",
    groups: Sequence[Group] = (Group(),),
    orientations: Sequence[Sequence[float]] = (AXIAL,),
    slices: int = 8,
    rows: int = 36,
    columns: int = 34,
    pixel_spacing_mm: tuple[float, float] = (2.0, 2.5),
    slice_spacing_mm: float = 4.0,
    tilt_degrees: float = 0.0,
    missing: Collection[int] = (),
    slopes: Sequence[float] = (1.0,),
    shared_orientation: bool | None = None,
    without_shared_groups: bool = False,
    shuffled: bool = False,
    objects: int = 1,
    transfer_syntax: str = ExplicitVRLittleEndian,
    study: str = "study",
    series: str = "multiframe",
    change: Callable[[int, FileDataset], None] | None = None,
) -> Multiframe:
    """One series of `objects` objects (more than one: a concatenation, C.7.6.16.2.2.4).

    Stack n lies in `orientations[n - 1]`. `slopes` are taken in turn, frame by frame. The plane
    orientation is shared where there is one, unless `shared_orientation` is False;
    `without_shared_groups` writes every group per frame and no shared sequence, as Siemens XA did.
    `change` is called with the number of the object and its data set as the last step.
    """
    extent = (rows * pixel_spacing_mm[0], columns * pixel_spacing_mm[1])
    intercept = -1024.0 if modality == "CT" else 0.0
    taken = itertools.cycle(slopes)
    frames: list[_Frame] = []
    for number, group in enumerate(groups):
        orientation = orientations[group.stack - 1]
        positions = slice_positions(
            orientation, slices, slice_spacing_mm, extent, tilt_degrees, missing
        )
        drawn = _draw(positions, orientation, (rows, columns), pixel_spacing_mm)
        for index, plane in enumerate(drawn * (1000.0 - 150.0 * number)):
            slope = next(taken)
            stored = np.rint(plane / slope).astype(np.uint16)
            place = positions[index]
            frames.append(_Frame(group, index, orientation, place, stored, slope, intercept))
    if shared_orientation is None:
        shared_orientation = len(orientations) == 1
    ordered = list(frames)
    if shuffled:
        np.random.default_rng(7).shuffle(ordered)
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    parts = np.array_split(np.arange(len(ordered)), objects)
    for number, part in enumerate(parts):
        ds = _data_set(modality, study, series, number)
        _dimensions(ds, groups, make_uid(study, series, "dimensions"))
        if objects > 1:
            _concatenation(ds, number, objects, int(part[0]), make_uid(study, series, "whole"))
        chosen = [ordered[at] for at in part]
        _functional_groups(
            ds, chosen, groups, modality, pixel_spacing_mm, slice_spacing_mm, shared_orientation
        )
        if without_shared_groups:
            _share_nothing(ds)
        _pixels(ds, chosen)
        if change is not None:
            change(number, ds)
        path = folder / f"{number:04d}.dcm"
        write(ds, path, UID(transfer_syntax))
        paths.append(path)
    of_group = [[frame for frame in frames if frame.group == group] for group in groups]
    return Multiframe(
        paths,
        tuple(groups),
        tuple(
            np.stack([frame.stored * frame.slope + frame.intercept for frame in each])
            for each in of_group
        ),
        tuple(np.stack([frame.position_mm for frame in each]) for each in of_group),
    )


def convert_to_legacy(paths: Sequence[Path], folder: Path, series: str = "legacy") -> Path:
    """highdicom's Legacy Converted Enhanced object (PS3.3 A.70, A.71) of a single-frame series."""
    sources = [pydicom.dcmread(path) for path in paths]
    for source in sources:  # what the object needs and the factory leaves out
        source.WindowCenter, source.WindowWidth = 500, 1000
    name = f"LegacyConvertedEnhanced{sources[0].Modality}Image"
    converted = getattr(highdicom.legacy, name)(
        sources,
        series_instance_uid=make_uid(series),
        series_number=99,
        sop_instance_uid=make_uid(series, "instance"),
        instance_number=1,
    )
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "legacy.dcm"
    converted.save_as(path, enforce_file_format=True)
    return path


def _draw(
    positions_mm: NDArray[np.float64],
    orientation: Sequence[float],
    shape: tuple[int, int],
    pixel_spacing_mm: tuple[float, float],
) -> NDArray[np.float64]:
    r, c = np.meshgrid(np.arange(shape[0]), np.arange(shape[1]), indexing="ij")
    in_plane = c[..., None] * pixel_spacing_mm[1] * np.array(orientation[:3]) + r[
        ..., None
    ] * pixel_spacing_mm[0] * np.array(orientation[3:])
    size = max(shape[0] * pixel_spacing_mm[0], shape[1] * pixel_spacing_mm[1])
    planes = np.stack([head(in_plane + position, size) for position in positions_mm])
    # Each slice has a mark of its own, so that swapped slices are found by their values.
    return planes + 0.002 * np.arange(1, len(planes) + 1)[:, None, None]


def _data_set(modality: str, study: str, series: str, number: int) -> FileDataset:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = _SOP_CLASS[modality]
    meta.MediaStorageSOPInstanceUID = UID(make_uid(study, series, "object", number))
    ds = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    ds.SpecificCharacterSet = "ISO_IR 192"
    ds.ImageType = _IMAGE_TYPE
    ds.SOPClassUID = meta.MediaStorageSOPClassUID
    ds.SOPInstanceUID = meta.MediaStorageSOPInstanceUID
    ds.StudyDate = ds.SeriesDate = ds.ContentDate = "20260102"
    ds.StudyTime = ds.SeriesTime = ds.ContentTime = "101112"
    ds.AcquisitionDateTime = "20260102101112"
    ds.AccessionNumber = "A1"
    ds.Modality = modality
    ds.Manufacturer = "dicomnode tests"
    ds.ManufacturerModelName = "multiframe"
    ds.DeviceSerialNumber = "1"
    ds.SoftwareVersions = "1"
    ds.ReferringPhysicianName = ""
    ds.PatientName = "Synthetic^Head"
    ds.PatientID = "SYN-1"
    ds.PatientBirthDate = "19700101"
    ds.PatientSex = "O"
    ds.PatientPosition = "HFS"
    ds.StudyInstanceUID = make_uid(study)
    ds.SeriesInstanceUID = make_uid(study, series)
    ds.StudyID = "1"
    ds.SeriesNumber = "1"
    ds.InstanceNumber = str(number + 1)
    ds.FrameOfReferenceUID = make_uid(study, "frame of reference")
    ds.PositionReferenceIndicator = ""
    ds.AcquisitionContextSequence = []
    ds.PixelPresentation = "MONOCHROME"
    ds.VolumetricProperties = "VOLUME"
    ds.VolumeBasedCalculationTechnique = "NONE"
    ds.BurnedInAnnotation = "NO"
    ds.LossyImageCompression = "00"
    ds.PresentationLUTShape = "IDENTITY"
    ds.ContentQualification = "RESEARCH"
    if modality == "MR":
        ds.ComplexImageComponent = "MAGNITUDE"
        ds.AcquisitionContrast = "UNKNOWN"
        ds.ApplicableSafetyStandardAgency = "IEC"
        ds.ResonantNucleus = "1H"
        ds.KSpaceFiltering = "NONE"
        ds.MagneticFieldStrength = 3.0
    return ds


def _dimensions(ds: FileDataset, groups: Sequence[Group], uid: str) -> None:
    """Stack and place in it, and what else differs (PS3.3 C.7.6.17)."""
    ds.DimensionOrganizationSequence = [_item(DimensionOrganizationUID=uid)]
    pointers = [("StackID", "FrameContentSequence")]
    pointers += [("InStackPositionNumber", "FrameContentSequence")]
    pointers += [pointer for pointer, _ in _differing(groups)]
    ds.DimensionIndexSequence = [
        _item(
            DimensionOrganizationUID=uid,
            DimensionIndexPointer=tag_for_keyword(keyword),
            FunctionalGroupPointer=tag_for_keyword(sequence),
        )
        for keyword, sequence in pointers
    ]


def _differing(
    groups: Sequence[Group],
) -> list[tuple[tuple[str, str], Callable[[Group], Any]]]:
    candidates: list[tuple[tuple[str, str], Callable[[Group], Any]]] = [
        (("TemporalPositionIndex", "FrameContentSequence"), lambda group: group.time),
        (("EffectiveEchoTime", "MREchoSequence"), lambda group: group.echo_time_ms),
        (("DiffusionBValue", "MRDiffusionSequence"), lambda group: group.b_value),
        (
            ("DiffusionGradientOrientation", "MRDiffusionSequence"),
            lambda group: group.direction,
        ),
    ]
    return [each for each in candidates if len({each[1](group) for group in groups}) > 1]


def _concatenation(ds: FileDataset, number: int, total: int, offset: int, source: str) -> None:
    ds.ConcatenationUID = make_uid(source, "concatenation")
    ds.SOPInstanceUIDOfConcatenationSource = source
    ds.InConcatenationNumber = number + 1
    ds.InConcatenationTotalNumber = total
    ds.ConcatenationFrameOffsetNumber = offset


def _functional_groups(
    ds: FileDataset,
    frames: Sequence[_Frame],
    groups: Sequence[Group],
    modality: str,
    pixel_spacing_mm: tuple[float, float],
    slice_spacing_mm: float,
    shared_orientation: bool,
) -> None:
    shared = _item(
        PixelMeasuresSequence=[
            _item(
                PixelSpacing=list(pixel_spacing_mm),
                SliceThickness=slice_spacing_mm,
                SpacingBetweenSlices=slice_spacing_mm,
            )
        ],
        FrameAnatomySequence=[
            _item(
                FrameLaterality="U",
                AnatomicRegionSequence=[
                    _item(CodeValue="69536005", CodingSchemeDesignator="SCT", CodeMeaning="Head")
                ],
            )
        ],
    )
    if modality == "CT":
        event = _item(IrradiationEventUID=make_uid("irradiation event"))
        shared.IrradiationEventIdentificationSequence = [event]
    if shared_orientation:
        shared.PlaneOrientationSequence = [_orientation(frames[0])]
    setattr(shared, f"{modality}ImageFrameTypeSequence", [_frame_type(modality)])
    ds.SharedFunctionalGroupsSequence = [shared]
    ds.PerFrameFunctionalGroupsSequence = [
        _per_frame(frame, groups, modality, shared_orientation) for frame in frames
    ]


def _per_frame(
    frame: _Frame, groups: Sequence[Group], modality: str, shared_orientation: bool
) -> Dataset:
    group = frame.group
    indices = [group.stack, frame.index + 1]
    for _, value in _differing(groups):
        known = list(dict.fromkeys(value(each) for each in groups))
        indices.append(known.index(value(group)) + 1)
    item = _item(
        FrameContentSequence=[
            _item(
                StackID=str(group.stack),
                InStackPositionNumber=frame.index + 1,
                TemporalPositionIndex=group.time,
                DimensionIndexValues=indices,
            )
        ],
        PlanePositionSequence=[
            _item(ImagePositionPatient=[f"{value:.10g}" for value in frame.position_mm])
        ],
    )
    kind = "HU" if modality == "CT" else "US"
    transformation = _item(
        RescaleIntercept=frame.intercept, RescaleSlope=frame.slope, RescaleType=kind
    )
    item.PixelValueTransformationSequence = [transformation]
    if not shared_orientation:
        item.PlaneOrientationSequence = [_orientation(frame)]
    if group.echo_time_ms is not None:
        item.MREchoSequence = [_item(EffectiveEchoTime=group.echo_time_ms)]
    if group.b_value is not None:
        item.MRDiffusionSequence = [_diffusion(group)]
    return item


def _orientation(frame: _Frame) -> Dataset:
    return _item(ImageOrientationPatient=[f"{value:.10g}" for value in frame.orientation])


def _frame_type(modality: str) -> Dataset:
    item = _item(
        FrameType=_IMAGE_TYPE,
        PixelPresentation="MONOCHROME",
        VolumetricProperties="VOLUME",
        VolumeBasedCalculationTechnique="NONE",
    )
    if modality == "MR":
        item.ComplexImageComponent = "MAGNITUDE"
        item.AcquisitionContrast = "UNKNOWN"
    return item


def _diffusion(group: Group) -> Dataset:
    if group.direction is None:
        return _item(DiffusionBValue=group.b_value, DiffusionDirectionality="NONE")
    gradient = _item(DiffusionGradientOrientation=list(group.direction))
    return _item(
        DiffusionBValue=group.b_value,
        DiffusionDirectionality="DIRECTIONAL",
        DiffusionGradientDirectionSequence=[gradient],
    )


def _share_nothing(ds: FileDataset) -> None:
    shared = ds.SharedFunctionalGroupsSequence[0]
    del ds.SharedFunctionalGroupsSequence
    for item in ds.PerFrameFunctionalGroupsSequence:
        item.update(shared)


def _pixels(ds: FileDataset, frames: Sequence[_Frame]) -> None:
    ds.SamplesPerPixel = 1
    ds.PhotometricInterpretation = "MONOCHROME2"
    ds.NumberOfFrames = len(frames)
    ds.Rows, ds.Columns = frames[0].stored.shape
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 16, 15, 0
    ds.PixelData = np.stack([frame.stored for frame in frames]).astype("<u2").tobytes()
    ds["PixelData"].VR = "OW"


def _item(**values: Any) -> Dataset:
    item = Dataset()
    for keyword, value in values.items():
        setattr(item, keyword, value)
    return item
