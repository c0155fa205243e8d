"""Groups of images, and the values that tell them apart, as text for people."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass

from dicomnode.dicom.header import shown, value
from dicomnode.dicom.images import SourceImage
from dicomnode.dicom.stack import MINIMUM_SLICES
from dicomnode.domain import RefusalCode

Pieces = list[tuple[Hashable, tuple[SourceImage, ...]]]


@dataclass(frozen=True)
class Group:
    """Images that may be one stack.

    `label` says what tells them from the other images of the series. `part` names what they were
    parted by before: groups of one part are repetitions of the same place. `stray_code`,
    `stray_attribute` and `stray_value` say what is wrong where they are too few to be a volume.
    """

    images: tuple[SourceImage, ...]
    label: str = ""
    part: str = ""
    stray_code: RefusalCode = RefusalCode.TOO_FEW_SLICES
    stray_attribute: str = "number of slices"
    stray_value: str = ""

    @property
    def is_stray(self) -> bool:
        """Too few to be a volume."""
        return len(self.images) < MINIMUM_SLICES


def values(*keywords: str) -> Callable[[Sequence[SourceImage]], list[Hashable]]:
    def of(images: Sequence[SourceImage]) -> list[Hashable]:
        return [
            " x ".join(shown(value(item.ds, keyword)) for keyword in keywords) for item in images
        ]

    return of


def by_key(images: Sequence[SourceImage], keys: Sequence[Hashable]) -> Pieces:
    """The images of each key; numbers in their order, other keys as they first appear."""
    found: dict[Hashable, list[SourceImage]] = {}
    for item, key in zip(images, keys, strict=True):
        found.setdefault(key, []).append(item)
    pieces = [(key, tuple(members)) for key, members in found.items()]
    with_numbers = [_as_number(key) for key, _ in pieces]
    if None in with_numbers:
        return pieces
    return [piece for _, piece in sorted(zip(with_numbers, pieces, strict=True), key=_first)]


def _first(pair: tuple[float | None, object]) -> float:
    return pair[0] or 0.0


def _as_number(key: Hashable) -> float | None:
    try:
        return float(str(key))
    except ValueError:
        return None


def joined(label: str, more: str) -> str:
    return f"{label}, {more}" if label else more
