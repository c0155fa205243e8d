"""What an examination of a series brings forth: verdicts, SEGs and pictures."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from dicomnode.domain.evidence import Evidence, SegmentKind
from dicomnode.domain.series import SetAside


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
