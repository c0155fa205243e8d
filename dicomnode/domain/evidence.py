"""What was found in a volume: numbers, and what its headers claim."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum


class SegmentKind(StrEnum):
    """What a network segments; each kind found becomes a segment of the SEG, in this order."""

    FOREGROUND = "foreground"
    ANONYMISED_AREA = "anonymised_area"
    FACE = "face"


@dataclass(frozen=True)
class ModelIdentity:
    """The network that made a mask: what the SEG and the evidence carry."""

    kind: SegmentKind
    name: str
    version: str
    sha256: str


@dataclass(frozen=True)
class HeaderClaims:
    """What the headers of a series say about de-identification (PS3.3 C.12.1, C.7.1.1).

    Claims can only make the gate stricter. An absent element is `None` or empty: unknown.
    """

    patient_identity_removed: str | None = None  # (0012,0062)
    deidentification_method: tuple[str, ...] = ()  # (0012,0063)
    deidentification_codes: tuple[str, ...] = ()  # (0012,0064), "113102/DCM"
    recognizable_visual_features: str | None = None  # (0028,0302)
    burned_in_annotation: str | None = None  # (0028,0301)
    body_part_examined: str | None = None  # (0018,0015)


@dataclass(frozen=True)
class Acquisition:
    """How the images of a volume came to be, as far as a policy may ask; None: not recorded.

    `slice_spacing_mm` is that of the slices as they were sent; the texts are code strings that any
    image names, in capitals, and none where no image says anything.
    """

    slice_spacing_mm: float | None = None
    image_types: tuple[str, ...] | None = None  # (0008,0008)
    scanning_sequences: tuple[str, ...] | None = None  # (0018,0020), or EP by (0018,9018)


@dataclass(frozen=True)
class Subject:
    """What the choice of networks looks at in one volume; an empty text is unknown.

    `body_part` is what (0018,0015) claims, in capitals; `spacing_mm` is that of the grid (z, y, x)
    that the networks see, to a thousandth.
    """

    modality: str
    body_part: str
    spacing_mm: tuple[float, float, float]


def subject_of(
    modality: str, claims: HeaderClaims, spacing_mm: tuple[float, float, float]
) -> Subject:
    z, y, x = (round(millimetres, 3) for millimetres in spacing_mm)
    return Subject(modality, (claims.body_part_examined or "").strip().upper(), (z, y, x))


# The digest of what would examine a series with these volumes now: networks, rules, thresholds.
WantedDigest = Callable[[Sequence[Subject]], str]


class FacePart(StrEnum):
    """A third of the face, from the brow down: eyes, nose, mouth and chin."""

    UPPER = "upper"
    MIDDLE = "middle"
    LOWER = "lower"


@dataclass(frozen=True)
class FaceSurface:
    """The face's surface as the outside sees it; see `dicomnode.inference.surface`.

    The two shares are None where no face's surface is in view, `parts` where they can't be told.
    """

    area_cm2: float = 0.0
    anonymised_percent: float | None = None
    intact_percent: float | None = None
    parts: tuple[FacePart, ...] | None = None


@dataclass(frozen=True)
class Evidence:
    """What was found in one revision of a series: numbers only, no pictures, no patient.

    `unanswered` says of each kind of which no network looked why none did. `face_surface` is None
    where it was not measured, `face_probability` (of a face detector) where none was asked.
    `unpictured` says why there are no pictures of the skin.
    """

    volumes_ml: Mapping[SegmentKind, float]
    largest_component_ml: Mapping[SegmentKind, float]
    exposed_face_ml: float
    models: tuple[ModelIdentity, ...]
    claims: HeaderClaims
    field_of_view_mm: tuple[float, float, float]
    spacing_mm: tuple[float, float, float]
    matrix: tuple[int, int, int]
    widest_gap_mm: float = 0.0
    face_in_gaps_ml: float = 0.0
    warnings: tuple[str, ...] = ()
    modality: str = ""
    unanswered: Mapping[SegmentKind, str] = field(default_factory=dict)
    face_surface: FaceSurface | None = None
    face_probability: float | None = None
    unpictured: str = ""
    acquisition: Acquisition = Acquisition()

    @property
    def subject(self) -> Subject:
        return subject_of(self.modality, self.claims, self.spacing_mm)
