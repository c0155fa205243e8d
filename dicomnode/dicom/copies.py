"""The same thing twice: objects sent again, and images that came under two UIDs."""

from __future__ import annotations

import filecmp
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from dicomnode.dicom.header import numbers, text
from dicomnode.dicom.images import SourceImage
from dicomnode.dicom.pixels import PixelReader
from dicomnode.dicom.refusals import distinct
from dicomnode.dicom.separation import SEPARATORS
from dicomnode.domain import Refusal, RefusalCode, SetAside
from dicomnode.errors import SeriesRefusedError

_SAME = (
    *SEPARATORS,
    "InstanceNumber",
    "AcquisitionDateTime",
    "AcquisitionDate",
    "AcquisitionTime",
    "ContentTime",
    "Rows",
    "Columns",
    "RescaleSlope",
    "RescaleIntercept",
)


def same_object(one: Path, other: Path) -> bool:
    """The same bytes."""
    return filecmp.cmp(one, other, shallow=False)


def without_pixel_copies(images: Sequence[SourceImage], aside: list[SetAside]) -> list[SourceImage]:
    """Of images that say the same and hold the same pixels, only the first.

    An archive may have given an image a second UID. Images with other pixels are kept: whoever
    makes a volume of them has to find that two lie at one place.
    """
    alike: dict[tuple[object, ...], list[SourceImage]] = {}
    for item in images:
        alike.setdefault(_description(item), []).append(item)
    copies = {id(copy) for several in alike.values() for copy in _copies(several)}
    if copies:
        sentence = "the same image came under another SOP Instance UID too"
        refusal = Refusal(RefusalCode.DUPLICATE_POSITION, sentence, "SOPInstanceUID")
        aside.append(SetAside(refusal, len(copies)))
    return [item for item in images if id(item) not in copies]


def _description(image: SourceImage) -> tuple[object, ...]:
    ds = image.ds
    place = numbers(ds, "ImagePositionPatient", 3), numbers(ds, "ImageOrientationPatient", 6)
    return (*place, image.frame, *(distinct([ds], keyword)[0] for keyword in _SAME))


def _copies(alike: Sequence[SourceImage]) -> Sequence[SourceImage]:
    """Those after the first, where all hold the same pixels."""
    if len(alike) == 1 or len({text(item.ds, "SOPInstanceUID") for item in alike}) == 1:
        return ()
    try:
        with PixelReader() as reader:
            first = reader.stored_values(alike[0])
            same = all(np.array_equal(first, reader.stored_values(item)) for item in alike[1:])
    except SeriesRefusedError:
        return ()  # reading the volume will say why
    return alike[1:] if same else ()
