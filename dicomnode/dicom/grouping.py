"""Which images of a series make up one volume: a series may hold several, or strays.

First the images are parted by what no volume can mix (frame of reference, matrix, orientation ...).
Where images of one part still lie at the same place, the part is split by the attribute that
tells them apart there: echo time, b-value, time point ... Each group that remains is a stack, or
is refused by `stack.sorted_stack`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass

import numpy as np

from dicomnode.dicom.groups import Group, by_key, joined, values
from dicomnode.dicom.header import numbers, shown, text
from dicomnode.dicom.images import SourceImage
from dicomnode.dicom.separation import separate
from dicomnode.dicom.sop_classes import modality_of
from dicomnode.dicom.stack import SAME_VALUE
from dicomnode.domain import RefusalCode

Keys = Callable[[Sequence[SourceImage]], list[Hashable]]


@dataclass(frozen=True)
class _Parting:
    """One thing that no volume can mix, and the refusal for images that it leaves alone.

    `may_be_unique`: some scanners and de-identifiers give each image a value of its own, which
    then means nothing.
    """

    attribute: str
    of: Keys
    code: RefusalCode
    may_be_unique: bool = False


def group_images(images: Sequence[SourceImage]) -> list[Group]:
    """All images, each in one group; the order and the labels depend on the images alone."""
    ordered = sorted(images, key=lambda item: (*item.order, text(item.ds, "SOPInstanceUID") or ""))
    parts = [Group(tuple(ordered))]
    for parting in _PARTINGS:
        parts = [piece for part in parts for piece in _part(part, parting)]
    return [group for part in parts for group in separate(part)]


def _part(group: Group, parting: _Parting) -> list[Group]:
    pieces = by_key(group.images, parting.of(group.images))
    if len(pieces) == 1:
        return [group]
    keys = _distinct([_rounded(key) for key, _ in pieces])
    labels = [joined(group.label, f"{parting.attribute} {key}") for key in keys]
    found = [
        Group(
            images,
            label=label,
            part=label,
            stray_code=parting.code,
            stray_attribute=parting.attribute,
            stray_value=key,
        )
        for (_, images), label, key in zip(pieces, labels, keys, strict=True)
    ]
    is_unique = all(len(piece.images) == 1 for piece in found)
    return [group] if parting.may_be_unique and is_unique else found


def _rounded(key: Hashable) -> str:
    """Two digits of a number are enough for people, and don't follow a scanner's rounding."""
    if isinstance(key, tuple):
        return "\\".join(f"{round(item, 2) + 0.0:g}" for item in key)
    return shown(key)


def _distinct(keys: Sequence[str]) -> list[str]:
    """Equal ones numbered from the second on."""
    seen: Counter[str] = Counter()
    found = []
    for key in keys:
        seen[key] += 1
        found.append(f"{key} ({seen[key]})" if seen[key] > 1 else key)
    return found


def _frames_of_reference(images: Sequence[SourceImage]) -> list[Hashable]:
    """An image that names none lies in the only one that others name."""
    found = [text(item.ds, "FrameOfReferenceUID") for item in images]
    named = {uid for uid in found if uid is not None}
    only = next(iter(named)) if len(named) == 1 else None
    return [uid or only for uid in found]


def _modalities(images: Sequence[SourceImage]) -> list[Hashable]:
    return [modality_of(item.ds) for item in images]


def _nearly(keyword: str, count: int, *, absolute: float = 0.0, relative: float = 0.0) -> Keys:
    """For each image the first value in the series that is the same up to rounding."""

    def of(images: Sequence[SourceImage]) -> list[Hashable]:
        seen: list[tuple[float, ...]] = []
        found: list[Hashable] = []
        for item in images:
            given = numbers(item.ds, keyword, count) or ()
            same = (one for one in seen if np.allclose(given, one, rtol=relative, atol=absolute))
            known = next(same, None)
            if known is None:
                seen.append(known := given)
            found.append(known)
        return found

    return of


_PARTINGS = (
    _Parting("Modality", _modalities, RefusalCode.TOO_FEW_SLICES),
    _Parting(
        "FrameOfReferenceUID",
        _frames_of_reference,
        RefusalCode.NO_FRAME_OF_REFERENCE,
        may_be_unique=True,
    ),
    _Parting("Rows, Columns", values("Rows", "Columns"), RefusalCode.MIXED_MATRIX),
    _Parting(
        "ImageOrientationPatient",
        _nearly("ImageOrientationPatient", 6, absolute=SAME_VALUE),
        RefusalCode.MIXED_ORIENTATION,
    ),
    _Parting(
        "PixelSpacing",
        _nearly("PixelSpacing", 2, relative=SAME_VALUE),
        RefusalCode.MIXED_MATRIX,
    ),
    _Parting(
        "PhotometricInterpretation",
        values("PhotometricInterpretation"),
        RefusalCode.TOO_FEW_SLICES,
        may_be_unique=True,
    ),
    _Parting("StackID", values("StackID"), RefusalCode.TOO_FEW_SLICES, may_be_unique=True),
)
