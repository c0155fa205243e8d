"""The tissues that drawn anatomy is made of, and how bright each is in CT and in T1-like MR."""

from __future__ import annotations

from enum import IntEnum
from typing import Literal

Modality = Literal["CT", "MR"]


class Tissue(IntEnum):
    """Label values of drawn anatomy. CAVITY is air inside the body, TABLE is not anatomy."""

    AIR = 0
    SKIN = 1
    FAT = 2
    MUSCLE = 3
    BONE = 4
    MARROW = 5
    CSF = 6
    GREY = 7
    WHITE = 8
    EYE = 9
    CAVITY = 10
    TEETH = 11
    TABLE = 12
    LUNG = 13
    ORGAN = 14


NOT_ANATOMY = (Tissue.AIR, Tissue.TABLE)

# Hounsfield units: textbook means; MR: arbitrary units of a T1-weighted gradient echo.
INTENSITY: dict[Modality, dict[Tissue, float]] = {
    "CT": {
        Tissue.AIR: -1000.0,
        Tissue.SKIN: 30.0,
        Tissue.FAT: -95.0,
        Tissue.MUSCLE: 55.0,
        Tissue.BONE: 1100.0,
        Tissue.MARROW: 450.0,
        Tissue.CSF: 8.0,
        Tissue.GREY: 38.0,
        Tissue.WHITE: 28.0,
        Tissue.EYE: 15.0,
        Tissue.CAVITY: -980.0,
        Tissue.TEETH: 1900.0,
        Tissue.TABLE: -150.0,
        Tissue.LUNG: -820.0,
        Tissue.ORGAN: 80.0,
    },
    "MR": {
        Tissue.AIR: 0.0,
        Tissue.SKIN: 260.0,
        Tissue.FAT: 520.0,
        Tissue.MUSCLE: 190.0,
        Tissue.BONE: 30.0,
        Tissue.MARROW: 300.0,
        Tissue.CSF: 60.0,
        Tissue.GREY: 230.0,
        Tissue.WHITE: 320.0,
        Tissue.EYE: 90.0,
        Tissue.CAVITY: 5.0,
        Tissue.TEETH: 25.0,
        Tissue.TABLE: 0.0,
        Tissue.LUNG: 20.0,
        Tissue.ORGAN: 240.0,
    },
}
