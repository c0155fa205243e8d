"""Which images of a series make up one volume: a series may hold several, or strays.

First the images are parted by what no volume can mix (frame of reference, matrix, orientation ...).
Where images of one part still lie at the same place, the part is split by the attribute that
tells them apart there: echo time, b-value, time point ... Each group that remains is a stack, or
is refused by `stack.sorted_stack`.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass

import numpy as np

from dicomnode.dicom.groups import Group, by_key, joined, shown, values
from dicomnode.dicom.header import numbers, text
from dicomnode.dicom.images import SourceImage
from dicomnode.dicom.separation import separate
from dicomnode.dicom.stack import SAME_VALUE
from dicomnode.domain import RefusalCode


@dataclass(frozen=True)
class _Parting:
    """One thing that no volume can mix, and the refusal for images that it leaves alone."""

    attribute: str
    of: Callable[[Sequence[SourceImage]], list[Hashable]]
    code: RefusalCode


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
    return [
        Group(
            images,
            label=(label := joined(group.label, f"{parting.attribute} {shown(key)}")),
            part=label,
            stray_code=parting.code,
            stray_attribute=parting.attribute,
        )
        for key, images in pieces
    ]


def _nearly(keyword: str, count: int) -> Callable[[Sequence[SourceImage]], list[Hashable]]:
    """For each image the first value in the series that is the same up to rounding."""

    def of(images: Sequence[SourceImage]) -> list[Hashable]:
        seen: list[tuple[float, ...]] = []
        found: list[Hashable] = []
        for item in images:
            given = numbers(item.ds, keyword, count) or ()
            known = next((one for one in seen if _close(one, given)), None)
            if known is None:
                seen.append(known := given)
            found.append(known)
        return found

    return of


def _close(one: tuple[float, ...], other: tuple[float, ...]) -> bool:
    return bool(np.allclose(one, other, rtol=SAME_VALUE, atol=SAME_VALUE * max(map(abs, one))))


_PARTINGS = (
    _Parting(
        "FrameOfReferenceUID", values("FrameOfReferenceUID"), RefusalCode.NO_FRAME_OF_REFERENCE
    ),
    _Parting("Rows, Columns", values("Rows", "Columns"), RefusalCode.MIXED_MATRIX),
    _Parting(
        "ImageOrientationPatient",
        _nearly("ImageOrientationPatient", 6),
        RefusalCode.MIXED_ORIENTATION,
    ),
    _Parting("PixelSpacing", _nearly("PixelSpacing", 2), RefusalCode.MIXED_MATRIX),
    _Parting(
        "PhotometricInterpretation",
        values("PhotometricInterpretation"),
        RefusalCode.TOO_FEW_SLICES,
    ),
    _Parting("StackID", values("StackID"), RefusalCode.TOO_FEW_SLICES),
)
