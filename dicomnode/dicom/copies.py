"""The same thing twice: objects sent again, and images that came under two UIDs."""

from __future__ import annotations

import filecmp
from collections.abc import Callable, Hashable, Sequence
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
    together = [item for several in _alike(images, _place) if len(several) > 1 for item in several]
    copies = {id(copy) for several in _alike(together, _description) for copy in _copies(several)}
    if copies:
        sentence = "the same image came under another SOP Instance UID too"
        refusal = Refusal(RefusalCode.DUPLICATE_POSITION, sentence, "SOPInstanceUID")
        aside.append(SetAside(refusal, len(copies)))
    return [item for item in images if id(item) not in copies]


def _alike(
    images: Sequence[SourceImage], of: Callable[[SourceImage], Hashable]
) -> list[list[SourceImage]]:
    found: dict[Hashable, list[SourceImage]] = {}
    for item in images:
        found.setdefault(of(item), []).append(item)
    return list(found.values())


def _place(image: SourceImage) -> tuple[object, ...]:
    """Few images lie where another one does: of the others nothing else is asked."""
    ds = image.ds
    position = numbers(ds, "ImagePositionPatient", 3)
    return position, numbers(ds, "ImageOrientationPatient", 6), image.frame


def _description(image: SourceImage) -> tuple[object, ...]:
    return (*_place(image), *(distinct([image.ds], keyword)[0] for keyword in _SAME))


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
