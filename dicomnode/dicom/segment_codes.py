"""How each kind of mask is coded and coloured; the same table stands in docs/conformance.md."""

from __future__ import annotations

from dataclasses import dataclass

from highdicom.color import CIELabColor
from pydicom.sr.coding import Code

from dicomnode.domain import SegmentKind

PRIVATE_SCHEME = "99DICOMNODE"

_ANATOMICAL_STRUCTURE = Code("123037004", "SCT", "Anatomical Structure")
_SPATIAL_CONCEPT = Code("309825002", "SCT", "Spatial and Relational Concept")


@dataclass(frozen=True)
class SegmentDescriptionCodes:
    label: str
    category: Code
    type: Code
    rgb: tuple[int, int, int]

    @property
    def colour(self) -> CIELabColor:
        return CIELabColor.from_rgb(*self.rgb)


SEGMENTS: dict[SegmentKind, SegmentDescriptionCodes] = {
    SegmentKind.FOREGROUND: SegmentDescriptionCodes(
        "Foreground", _ANATOMICAL_STRUCTURE, Code("38266002", "SCT", "Entire body"), (70, 130, 220)
    ),
    SegmentKind.ANONYMISED_AREA: SegmentDescriptionCodes(
        "Anonymised area",
        _SPATIAL_CONCEPT,
        Code("ANON_AREA", PRIVATE_SCHEME, "Anonymised area"),
        (235, 150, 30),
    ),
    SegmentKind.FACE: SegmentDescriptionCodes(
        "Face", _ANATOMICAL_STRUCTURE, Code("89545001", "SCT", "Face"), (220, 50, 60)
    ),
}
