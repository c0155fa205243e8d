"""A series copied for a study without faces: each volume defaced, or as it was, or left out.

Every volume becomes a series of its own. What can't be made safe has no copy, and a sentence.
"""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

from pydantic import TypeAdapter
from pydicom.dataset import Dataset
from pydicom.uid import UID

from dicomnode.config import Settings
from dicomnode.defacing.deface import DefacedVolume, deface_stack
from dicomnode.dicom.deidentification import deidentifier_of
from dicomnode.dicom.derived import Headers
from dicomnode.dicom.geometry import SliceGeometry
from dicomnode.dicom.header import read_claims
from dicomnode.dicom.renamed import write_renamed
from dicomnode.dicom.series import SourceStack, sort_series
from dicomnode.dicom.uids import result_uid
from dicomnode.domain import CopyOrder, CopyWay, Picture, SeriesCopy, VolumeCopy
from dicomnode.durable import sync
from dicomnode.errors import DefacingError, SeriesRefusedError
from dicomnode.inference.assessment import Progress, Segmenter, ignore
from dicomnode.inference.pictures import write_pictures

_COPY = TypeAdapter(SeriesCopy)
# Written last: the copy is whole.
_RECORD = "copy.json"


def copy_series(
    order: CopyOrder,
    networks: Sequence[Segmenter],
    settings: Settings,
    progress: Progress = ignore,
    admit: Callable[[SliceGeometry], None] = lambda _: None,
) -> SeriesCopy:
    """Copy every volume of a series into a folder of its own within `order.folder`.

    What an earlier call has finished is not made again: not every device gives the same mask
    twice, and what was put into the node must not change. Raises `OSError`, `ConfigurationError`
    where there is no key to de-identify with, `DefacingError` where the settings are not those of
    the order, and what the networks and `admit` raise.
    """
    record = order.folder / _RECORD
    if (earlier := _earlier(record)) is not None:
        return earlier
    if order.way and order.way != settings.way_of_copies(order.project):
        raise DefacingError(
            "the configuration of copies was changed, and this process began before: restart the "
            "worker, and retry the job"
        )
    headers = _headers(order, settings)
    shutil.rmtree(order.folder, ignore_errors=True)
    order.folder.mkdir(parents=True)
    progress("reading the series")
    series = sort_series(order.revision.paths, settings.series)
    volumes, left_out = [], [f"{each.images} images: {each.refusal}" for each in series.set_aside]
    for number, stack in enumerate(series.stacks, start=1):
        folder = order.folder / f"volume-{number}"
        try:
            if stack.label not in order.unchanged:
                admit(stack.geometry)
            volumes.append(_copy(order, stack, headers, networks, settings, folder, progress))
        except (DefacingError, SeriesRefusedError) as error:
            shutil.rmtree(folder, ignore_errors=True)
            left_out.append(f"volume {stack.label}: {error}" if stack.label else str(error))
    copy = SeriesCopy(order.revision.series_instance_uid, tuple(volumes), tuple(left_out))
    _keep(record, copy)
    return copy


def _headers(order: CopyOrder, settings: Settings) -> Headers:
    """Into the study of the copy, and without names where it is made for a project that asks."""
    names = deidentifier_of(settings, order.project) if order.project else None

    def change(ds: Dataset) -> None:
        if names is not None:
            names.apply(ds)
        ds.StudyInstanceUID = UID(order.study_instance_uid)

    return Headers(change, f"{order.identity}\n{names.identity}" if names else order.identity)


def _copy(
    order: CopyOrder,
    stack: SourceStack,
    headers: Headers,
    networks: Sequence[Segmenter],
    settings: Settings,
    folder: Path,
    progress: Progress,
) -> VolumeCopy:
    if stack.label in order.unchanged:
        return _unchanged(order, stack, headers, folder)
    made = deface_stack(stack, networks, settings, folder, headers, progress)
    return VolumeCopy(
        stack.label,
        CopyWay.DEFACED,
        made.series_instance_uid,
        len(stack.images),
        made.paths,
        made.found.proof,
        tuple(_pictures(made, folder)),
    )


def _unchanged(order: CopyOrder, stack: SourceStack, headers: Headers, folder: Path) -> VolumeCopy:
    """Raises `DefacingError` where an object holds frames that are no part of the volume, or text
    that de-identification leaves in its pixels."""
    frames = Counter(image.path for image in stack.images)
    if any(frames[image.path] != image.frames for image in stack.images):
        raise DefacingError("its objects hold frames that no volume was made of")
    if order.project and read_claims(stack.datasets).burned_in_annotation == "YES":
        raise DefacingError(
            "(0028,0301) says that text is burned into these pixels, which may name the patient: "
            "de-identification of headers does not remove it"
        )
    uid = result_uid("copied series", stack.series_instance_uid, stack.label, headers.identity)
    said = "Copied as it was, beside series whose face was removed"
    paths = write_renamed(stack.paths, uid, headers, said, folder)
    return VolumeCopy(stack.label, CopyWay.UNCHANGED, uid, len(stack.images), tuple(paths))


def _pictures(made: DefacedVolume, folder: Path) -> list[Picture]:
    found: list[Picture] = []
    for suffix, seen in (("-before", made.found.before), ("-after", made.found.after)):
        found += write_pictures(
            folder, suffix, seen.marked, seen.verdict, seen.skin, only_overview=True
        )
    return found


def _earlier(record: Path) -> SeriesCopy | None:
    """A copy that was finished; None where its files are gone, as they are once it was received."""
    if not record.is_file():
        return None
    copy = _COPY.validate_json(record.read_bytes())
    is_here = all(path.is_file() for volume in copy.volumes for path in volume.paths)
    return copy if is_here else None


def _keep(record: Path, copy: SeriesCopy) -> None:
    """Durable with all that it names: a power cut must not leave a record of half a copy."""
    temporary = record.with_suffix(".part")
    temporary.write_bytes(_COPY.dump_json(copy))
    files = [path for volume in copy.volumes for path in volume.paths]
    for path in (*files, *{file.parent for file in files}, temporary):
        sync(path)
    temporary.replace(record)
    sync(record.parent)
