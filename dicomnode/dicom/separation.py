"""Telling images at one place apart: echoes, phases, b-values, time points, repetitions."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np

from dicomnode.dicom.geometry import ON_GRID_VOXELS, Vector
from dicomnode.dicom.groups import Group, Pieces, by_key, joined, values
from dicomnode.dicom.header import numbers, texts
from dicomnode.dicom.images import SourceImage
from dicomnode.dicom.repetitions import REPETITION, by_repetition, moments
from dicomnode.dicom.stack import MINIMUM_SLICES, SAME_POSITION_MM

# A separator counts where nearly all images end up in groups that cover most of the positions.
_COVERED_POSITIONS = 0.5
_COVERED_IMAGES = 0.9
# A contrast counts where each of its images cover nearly all of the stack's length.
_COVERED_LENGTH = 0.8

_POSITION = "ImagePositionPatient"

# What makes another image of the same place: no slice of one volume differs in these, wherever it
# lies. Time points that were corrected for motion lie a little beside each other.
_CONTRASTS = (
    "EchoTime",
    "EchoNumbers",
    "InversionTime",
    "FlipAngle",
    "DiffusionBValue",
    "TemporalPositionIdentifier",
    "DiffusionGradientOrientation",
    "ImageType",
    "ComplexImageComponent",
    "ConvolutionKernel",
    "FilterType",
    "KVP",
)
# What tells images at one position apart, the most telling first.
SEPARATORS = (
    *_CONTRASTS,
    "NominalPercentageOfCardiacPhase",
    "TriggerTime",
    "SequenceName",
    "ReceiveCoilName",
    "ReconstructionDiameter",
    "SliceThickness",
    "ContrastBolusAgent",
    "AcquisitionNumber",
)


def separate(group: Group) -> list[Group]:
    """Split until no two images lie at one place, as far as anything tells them apart."""
    places = _places(group.images)
    place_of = dict(zip(map(id, group.images), places, strict=True))
    repeats = len(set(places)) < len(places)
    is_even = _is_even(group.images)
    for name, keys in _separators(group.images):
        pieces = by_key(group.images, keys)
        if len(pieces) > 1 and (
            (repeats and name != REPETITION and _tells_apart(pieces, place_of))
            or ((name in _CONTRASTS or not is_even) and _are_stacks(pieces, name in _CONTRASTS))
        ):
            return [
                smaller
                for key, images in pieces
                for smaller in separate(_piece(group, images, f"{name} {key}"))
            ]
    return by_repetition(group, places) if repeats else [group]


def _separators(images: Sequence[SourceImage]) -> Iterator[tuple[str, list[Hashable]]]:
    """What may tell images apart: its name, and its value in each image."""
    for keyword in SEPARATORS:
        yield keyword, values(keyword)(images)
    # PS3.3 C.7.6.17: what a multi-frame object was made along.
    indices = [texts(item.ds, "DimensionIndexValues") for item in images]
    for dimension in range(min(map(len, indices))):
        yield f"DimensionIndexValues[{dimension}]", [index[dimension] for index in indices]
    for numbered in moments(images):
        yield REPETITION, list(numbered)


def _piece(group: Group, images: tuple[SourceImage, ...], what: str) -> Group:
    return replace(group, images=images, label=joined(group.label, what))


def _tells_apart(pieces: Pieces, place_of: Mapping[int, Hashable]) -> bool:
    """Whether the pieces repeat the place of the whole: a piece for each value that covers it."""
    held = [[place_of[id(item)] for item in images] for _, images in pieces]
    half = _COVERED_POSITIONS * len(set(place_of.values()))
    covering = [places for places in held if len(set(places)) > half]
    if sum(map(len, covering)) < _COVERED_IMAGES * len(place_of):
        return False
    if len(covering) > 1:
        return True
    # Images beside the only one repeat its places, or else are the part of the stack that it lacks.
    covered = set(covering[0])
    others = [place for places in held if places is not covering[0] for place in places]
    return sum(place in covered for place in others) > len(others) / 2


def _are_stacks(pieces: Pieces, is_contrast: bool) -> bool:
    """Whether each piece is a stack of its own, as long as the whole.

    What is no contrast has to make even stacks of an uneven one.
    """
    if any(len(images) < MINIMUM_SLICES for _, images in pieces):
        return False
    whole = _length_mm([item for _, images in pieces for item in images])
    return all(
        _length_mm(images) > _COVERED_LENGTH * whole and (is_contrast or _is_even(images))
        for _, images in pieces
    )


def _length_mm(images: Sequence[SourceImage]) -> float:
    return float(np.ptp(_distances_mm(images)))


def _is_even(images: Sequence[SourceImage]) -> bool:
    distances = np.sort(_distances_mm(images))
    even = np.linspace(distances[0], distances[-1], len(distances))
    step = (distances[-1] - distances[0]) / max(1, len(distances) - 1)
    return bool(np.abs(distances - even).max() <= ON_GRID_VOXELS * step)


def _places(images: Sequence[SourceImage]) -> list[Hashable]:
    """Equal for images that lie at the same place in the same plane."""
    positions, distances = _positions(images), _distances_mm(images)
    order = np.argsort(distances, kind="stable")
    steps = np.diff(distances[order], prepend=distances[order[0]]) >= SAME_POSITION_MM
    planes = np.empty(len(images), int)
    planes[order] = np.cumsum(steps)
    first = dict(zip(planes[::-1], positions[::-1], strict=True))
    beside_mm = np.rint([p - first[plane] for plane, p in zip(planes, positions, strict=True)])
    return [(int(plane), *map(float, mm)) for plane, mm in zip(planes, beside_mm, strict=True)]


def _positions(images: Sequence[SourceImage]) -> Vector:
    return np.array([numbers(item.ds, _POSITION, 3) for item in images], dtype=float)


def _distances_mm(images: Sequence[SourceImage]) -> Vector:
    """Along the normal of the first image."""
    cosines = numbers(images[0].ds, "ImageOrientationPatient", 6) or ()
    return np.asarray(_positions(images) @ np.cross(cosines[:3], cosines[3:]))
