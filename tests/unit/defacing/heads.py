"""Drawn heads with the truth of every voxel: tissue, face, brain."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

from dicomnode.training.drawn import DrawnHead, draw_head
from dicomnode.training.tissue import Tissue

SPACING_MM = (2.0, 2.0, 2.0)
MODALITIES = ("CT", "MR")
SEEDS = (3, 11, 42)


@cache
def head(modality: Any, seed: int = 3) -> DrawnHead:
    return draw_head(seed, modality, spacing_mm=2.0)


def brain_of(drawn: DrawnHead) -> np.ndarray[Any, np.dtype[np.bool_]]:
    return np.isin(drawn.labels, (Tissue.GREY, Tissue.WHITE))
