"""The main path: one series in, masks, SEGs, evidence and a verdict for each volume out."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import dataclass, replace
from pathlib import Path

from dicomnode import __version__
from dicomnode.config import Settings
from dicomnode.dicom.geometry import SliceGeometry
from dicomnode.dicom.header import read_acquisition, read_claims
from dicomnode.dicom.nifti import read_nifti, write_mask_nifti
from dicomnode.dicom.refusals import merged
from dicomnode.dicom.resample import mask_to_source
from dicomnode.dicom.segmentation import verify_segmentation, write_segmentation
from dicomnode.dicom.series import SourceStack, sort_series
from dicomnode.dicom.uids import result_uid
from dicomnode.dicom.volume import Volume, read_volume
from dicomnode.domain import (
    Acquisition,
    Examination,
    ExaminedVolume,
    HeaderClaims,
    ModelIdentity,
    Picture,
    Revision,
    SegmentationFile,
    SetAside,
)
from dicomnode.errors import SeriesRefusedError
from dicomnode.inference.assessment import (
    Assessment,
    Findings,
    Progress,
    Segmenter,
    assess,
    ignore,
    segment,
)
from dicomnode.inference.examiner import examiner_digest
from dicomnode.inference.pictures import DrawnCuts, draw_cuts, write_pictures

# Nobody looks through 64 volumes of an fMRI; the later ones have their overview.
PICTURED_VOLUMES = 8
TOO_MANY = f"only the first {PICTURED_VOLUMES} volumes of a series have all pictures"


Admit = Callable[[SliceGeometry], None]


def admit_all(_: SliceGeometry) -> None:
    """No limit but the machine's."""


@dataclass(frozen=True)
class _Out:
    """The files of one volume; `suffix` tells them from those of the others in its series.

    `unpictured`: why it has no pictures but its overview.
    """

    folder: Path
    suffix: str
    unpictured: str = ""

    @property
    def segmentation(self) -> Path:
        return self.folder / f"segmentation{self.suffix}.dcm"


def examine(
    revision: Revision,
    networks: Sequence[Segmenter],
    settings: Settings,
    out_folder: Path,
    progress: Progress = ignore,
    admit: Admit = admit_all,
) -> Examination:
    """Examine every volume in one revision of a DICOM series.

    Of `networks` those look at a volume that `inference.use` chooses for it. Writes a SEG and
    pictures of each volume into `out_folder`. `admit` sees the geometry of a volume before any
    pixel is decoded, and raises where there is no memory for it. What can't become a volume is set
    aside with its refusal, which is no error. Raises `SegmentationError` when a SEG, decoded
    again, does not hold the masks.
    """
    progress("reading the series")
    series = sort_series(revision.paths, settings.series)
    volumes, set_aside = [], list(series.set_aside)
    several = len(series.stacks) > 1
    for number, stack in enumerate(series.stacks, start=1):
        suffix = f"-{number}" if several else ""
        out = _Out(out_folder, suffix, TOO_MANY if number > PICTURED_VOLUMES else "")
        try:
            admit(stack.geometry)
            volume = _examine_stack(revision, stack, networks, settings, out, progress)
        except SeriesRefusedError as refused:
            set_aside.append(SetAside(refused.refusal, len(stack.images)))
        else:
            volumes.append(volume)
    return _examination(revision.digest, settings, volumes, merged(set_aside))


def _examination(
    revision_digest: str,
    settings: Settings,
    volumes: Sequence[ExaminedVolume] = (),
    set_aside: tuple[SetAside, ...] = (),
) -> Examination:
    digest = examiner_digest([volume.evidence.models for volume in volumes], settings)
    return Examination(revision_digest, tuple(volumes), set_aside, __version__, digest)


def _examine_stack(
    revision: Revision,
    stack: SourceStack,
    networks: Sequence[Segmenter],
    settings: Settings,
    out: _Out,
    progress: Progress,
) -> ExaminedVolume:
    """Raises `SeriesRefusedError` where its pixels can't be read."""
    progress(f"volume {stack.label}".rstrip())
    volume, claims = read_volume(stack), read_claims(stack.datasets)
    acquisition = read_acquisition(stack.datasets, stack.geometry.slice_spacing_mm)
    found = segment(volume, claims, networks, settings, progress)
    with ThreadPoolExecutor(max_workers=2) as beside:
        writing = beside.submit(
            copy_context().run, _write_seg, found, stack, revision, settings, out.segmentation
        )
        drawing = beside.submit(draw_cuts, found.marked, only_overview=bool(out.unpictured))
        progress("evidence")
        assessed = assess(
            volume, found, claims, settings, acquisition=acquisition, unpictured=out.unpictured
        )
        progress("pictures")
        pictures = _write_pictures(assessed, drawing.result(), out)
        progress("writing SEG")
        segmentation = writing.result()
    return ExaminedVolume(
        stack.label,
        len(stack.images),
        assessed.evidence,
        assessed.verdict,
        segmentation,
        pictures,
    )


def examine_nifti(
    path: Path,
    networks: Sequence[Segmenter],
    settings: Settings,
    out_folder: Path,
    progress: Progress = ignore,
    modality: str = "",
) -> Examination:
    """Examine one NIfTI volume: masks on its own grid, `<kind>.nii.gz`, and the same verdict.

    The file does not say its `modality`; where it is unknown only networks for CT and MR look.
    """
    progress("reading the file")
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    try:
        volume = replace(read_nifti(path), modality=modality)
    except SeriesRefusedError as refused:
        return _examination(digest, settings, set_aside=(SetAside(refused.refusal, 1),))
    spacing = Acquisition(slice_spacing_mm=round(volume.geometry.slice_spacing_mm, 3))
    found = segment(volume, HeaderClaims(), networks, settings, progress)
    with ThreadPoolExecutor(max_workers=2) as beside:
        writing = beside.submit(_write_masks, found, volume, path, out_folder)
        drawing = beside.submit(draw_cuts, found.marked)
        progress("evidence")
        assessed = assess(volume, found, HeaderClaims(), settings, acquisition=spacing)
        progress("pictures")
        pictures = _write_pictures(assessed, drawing.result(), _Out(out_folder, ""))
        progress("writing masks")
        writing.result()
    slices = volume.geometry.shape[0]
    examined = ExaminedVolume("", slices, assessed.evidence, assessed.verdict, pictures=pictures)
    return _examination(digest, settings, [examined])


def _write_masks(findings: Findings, volume: Volume, source: Path, out_folder: Path) -> None:
    out_folder.mkdir(parents=True, exist_ok=True)
    for kind, mask in findings.masks.items():
        on_source = mask_to_source(mask, findings.canonical, volume.geometry)
        write_mask_nifti(on_source, source, out_folder / f"{kind.value}.nii.gz")


def _write_seg(
    findings: Findings, stack: SourceStack, revision: Revision, settings: Settings, out: Path
) -> SegmentationFile | None:
    """One verified SEG, a segment per network that found something; none where none did."""
    models = findings.models
    masks = {
        model: mask_to_source(findings.masks[model.kind], findings.canonical, stack.geometry)
        for model in models
        if findings.masks[model.kind].any()
    }
    found = {model: mask for model, mask in masks.items() if mask.any()}
    if not found:
        return None
    file = write_segmentation(
        found,
        stack,
        series_instance_uid=seg_series_uid(revision.series_instance_uid, stack.label),
        sop_instance_uid=_sop_instance_uid(revision, stack.label, models, settings, findings.falls),
        settings=settings.segmentation,
        out=out,
    )
    verify_segmentation(file, found, stack)
    return file


def seg_series_uid(series_instance_uid: str, label: str = "") -> str:
    """The SEG series of one volume of an examined series, the same for every revision of it.

    A series for each volume, because OHIF shows only the newest instance of a SEG series.
    """
    return result_uid("SEG series", series_instance_uid, *([label] if label else []))


def _sop_instance_uid(
    revision: Revision,
    label: str,
    models: Sequence[ModelIdentity],
    settings: Settings,
    falls: Sequence[str],
) -> str:
    """The same series, pixels, networks and way to run them: the same UID, so a re-run is harmless.

    A network that fell for want of memory ran in another way.

    A network that found nothing counts too: its absence from the SEG is its answer.
    """
    networks = sorted(f"{model.kind} {model.sha256}" for model in models)
    volume = [f"volume {label}"] if label else []
    run = settings.inference.manner
    series = revision.series_instance_uid
    return result_uid("SEG", series, revision.digest, *volume, *networks, run, *falls)


def _write_pictures(assessed: Assessment, cuts: DrawnCuts, out: _Out) -> tuple[Picture, ...]:
    return write_pictures(
        out.folder,
        out.suffix,
        assessed.marked,
        assessed.verdict,
        assessed.skin,
        only_overview=bool(out.unpictured),
        cuts=cuts,
    )
