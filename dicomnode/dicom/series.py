"""A series as its volumes-to-be: sorted, told apart, or set aside in plain language."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from pydicom.config import disable_value_validation
from pydicom.dataset import Dataset

from dicomnode.config import SeriesSettings
from dicomnode.dicom import checks
from dicomnode.dicom.concatenations import missing_parts
from dicomnode.dicom.copies import same_object, without_pixel_copies
from dicomnode.dicom.geometry import SliceGeometry
from dicomnode.dicom.grouping import group_images
from dicomnode.dicom.groups import Group
from dicomnode.dicom.header import text
from dicomnode.dicom.images import SourceImage, plain_headers, read_images
from dicomnode.dicom.refusals import merged
from dicomnode.dicom.sop_classes import modality_of
from dicomnode.dicom.stack import MINIMUM_SLICES, sorted_stack
from dicomnode.domain import Refusal, RefusalCode, SetAside
from dicomnode.errors import SeriesRefusedError

logger = logging.getLogger("dicomnode.dicom")


@dataclass(frozen=True)
class SourceStack:
    """The slices of one volume as delivered: headers only, sorted along the slice normal.

    `label` is unique in its series, for the UIDs of results rest on it; empty for an only one.
    `frame_of_reference_uid` is None where the scanner gave none. `warnings` are sentences about
    what is unusual but could be dealt with.
    """

    images: tuple[SourceImage, ...]
    geometry: SliceGeometry
    study_instance_uid: str
    series_instance_uid: str
    modality: str
    frame_of_reference_uid: str | None
    label: str = ""
    warnings: tuple[str, ...] = ()

    @cached_property
    def datasets(self) -> tuple[Dataset, ...]:
        return tuple(item.ds for item in self.images)

    @property
    def paths(self) -> tuple[Path, ...]:
        """The files that hold it, each once."""
        return tuple(dict.fromkeys(item.path for item in self.images))


@dataclass(frozen=True)
class SortedSeries:
    """What can be made of a series; without a stack something is set aside."""

    stacks: tuple[SourceStack, ...]
    set_aside: tuple[SetAside, ...]


@disable_value_validation()
def sort_series(paths: Sequence[Path], settings: SeriesSettings | None = None) -> SortedSeries:
    """Read the headers of one series and make stacks of its images.

    Raises `OSError` where the disk fails; whatever is wrong with the objects is set aside.
    """
    settings = settings or SeriesSettings()
    aside: list[SetAside] = []
    images = _readable(paths, aside)
    try:
        checks.identity([item.ds for item in images])
    except SeriesRefusedError as refused:
        return SortedSeries((), (SetAside(refused.refusal, len(images)),))
    usable = _without_conflicts(_passing(images, aside), aside)
    aside += missing_parts(usable)
    groups = group_images(without_pixel_copies(usable, aside)) if usable else []
    stacks = _stacks(groups, settings, aside)
    if not stacks and not aside:
        empty = Refusal(RefusalCode.TOO_FEW_SLICES, "the series has no objects")
        aside.append(SetAside(empty, 0))
    found = SortedSeries(tuple(_labelled(stacks)), merged(aside))
    if images:
        series_uid = text(images[0].ds, "SeriesInstanceUID")
        context = {"series": series_uid, "stacks": len(stacks), "set_aside": len(found.set_aside)}
        logger.info("series sorted", extra=context)
    return found


def _readable(paths: Iterable[Path], aside: list[SetAside]) -> list[SourceImage]:
    """The images of all objects, of copies of one object only the first."""
    objects: dict[str, list[Path]] = {}
    images: list[SourceImage] = []
    plain = plain_headers()
    for path in paths:
        try:
            found = read_images(path, plain)
        except SeriesRefusedError as refused:
            aside.append(SetAside(refused.refusal, 1))
            continue
        known = objects.setdefault(text(found[0].ds, "SOPInstanceUID") or "", [])
        if not any(same_object(path, other) for other in known):
            known.append(path)
            images += found
    return images


def _passing(images: Iterable[SourceImage], aside: list[SetAside]) -> list[SourceImage]:
    passing = []
    for item in images:
        try:
            checks.image(item)
        except SeriesRefusedError as refused:
            aside.append(SetAside(refused.refusal, 1))
        else:
            passing.append(item)
    return passing


def _without_conflicts(images: Sequence[SourceImage], aside: list[SetAside]) -> list[SourceImage]:
    """Where two different objects have one SOP Instance UID, nobody knows which one is true."""
    paths: dict[str, set[Path]] = {}
    for item in images:
        paths.setdefault(text(item.ds, "SOPInstanceUID") or "", set()).add(item.path)
    agreed: list[SourceImage] = []
    for item in images:
        uid = text(item.ds, "SOPInstanceUID") or ""
        if len(paths[uid]) == 1:
            agreed.append(item)
            continue
        sentence = "different objects have the same SOP Instance UID"
        refusal = Refusal(RefusalCode.DUPLICATE_POSITION, sentence, "SOPInstanceUID", (uid,))
        aside.append(SetAside(refusal, 1))
    return agreed


def _stacks(
    groups: Sequence[Group], settings: SeriesSettings, aside: list[SetAside]
) -> list[SourceStack]:
    stacks: list[SourceStack] = []
    chosen: set[str] = set()
    for group in groups:
        try:
            _refuse_stray(group)
            stack = _stack(group, settings)
            _refuse_unchosen(group, chosen, len(stacks), settings)
        except SeriesRefusedError as refused:
            aside.append(SetAside(refused.refusal, len(group.images)))
        else:
            chosen.add(group.part)
            stacks.append(stack)
    return stacks


def _stack(group: Group, settings: SeriesSettings) -> SourceStack:
    geometry, images = sorted_stack(group.images)
    ds = images[0].ds
    frame_of_reference = _frame_of_reference(images)
    if frame_of_reference is None and settings.missing_frame_of_reference == "refuse":
        raise SeriesRefusedError(
            Refusal(
                RefusalCode.NO_FRAME_OF_REFERENCE,
                "the images share no Frame of Reference UID, and "
                "series.missing_frame_of_reference says to refuse them",
                "FrameOfReferenceUID",
            )
        )
    return SourceStack(
        images=images,
        geometry=geometry,
        study_instance_uid=text(ds, "StudyInstanceUID") or "",
        series_instance_uid=text(ds, "SeriesInstanceUID") or "",
        modality=modality_of(ds),
        frame_of_reference_uid=frame_of_reference,
        label=group.label,
        warnings=tuple(_unusual([item.ds for item in images], geometry, frame_of_reference)),
    )


def _frame_of_reference(images: Sequence[SourceImage]) -> str | None:
    """The one that is named; one for each image means nothing and counts as none."""
    named = {uid for item in images if (uid := text(item.ds, "FrameOfReferenceUID"))}
    return named.pop() if len(named) == 1 else None


def _refuse_stray(group: Group) -> None:
    if group.is_stray and group.stray_code is not RefusalCode.TOO_FEW_SLICES:
        raise SeriesRefusedError(
            Refusal(
                group.stray_code,
                "images differ from the rest of the series, and fewer than "
                f"{MINIMUM_SLICES} are of one kind",
                group.stray_attribute,
                (group.stray_value,),
            )
        )


def _refuse_unchosen(group: Group, chosen: set[str], stacks: int, settings: SeriesSettings) -> None:
    if stacks >= settings.maximum_volumes:
        why = f"a series of more than {settings.maximum_volumes} volumes (series.maximum_volumes)"
    elif settings.volumes == "first" and group.part in chosen:
        why = "only the first volume of a series is examined (series.volumes)"
    else:
        return
    raise SeriesRefusedError(Refusal(RefusalCode.NOT_CHOSEN, why, "", (group.label,)))


def _labelled(stacks: Sequence[SourceStack]) -> Iterable[SourceStack]:
    """A stack that is alone needs no label: it keeps its SEG series when strays come and go."""
    return stacks if len(stacks) > 1 else [replace(stack, label="") for stack in stacks]


def _unusual(
    datasets: Sequence[Dataset], geometry: SliceGeometry, frame_of_reference: str | None
) -> list[str]:
    """Sentences on what could be dealt with, for the record."""
    found: list[str] = []
    if frame_of_reference is None:
        found.append("the images share no Frame of Reference UID; the SEG has none either")
    if geometry.is_sheared:
        found.append(
            f"the stack is sheared by {geometry.tilt_degrees:.1f} degrees (gantry tilt, or a "
            "table that moved); resampled for the networks"
        )
    if len(geometry.missing_mm):
        found.append(
            f"slices are missing: {len(geometry.missing_mm)} gap(s) of up to "
            f"{geometry.missing_mm.max():.1f} mm where {geometry.slice_spacing_mm:.1f} mm is usual"
        )
    elif not geometry.is_evenly_spaced:
        found.append(
            f"slice distances vary from {geometry.gaps_mm.min():.2f} to "
            f"{geometry.gaps_mm.max():.2f} mm; resampled for the networks"
        )
    if text(datasets[0], "PhotometricInterpretation") == "MONOCHROME1":
        found.append("Photometric Interpretation is MONOCHROME1")
    if any("ModalityLUTSequence" in ds for ds in datasets):
        found.append("a Modality LUT is present and was not applied")
    return found
