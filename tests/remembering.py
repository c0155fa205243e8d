"""Networks without weights that deface drawn heads: they see by thresholds, and remember tissue.

What was tissue when a volume of that grid was first seen and is air now is "anonymised".
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from dicomnode.domain import ModelIdentity, SegmentKind

Mask = npt.NDArray[np.uint8]
_TISSUE_HU = -300.0


@dataclass
class Memory:
    """`is_blind`: its anonymised-area network finds nothing, so that no proof is given."""

    is_blind: bool = False
    seen: dict[tuple[int, ...], npt.NDArray[np.bool_]] = field(default_factory=dict)

    def foreground(self, array: npt.NDArray[np.float32]) -> npt.NDArray[np.bool_]:
        tissue = np.asarray(array > _TISSUE_HU)
        self.seen.setdefault(array.shape, tissue)
        return tissue

    def anonymised(self, array: npt.NDArray[np.float32]) -> npt.NDArray[np.bool_]:
        tissue = self.foreground(array)
        return np.zeros_like(tissue) if self.is_blind else self.seen[array.shape] & ~tissue

    def face(self, array: npt.NDArray[np.float32]) -> npt.NDArray[np.bool_]:
        """The front of the head, below the brow; axes are toward head, posterior and left."""
        tissue = self.foreground(array)
        was = self.seen[array.shape]
        rows = np.flatnonzero(was.any(axis=(0, 2)))
        front = np.zeros_like(tissue)
        depth = rows[0] + (rows[-1] - rows[0]) // 6
        front[array.shape[0] // 5 : array.shape[0] // 2, :depth] = True
        return tissue & front


@dataclass
class RememberingNetwork:
    kind: SegmentKind
    find: Callable[[npt.NDArray[np.float32]], npt.NDArray[np.bool_]]
    modalities: tuple[str, ...] = ("CT", "MR")
    falls: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return f"remembering-{self.kind.value}"

    @property
    def identity(self) -> ModelIdentity:
        digest = f"{list(SegmentKind).index(self.kind):064d}"
        return ModelIdentity(self.kind, self.name, "1", digest)

    def segment(self, array: Any, spacing_mm: tuple[float, float, float]) -> Mask:
        return self.find(array).astype(np.uint8)


def networks(memory: Memory) -> Sequence[RememberingNetwork]:
    return (
        RememberingNetwork(SegmentKind.FOREGROUND, memory.foreground),
        RememberingNetwork(SegmentKind.ANONYMISED_AREA, memory.anonymised),
        RememberingNetwork(SegmentKind.FACE, memory.face),
    )
