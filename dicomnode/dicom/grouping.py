"""Which images of a series make up one volume: a series may hold several, or strays.

First the images are parted by what no volume can mix (frame of reference, matrix, orientation ...).
Where images of one part still lie at the same place, the part is split by the attribute that
tells them apart there: echo time, b-value, time point ... Each group that remains is a stack, or
is refused by `stack.sorted_stack`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from pydicom.dataset import Dataset

from dicomnode.dicom.header import numbers, text, value
from dicomnode.dicom.images import SourceImage
from dicomnode.dicom.stack import MINIMUM_SLICES, SAME_POSITION_MM, SAME_VALUE
from dicomnode.domain import RefusalCode

# A separator counts where nearly all images end up in groups that cover most of the positions.
_COVERED_POSITIONS = 0.5
_COVERED_IMAGES = 0.9

_POSITION = "ImagePositionPatient"
_LONGEST_VALUE = 64

# What tells images at one position apart, the most telling first.
SEPARATORS = (
    "EchoTime",
    "EchoNumbers",
    "InversionTime",
    "FlipAngle",
    "DiffusionBValue",
    "DiffusionGradientOrientation",
    "ImageType",
    "ComplexImageComponent",
    "ConvolutionKernel",
    "TemporalPositionIdentifier",
    "NominalPercentageOfCardiacPhase",
    "TriggerTime",
    "SequenceName",
    "AcquisitionNumber",
)


@dataclass(frozen=True)
class Group:
    """Images that may be one stack.

    `label` says what tells them from the other images of the series. `part` names what they were
    parted by before: groups of one part are repetitions of the same place. `stray_code` is the
    refusal that fits where they are too few to be a volume.
    """

    images: tuple[SourceImage, ...]
    label: str = ""
    part: str = ""
    stray_code: RefusalCode = RefusalCode.TOO_FEW_SLICES
    stray_attribute: str = "number of slices"


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
    return [group for part in parts for group in _separate(part)]


def _part(group: Group, parting: _Parting) -> list[Group]:
    pieces = _by(group.images, parting.of(group.images))
    if len(pieces) == 1:
        return [group]
    return [
        Group(
            images,
            label=(label := _joined(group.label, f"{parting.attribute} {_shown(key)}")),
            part=label,
            stray_code=parting.code,
            stray_attribute=parting.attribute,
        )
        for key, images in pieces
    ]


def _values(*keywords: str) -> Callable[[Sequence[SourceImage]], list[Hashable]]:
    def of(images: Sequence[SourceImage]) -> list[Hashable]:
        return [" x ".join(_value(item.ds, keyword) for keyword in keywords) for item in images]

    return of


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
        "FrameOfReferenceUID", _values("FrameOfReferenceUID"), RefusalCode.NO_FRAME_OF_REFERENCE
    ),
    _Parting("Rows, Columns", _values("Rows", "Columns"), RefusalCode.MIXED_MATRIX),
    _Parting(
        "ImageOrientationPatient",
        _nearly("ImageOrientationPatient", 6),
        RefusalCode.MIXED_ORIENTATION,
    ),
    _Parting("PixelSpacing", _nearly("PixelSpacing", 2), RefusalCode.MIXED_MATRIX),
    _Parting(
        "PhotometricInterpretation",
        _values("PhotometricInterpretation"),
        RefusalCode.TOO_FEW_SLICES,
    ),
    _Parting("StackID", _values("StackID"), RefusalCode.TOO_FEW_SLICES),
)


def _separate(group: Group) -> list[Group]:
    """Split until no two images lie at one place, as far as anything tells them apart."""
    places = _places(group.images)
    if len(set(places)) == len(places):
        return [group]
    for keyword in SEPARATORS:
        pieces = _by(group.images, _values(keyword)(group.images))
        if len(pieces) > 1 and _tells_apart(pieces, len(set(places))):
            return [
                smaller
                for key, images in pieces
                for smaller in _separate(_piece(group, images, f"{keyword} {key}"))
            ]
    return _by_repetition(group, places)


def _piece(group: Group, images: tuple[SourceImage, ...], what: str) -> Group:
    return replace(group, images=images, label=_joined(group.label, what))


def _tells_apart(pieces: Sequence[tuple[Hashable, tuple[SourceImage, ...]]], places: int) -> bool:
    """Whether the pieces repeat the place of the whole: a piece for each value that covers it."""
    total = sum(len(images) for _, images in pieces)
    covered = 0
    for _, images in pieces:
        of_piece = len(set(_places(images)))
        if of_piece > _COVERED_POSITIONS * places:
            covered += len(images)
    return covered >= _COVERED_IMAGES * total


def _by_repetition(group: Group, places: Sequence[Hashable]) -> list[Group]:
    """The first image at each place, the second ...: by the numbers that the scanner gave.

    Where two images at one place have the same number, nothing tells them apart.
    """
    numbered = [(place, item.order) for place, item in zip(places, group.images, strict=True)]
    if len(set(numbered)) < len(numbered):
        return [group]
    seen: Counter[Hashable] = Counter()
    repetition = []
    for place in places:  # images are in the order of their numbers
        seen[place] += 1
        repetition.append(seen[place])
    pieces = [
        _piece(group, images, f"repetition {key}") for key, images in _by(group.images, repetition)
    ]
    if all(map(is_stray, pieces)):
        return pieces
    code = RefusalCode.DUPLICATE_POSITION
    return [replace(piece, stray_code=code, stray_attribute=_POSITION) for piece in pieces]


def _places(images: Sequence[SourceImage]) -> list[Hashable]:
    """Equal for images that lie at the same place in the same plane."""
    positions = np.array([numbers(item.ds, _POSITION, 3) for item in images], dtype=float)
    cosines = numbers(images[0].ds, "ImageOrientationPatient", 6) or ()
    distances = positions @ np.cross(cosines[:3], cosines[3:])
    order = np.argsort(distances, kind="stable")
    steps = np.diff(distances[order], prepend=distances[order[0]]) >= SAME_POSITION_MM
    planes = np.empty(len(images), int)
    planes[order] = np.cumsum(steps)
    first = dict(zip(planes[::-1], positions[::-1], strict=True))
    beside_mm = np.rint([p - first[plane] for plane, p in zip(planes, positions, strict=True)])
    return [(int(plane), *map(float, mm)) for plane, mm in zip(planes, beside_mm, strict=True)]


def _by(
    images: Sequence[SourceImage], keys: Sequence[Hashable]
) -> list[tuple[Hashable, tuple[SourceImage, ...]]]:
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


def _value(ds: Dataset, keyword: str) -> str:
    return _shown(value(ds, keyword))


def _shown(found: object) -> str:
    if found is None:
        return "(absent)"
    if isinstance(found, str):
        return "".join(c if c.isprintable() else "?" for c in found.strip())[:_LONGEST_VALUE]
    if isinstance(found, Sequence) or hasattr(found, "__iter__"):
        return "\\".join(_shown(item) for item in found)
    return f"{found:.5g}" if isinstance(found, float) else str(found)


def _joined(label: str, more: str) -> str:
    return f"{label}, {more}" if label else more


def is_stray(group: Group) -> bool:
    return len(group.images) < MINIMUM_SLICES
