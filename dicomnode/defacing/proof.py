"""Is the face gone? Asked of those who had no part in removing it.

The result is read from its files as if a scanner had sent it, and examined like any series: the
anonymised-area network has to see what was removed, the face network no face, the detector none
on the skin. What is not face has to be what it was, bit for bit.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from dicomnode.defacing.grid import Flags
from dicomnode.defacing.slices import Stored
from dicomnode.domain import Evidence, Verdict, VerdictKind

# The networks end a voxel apart, and the anonymised area in front of the head has no true edge.
LEAST_DICE = 0.8


@dataclass(frozen=True)
class Changes:
    """What differs between the slices before and after, as they are in the files."""

    brain: int
    other: int
    kept_sha256: str


def changes(
    before: Sequence[Stored], after: Sequence[Stored], removed: Flags, brain: Flags
) -> Changes:
    """Counts voxels that changed in the brain, and outside of what was to be removed.

    `kept_sha256` is over all stored values outside of the removed region: equal before and after.
    """
    in_brain = elsewhere = 0
    digest = hashlib.sha256()
    for old, new, gone, precious in zip(before, after, removed, brain, strict=True):
        differs = _bits(old) != _bits(new)
        in_brain += int(np.count_nonzero(differs & precious))
        elsewhere += int(np.count_nonzero(differs & ~gone))
        digest.update(np.ascontiguousarray(new[~gone]).tobytes())
    return Changes(in_brain, elsewhere, digest.hexdigest())


def _bits(plane: Stored) -> npt.NDArray[np.unsignedinteger[Any]]:
    """As it is stored: what is no number would never be equal to itself."""
    return np.ascontiguousarray(plane).view(f"u{plane.dtype.itemsize}")


def dice_inside(one: Flags, other: Flags, inside: Flags) -> float:
    a, b = one & inside, other & inside
    total = np.count_nonzero(a) + np.count_nonzero(b)
    return float(2 * np.count_nonzero(a & b) / total) if total else 1.0


def objections(
    verdict: Verdict, dice: float, found: Changes, least_probability: float, evidence: Evidence
) -> tuple[str, ...]:
    """Why the result may not leave; empty where everybody agrees."""
    said = []
    if verdict.kind is not VerdictKind.DEFACED:
        said.append(f"the networks say {verdict.kind}: {verdict.reasons[0]}")
    if dice < LEAST_DICE:
        said.append(
            f"the anonymised-area network sees another region than was removed (Dice {dice:.2f}, "
            f"less than {LEAST_DICE})"
        )
    if found.brain:
        said.append(f"{found.brain} voxels of the brain changed")
    if found.other:
        said.append(f"{found.other} voxels outside of the removed region changed")
    probability = evidence.face_probability
    if probability is not None and probability >= least_probability:
        said.append(f"the face detector still finds a face (probability {probability:.2f})")
    return tuple(said)
