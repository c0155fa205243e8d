"""`dicomnode explain`: what the node would make of a folder, without a network and a database."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dicomnode.app.batch import Found, failure_sentence
from dicomnode.config import SeriesSettings
from dicomnode.dicom.geometry import SliceGeometry, Vector
from dicomnode.dicom.header import read_acquisition, read_claims
from dicomnode.dicom.nifti import write_volume_nifti
from dicomnode.dicom.refusals import merged
from dicomnode.dicom.resample import to_canonical
from dicomnode.dicom.series import SourceStack, sort_series
from dicomnode.dicom.volume import read_volume
from dicomnode.domain import (
    Acquisition,
    HeaderClaims,
    Revision,
    SegmentKind,
    SetAside,
    Subject,
    subject_of,
)
from dicomnode.errors import SeriesRefusedError
from dicomnode.inference.examiner import Examiner
from dicomnode.tracking.spool import short_name

_TOWARD = ("LR", "PA", "HF")  # growing and falling x, y, z of PS3.3 C.7.6.2.1.1
_PLANES = ("sagittal", "coronal", "axial")
_STRAIGHT_DEGREES = 1.0


@dataclass(frozen=True)
class Spread:
    """Smallest, middle and largest."""

    minimum: float
    median: float
    maximum: float


@dataclass(frozen=True)
class ExplainedVolume:
    """One volume that would be examined.

    `shape` counts slices, rows, columns; `spacing_mm` lies between them, the first being the usual
    one; `toward` says where their indices grow (L, R, P, A, H, F). `affine_lps` takes (slice, row,
    column, 1) to patient millimetres and is None where the slices are no regular grid: then
    `positions_mm`, the centre of the first voxel of each slice, tells all. `network_shape` and
    `network_spacing_mm` are of the grid (z, y, x) that the networks see. `networks` says of each
    kind which one looks, by name and version, or why none does.
    """

    label: str
    images: int
    files: int
    shape: tuple[int, int, int]
    spacing_mm: tuple[float, float, float]
    plane: str
    toward: str
    is_regular: bool
    affine_lps: tuple[tuple[float, ...], ...] | None
    positions_mm: tuple[tuple[float, ...], ...]
    row_cosines: tuple[float, ...]
    column_cosines: tuple[float, ...]
    tilt_degrees: float
    slice_distance_mm: Spread
    missing_slices_in: int
    network_shape: tuple[int, int, int]
    network_spacing_mm: tuple[float, float, float]
    values: Spread
    transfer_syntaxes: tuple[str, ...]
    sop_classes: tuple[str, ...]
    has_frame_of_reference: bool
    warnings: tuple[str, ...]
    networks: Mapping[SegmentKind, str]
    claims: HeaderClaims
    acquisition: Acquisition
    nifti: Path | None = None


@dataclass(frozen=True)
class ExplainedSeries:
    """One series: the volumes in it and what is none; `folder` holds all of its files.

    `failure` says why the node could not read it, or is empty.
    """

    folder: Path
    study_instance_uid: str
    series_instance_uid: str
    modality: str
    instances: int
    volumes: tuple[ExplainedVolume, ...]
    set_aside: tuple[SetAside, ...]
    failure: str = ""


@dataclass(frozen=True)
class Explanation:
    """A folder: its series, and the files that are no DICOM objects, each with the reason."""

    series: tuple[ExplainedSeries, ...]
    unreadable: tuple[tuple[Path, str], ...]

    @property
    def has_failures(self) -> bool:
        return any(item.failure for item in self.series)


def explain(
    found: Found,
    settings: SeriesSettings,
    examiner: Examiner,
    nifti_folder: Path | None = None,
    advance: Callable[[], None] = lambda: None,
) -> Explanation:
    """Sort and read every series in `found`.

    With `nifti_folder` each volume is also written there, as the networks see it. A series that
    fails doesn't stop the others.
    """
    series = []
    for revision in found.revisions:
        series.append(_series(revision, settings, examiner, nifti_folder))
        advance()
    return Explanation(tuple(series), found.unreadable)


def _series(
    revision: Revision, settings: SeriesSettings, examiner: Examiner, nifti_folder: Path | None
) -> ExplainedSeries:
    volumes: list[ExplainedVolume] = []
    aside: list[SetAside] = []
    failure = ""
    try:
        _read(revision, settings, examiner, nifti_folder, volumes, aside)
    except Exception as error:  # noqa: BLE001 - the edge for one series: recorded, and on
        failure = failure_sentence(error)
    return ExplainedSeries(
        folder=Path(os.path.commonpath([path.parent for path in revision.paths])),
        study_instance_uid=revision.study_instance_uid,
        series_instance_uid=revision.series_instance_uid,
        modality=revision.modality,
        instances=len(revision.paths),
        volumes=tuple(volumes),
        set_aside=merged(aside),
        failure=failure,
    )


def _read(
    revision: Revision,
    settings: SeriesSettings,
    examiner: Examiner,
    nifti_folder: Path | None,
    volumes: list[ExplainedVolume],
    aside: list[SetAside],
) -> None:
    """Fills `volumes` and `aside`: what was read before a failure is told too."""
    sorted_series = sort_series(revision.paths, settings)
    aside += sorted_series.set_aside
    for number, stack in enumerate(sorted_series.stacks, start=1):
        name = f"{short_name(revision.series_instance_uid)}-{number}.nii.gz"
        nifti = None if nifti_folder is None else nifti_folder / name
        try:
            volumes.append(_volume(stack, examiner, nifti))
        except SeriesRefusedError as refused:
            aside.append(SetAside(refused.refusal, len(stack.images)))


def _volume(stack: SourceStack, examiner: Examiner, nifti: Path | None) -> ExplainedVolume:
    volume, geometry = read_volume(stack), stack.geometry
    canonical = to_canonical(volume)
    if nifti is not None:
        write_volume_nifti(canonical, nifti)
    depth, height, width = (int(size) for size in canonical.array.shape)
    claims = read_claims(stack.datasets)
    return ExplainedVolume(
        label=stack.label,
        images=len(stack.images),
        files=len(stack.paths),
        shape=geometry.shape,
        spacing_mm=(geometry.slice_spacing_mm, *geometry.pixel_spacing_mm),
        plane=_plane(geometry),
        toward="".join(map(_letter, _axes(geometry))),
        is_regular=geometry.is_regular,
        affine_lps=tuple(map(_numbers, geometry.affine_lps)) if geometry.is_regular else None,
        positions_mm=tuple(_numbers(position) for position in geometry.positions_mm),
        row_cosines=_numbers(geometry.row_cosines),
        column_cosines=_numbers(geometry.column_cosines),
        tilt_degrees=round(geometry.tilt_degrees, 4) if geometry.is_sheared else 0.0,
        slice_distance_mm=_spread(geometry.gaps_mm),
        missing_slices_in=len(geometry.missing_mm),
        network_shape=(depth, height, width),
        network_spacing_mm=canonical.spacing_mm,
        values=_spread(volume.array),
        transfer_syntaxes=_names(str(image.transfer_syntax.name) for image in stack.images),
        sop_classes=_names(str(image.ds.SOPClassUID.name) for image in stack.images),
        has_frame_of_reference=stack.frame_of_reference_uid is not None,
        warnings=volume.warnings,
        networks=_networks(examiner, subject_of(volume.modality, claims, canonical.spacing_mm)),
        claims=claims,
        acquisition=read_acquisition(stack.datasets, geometry.slice_spacing_mm),
        nifti=nifti,
    )


def _networks(examiner: Examiner, subject: Subject) -> Mapping[SegmentKind, str]:
    chosen = examiner.choose(subject)
    found = (model.identity for model in chosen.networks)
    said = {who.kind: f"{who.name} {who.version}" for who in found} | dict(chosen.unanswered)
    return {kind: said[kind] for kind in SegmentKind}


def _axes(geometry: SliceGeometry) -> tuple[Vector, Vector, Vector]:
    """The directions in which slice, row and column indices grow."""
    return geometry.normal, geometry.column_cosines, geometry.row_cosines


def _letter(direction: Vector) -> str:
    axis = int(np.argmax(np.abs(direction)))
    return _TOWARD[axis][int(direction[axis] < 0)]


def _plane(geometry: SliceGeometry) -> str:
    axis = int(np.argmax(np.abs(geometry.normal)))
    away = np.degrees(np.arccos(min(1.0, abs(float(geometry.normal[axis])))))
    return _PLANES[axis] if away < _STRAIGHT_DEGREES else f"oblique, mostly {_PLANES[axis]}"


def _spread(values: Vector | np.ndarray[tuple[int, ...], np.dtype[np.float32]]) -> Spread:
    return Spread(float(values.min()), float(np.median(values)), float(values.max()))


def _numbers(vector: Sequence[float] | Vector) -> tuple[float, ...]:
    return tuple(float(number) for number in vector)


def _names(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted(set(names)))
