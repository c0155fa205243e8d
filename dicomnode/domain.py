"""The nouns of the project, as values.

Nothing here knows the network, the database or an array library. Times are aware and in UTC,
volumes are in millilitres, digests are lower-case hexadecimal SHA-256.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Any


class SegmentKind(StrEnum):
    """What a network segments; each kind found becomes a segment of the SEG, in this order."""

    FOREGROUND = "foreground"
    ANONYMISED_AREA = "anonymised_area"
    FACE = "face"


class RefusalCode(StrEnum):
    """Why no volume can be made of a series. Stable: they stand in databases and reports."""

    NOT_CT_OR_MR = "NOT_CT_OR_MR"
    NOT_VOLUMETRIC = "NOT_VOLUMETRIC"
    SECONDARY_CAPTURE = "SECONDARY_CAPTURE"
    LOCALIZER = "LOCALIZER"
    MOSAIC = "MOSAIC"
    MULTIFRAME = "MULTIFRAME"
    TOO_FEW_SLICES = "TOO_FEW_SLICES"
    MIXED_ORIENTATION = "MIXED_ORIENTATION"
    MIXED_MATRIX = "MIXED_MATRIX"
    DUPLICATE_POSITION = "DUPLICATE_POSITION"
    IRREGULAR_SPACING = "IRREGULAR_SPACING"
    NO_GEOMETRY = "NO_GEOMETRY"
    NO_FRAME_OF_REFERENCE = "NO_FRAME_OF_REFERENCE"
    NO_PIXEL_DATA = "NO_PIXEL_DATA"
    NOT_MONOCHROME = "NOT_MONOCHROME"
    UNREADABLE_PIXELS = "UNREADABLE_PIXELS"
    UNREADABLE_OBJECT = "UNREADABLE_OBJECT"
    NOT_CHOSEN = "NOT_CHOSEN"


@dataclass(frozen=True)
class Refusal:
    """A stable code, a sentence for people, and the attribute and values that led to it."""

    code: RefusalCode
    sentence: str
    attribute: str = ""
    values: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.code}: {self.sentence}"


@dataclass(frozen=True)
class SetAside:
    """Some images of a series of which no volume is made, and why.

    `images` counts the frames of an object where they can be told apart, else the object once.
    """

    refusal: Refusal
    images: int


@dataclass(frozen=True)
class SizeHints:
    """What one object says of the size of its series (PS3.3 C.7.6.1, C.7.6.6, C.7.6.16.2.2.4).

    None, or empty, where it says nothing.
    """

    acquisition_number: int | None = None  # (0020,0012)
    images_in_acquisition: int | None = None  # (0020,1002)
    number_of_frames: int | None = None  # (0028,0008)
    concatenation_uid: str = ""  # (0020,9161)
    in_concatenation_total: int | None = None  # (0020,9163)


@dataclass(frozen=True)
class InstanceHeader:
    """What the index needs to know of one stored object (PS3.3 C.12.1, C.7.2.1, C.7.3.1)."""

    sop_class_uid: str
    sop_instance_uid: str
    study_instance_uid: str
    series_instance_uid: str
    transfer_syntax_uid: str
    modality: str
    hints: SizeHints = SizeHints()


@dataclass(frozen=True)
class StoredInstance:
    """One object that is durably in the spool; `name` is its hashed name there.

    `was_there`: its file was there before it came, so it says nothing of what was removed.
    """

    header: InstanceHeader
    name: str
    size_bytes: int
    file_sha256: str
    pixel_sha256: str
    data_set_sha256: str
    received_at: datetime
    calling_ae_title: str = ""
    called_ae_title: str = ""
    peer_address: str = ""
    association_id: str = ""
    was_there: bool = False


@dataclass(frozen=True)
class Revision:
    """A series as it stood when it was found complete.

    `digest` is over the set of SOP Instance UIDs and the pixel data, so the same series sent
    again is the same revision and a late slice makes a new one. `completed_by` names the signal
    that found it complete, `completion` is what that signal saw: a sentence.
    """

    id: int
    number: int
    digest: str
    study_instance_uid: str
    series_instance_uid: str
    modality: str
    paths: tuple[Path, ...]
    calling_ae_title: str = ""
    peer_address: str = ""
    completed_by: str = ""
    completion: str = ""


def revision_digest(instances: Iterable[tuple[str, str]]) -> str:
    """SHA-256 over the set of (SOP Instance UID, SHA-256 of the pixel data), in any order."""
    digest = hashlib.sha256()
    for uid, pixel_sha256 in sorted(set(instances)):
        digest.update(f"{uid} {pixel_sha256}\n".encode("ascii"))
    return digest.hexdigest()


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


class VerdictKind(StrEnum):
    """What the node says of a series, best first; a study has the worst of its series."""

    DEFACED = "DEFACED"
    NO_FACE_IN_VIEW = "NO_FACE_IN_VIEW"
    UNDETERMINED = "UNDETERMINED"
    FACE_VISIBLE = "FACE_VISIBLE"

    @property
    def severity(self) -> int:
        return list(VerdictKind).index(self)


def worst_verdict(kinds: Iterable[VerdictKind]) -> VerdictKind:
    """The verdict of a study from those of its series; without any, UNDETERMINED."""
    return max(kinds, key=lambda kind: kind.severity, default=VerdictKind.UNDETERMINED)


@dataclass(frozen=True)
class Verdict:
    """A verdict, the rule that gave it, and the sentences that a person reads."""

    kind: VerdictKind
    rule_id: str
    rule_version: int
    reasons: tuple[str, ...]
    numbers: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class SegmentationFile:
    """A SEG on disk, decoded again and found right, waiting to be delivered.

    Segment number n is of the kind `segments[n - 1]`. `pixel_sha256` is as of a received object:
    by it the SEG is known when a PACS sends it back; empty: it isn't.
    """

    segments: tuple[SegmentKind, ...]
    sop_instance_uid: str
    series_instance_uid: str
    path: Path
    sha256: str
    pixel_sha256: str = ""


class View(StrEnum):
    """What a picture shows: cuts through the middle of what was found, sheets of evenly spaced
    cuts, or the skin from outside (`LEFT` looks at the patient's left side)."""

    OVERVIEW = "overview"
    AXIAL = "axial"
    CORONAL = "coronal"
    SAGITTAL = "sagittal"
    AXIAL_SHEET = "axial_sheet"
    CORONAL_SHEET = "coronal_sheet"
    SAGITTAL_SHEET = "sagittal_sheet"
    FRONT = "front"
    LEFT = "left"
    RIGHT = "right"
    THREE_QUARTER = "three_quarter"


@dataclass(frozen=True)
class Picture:
    """A PNG of a volume, with or without what the networks found drawn on it.

    It can show a face: whoever may see it sees a patient.
    """

    view: View
    has_masks: bool
    path: Path
    sha256: str
    width_pixels: int
    height_pixels: int


@dataclass(frozen=True)
class ExaminedVolume:
    """One volume of a series: what was found in it, and its SEG where anything was found.

    `label` tells it from the other volumes of its series ("EchoTime 4.92"); empty for an only one.
    `pictures`: none in records of earlier versions.
    """

    label: str
    images: int
    evidence: Evidence
    verdict: Verdict
    segmentation: SegmentationFile | None = None
    pictures: tuple[Picture, ...] = ()


@dataclass(frozen=True)
class Examination:
    """The result of the main path for one revision: volumes with verdicts, and what is none.

    A series without a volume has at least one entry in `set_aside`. `examiner_digest` names what
    examined: the networks that looked at each volume, the rules and their thresholds.
    """

    revision_digest: str
    volumes: tuple[ExaminedVolume, ...] = ()
    set_aside: tuple[SetAside, ...] = ()
    software_version: str = ""
    examiner_digest: str = ""

    @property
    def verdict(self) -> Verdict | None:
        """The worst of the volumes' verdicts; None where there is no volume."""
        verdicts = [volume.verdict for volume in self.volumes]
        return max(verdicts, key=lambda verdict: verdict.kind.severity, default=None)


class DeliveryState(StrEnum):
    """The life of one delivery; the last three are ends.

    STORED: the destination took it, and is still to prove that it has kept it.
    """

    PENDING = "pending"
    STORED = "stored"
    DELIVERED = "delivered"
    REFUSED = "refused"
    CANCELLED = "cancelled"


class GateOutcome(StrEnum):
    RELEASE = "release"
    HOLD = "hold"
    UNKNOWN_STUDY = "unknown_study"


@dataclass(frozen=True)
class GateDecision:
    """May this study leave? `reasons` names every series that holds it, or why it may go.

    `remarks` decide nothing: what to know of it all the same.
    """

    study_instance_uid: str
    outcome: GateOutcome
    reasons: tuple[str, ...]
    remarks: tuple[str, ...] = ()


class Role(StrEnum):
    """What an account may do; each may do what those before it may."""

    VIEWER = "viewer"
    REVIEWER = "reviewer"
    STEWARD = "steward"
    ADMINISTRATOR = "administrator"

    def includes(self, other: Role) -> bool:
        return self.rank >= other.rank

    @property
    def rank(self) -> int:
        return list(Role).index(self)


def as_json(value: object) -> Any:
    """Any value of this module as what `json.dumps` writes: names for enums, ISO 8601 times."""
    if is_dataclass(value) and not isinstance(value, type):
        return {item.name: as_json(getattr(value, item.name)) for item in fields(value)}
    if isinstance(value, StrEnum):
        return value.value
    if isinstance(value, Mapping):
        return {str(as_json(key)): as_json(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [as_json(item) for item in value]
    if isinstance(value, datetime):
        return value.isoformat()
    return str(value) if isinstance(value, Path) else value
