"""What the node makes of some files: volumes, and what is set aside with which code."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dicomnode.config import SeriesSettings
from dicomnode.dicom.series import SourceStack, sort_series
from dicomnode.dicom.volume import Volume, read_volume
from dicomnode.domain import Refusal, RefusalCode, SetAside
from dicomnode.errors import SeriesRefusedError
from tests.readers import ReadVolume


@dataclass(frozen=True)
class Outcome:
    """Volumes with the stacks they were read from, in the node's order."""

    stacks: tuple[SourceStack, ...]
    volumes: tuple[Volume, ...]
    set_aside: tuple[SetAside, ...]

    @property
    def codes(self) -> set[RefusalCode]:
        return {item.refusal.code for item in self.set_aside}

    @property
    def labels(self) -> list[str]:
        return [stack.label for stack in self.stacks]

    def images_aside(self, code: RefusalCode) -> int:
        return sum(item.images for item in self.set_aside if item.refusal.code == code)


def outcome_of(paths: Sequence[Path], settings: SeriesSettings | None = None) -> Outcome:
    """A stack that turns out to be unreadable is set aside, as an examination does it."""
    found = sort_series(paths, settings or SeriesSettings())
    stacks, volumes, set_aside = [], [], list(found.set_aside)
    for stack in found.stacks:
        try:
            volumes.append(read_volume(stack))
            stacks.append(stack)
        except SeriesRefusedError as error:
            set_aside.append(SetAside(_refusal(error), stack.geometry.shape[0]))
    return Outcome(tuple(stacks), tuple(volumes), tuple(set_aside))


def _refusal(error: SeriesRefusedError) -> Refusal:
    assert isinstance(error.refusal, Refusal)
    return error.refusal


def slices_of(volume: Volume) -> list[ReadVolume]:
    """Each slice of a volume of the node, (1, row, column), at its own place."""
    return [
        ReadVolume(volume.array[[index]], slice_affine(volume, index))
        for index in range(volume.geometry.shape[0])
    ]


def slice_affine(volume: Volume, index: int) -> NDArray[np.float64]:
    geometry = volume.geometry
    affine = np.eye(4)
    affine[:3, 0] = np.cross(geometry.row_cosines, geometry.column_cosines)
    affine[:3, 1] = geometry.column_cosines * geometry.pixel_spacing_mm[0]
    affine[:3, 2] = geometry.row_cosines * geometry.pixel_spacing_mm[1]
    affine[:3, 3] = geometry.positions_mm[index]
    return affine


def whole(volume: Volume) -> ReadVolume:
    """An evenly spaced volume of the node as one; tilt is in the affine."""
    affine = slice_affine(volume, 0)
    positions = volume.geometry.positions_mm
    affine[:3, 0] = (positions[-1] - positions[0]) / (len(positions) - 1)
    return ReadVolume(volume.array, affine)
