"""Images that repeat a place and say nothing of why: by their numbers, their times, or counted.

Numbers come first, since times are often rounded to a second in which one repetition ends and the
next begins. A series may have lost an image. Counting what lies at each place would then move every
later image of that place into the repetition before its own, so images are only counted where all
places have equally many.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import replace
from typing import Any

from dicomnode.dicom.groups import Group, by_key, joined, values
from dicomnode.dicom.header import text
from dicomnode.dicom.images import SourceImage
from dicomnode.domain import RefusalCode

REPETITION = "repetition"
# A time counts where nearly all images belong to repetitions that hold nearly all places.
_WHOLE = 0.9

_CLOCKS = (
    ("AcquisitionDateTime",),
    ("AcquisitionDate", "AcquisitionTime"),
    ("ContentDate", "ContentTime"),
)


def by_repetition(group: Group, places: Sequence[Hashable]) -> list[Group]:
    """One group per repetition; the group as it is where nothing tells its images apart."""
    keys = (
        _numbered_through(group.images, places)
        or _timed(group.images, places)
        or _counted(group.images, places)
    )
    if keys is None:
        return [group]
    pieces = [
        replace(group, images=images, label=joined(group.label, f"{REPETITION} {key}"))
        for key, images in by_key(group.images, keys)
    ]
    if all(piece.is_stray for piece in pieces):
        return pieces
    code, attribute = RefusalCode.DUPLICATE_POSITION, "ImagePositionPatient"
    return [
        replace(piece, stray_code=code, stray_attribute=attribute, stray_value=piece.label)
        for piece in pieces
    ]


def _numbered_through(
    images: Sequence[SourceImage], places: Sequence[Hashable]
) -> list[int] | None:
    """Where the images are numbered volume after volume, or place after place: from the number
    alone, so that lost images leave gaps and move nothing."""
    if len({item.path for item in images}) > 1 and any(item.frame is not None for item in images):
        return None  # each object counts its own frames
    numbers = [int(item.order[0]) if item.frame is None else item.frame + 1 for item in images]
    if len(set(numbers)) < len(numbers):
        return None
    length, volumes = len(set(places)), max(Counter(places).values())
    found = []
    for first in dict.fromkeys((1, min(numbers))):
        by_volume = [divmod(number - first, length) for number in numbers]
        if _each_at_one_place([index for _, index in by_volume], places):
            found.append([volume + 1 for volume, _ in by_volume])
        by_place = [divmod(number - first, volumes) for number in numbers]
        if _each_at_one_place([index for index, _ in by_place], places):
            found.append([volume + 1 for _, volume in by_place])

    def whole(keys: list[int]) -> int:
        return sum(count == length for count in Counter(keys).values())

    # Numbers may begin with any; where the first image was lost, with the one after it.
    return max(found, key=whole, default=None)


def _each_at_one_place(indices: Sequence[int], places: Sequence[Hashable]) -> bool:
    pairs = len(set(zip(indices, places, strict=True)))
    return pairs == len(set(indices)) == len(set(places))


def moments(images: Sequence[SourceImage]) -> Iterator[list[int]]:
    """By each clock of the scanner the moment of each image, numbered in their order."""
    for keywords in _CLOCKS:
        times = values(*keywords)(images)
        number = {time: index for index, time in enumerate(sorted(set(times), key=str), start=1)}
        yield [number[time] for time in times]


def _timed(images: Sequence[SourceImage], places: Sequence[Hashable]) -> list[int] | None:
    """Where a clock shows another time for each repetition, and one for all of its places."""
    for keys in moments(images):
        if len(set(zip(keys, places, strict=True))) < len(keys):
            continue
        sizes = Counter(keys).values()
        whole = sum(size for size in sizes if size >= _WHOLE * len(set(places)))
        if whole >= _WHOLE * len(keys):
            return keys
    return None


def _counted(images: Sequence[SourceImage], places: Sequence[Hashable]) -> list[int] | None:
    """The first image at each place, the second ...: by number, or else by time."""
    repeats = sorted(Counter(places).values())
    if repeats[0] != repeats[-1] and repeats[len(repeats) // 2] > 1:
        return None
    for of in _SEQUENCES:
        ordered = sorted(zip(map(of, images), places, strict=True), key=lambda pair: pair[0])
        if len(set(ordered)) == len(ordered):
            break
    else:
        return None
    seen: Counter[Hashable] = Counter()
    repetition: dict[tuple[object, Hashable], int] = {}
    for moment, place in ordered:
        seen[place] += 1
        repetition[moment, place] = seen[place]
    return [repetition[of(item), place] for item, place in zip(images, places, strict=True)]


def _time(*keywords: str) -> Callable[[SourceImage], tuple[Any, ...]]:
    return lambda item: tuple(text(item.ds, keyword) or "" for keyword in keywords)


# What numbers the repetitions of a place. Some scanners begin to count anew with each of them.
_SEQUENCES: tuple[Callable[[SourceImage], tuple[Any, ...]], ...] = (
    lambda item: item.order,
    *(_time(*keywords) for keywords in _CLOCKS),
)
