"""A copy of a study without its faces: what is asked for, what was made, and the proof of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from dicomnode.domain.evidence import Evidence
from dicomnode.domain.examination import Picture, Verdict
from dicomnode.domain.series import Revision


@dataclass(frozen=True)
class DefacingProof:
    """`dice` is that of what was removed and what the anonymised-area network sees of it, inside
    the head. `objections` are sentences; the face is gone where there is none."""

    verdict: Verdict
    evidence: Evidence
    dice: float
    removed_ml: float
    brain_voxels: int
    brain_voxels_changed: int
    other_voxels_changed: int
    kept_sha256: str
    face_probability_before: float | None
    objections: tuple[str, ...]

    @property
    def is_given(self) -> bool:
        return not self.objections


class CopyWay(StrEnum):
    """How a volume came into a copy: with its face replaced, or as it was, under other UIDs."""

    DEFACED = "defaced"
    UNCHANGED = "unchanged"


@dataclass(frozen=True)
class CopyOrder:
    """Copy one series into the study `study_instance_uid`, its files into `folder`.

    `unchanged` are labels of the volumes without a face. `identity` is part of every new UID: the
    same order gives the same objects. `project` is the one by whose settings headers are
    de-identified; empty: they stay as they came. `way` is that of whoever asked.
    """

    revision: Revision
    unchanged: frozenset[str]
    study_instance_uid: str
    identity: str
    folder: Path
    project: str = ""
    way: tuple[str, ...] = ()


@dataclass(frozen=True)
class VolumeCopy:
    """One volume as a series of its own. `proof` and the two `pictures`, before and after, are
    there where a face was removed."""

    label: str
    way: CopyWay
    series_instance_uid: str
    images: int
    paths: tuple[Path, ...]
    proof: DefacingProof | None = None
    pictures: tuple[Picture, ...] = ()


@dataclass(frozen=True)
class SeriesCopy:
    """What was made of one series; `left_out` are sentences about what has no copy."""

    series_instance_uid: str
    volumes: tuple[VolumeCopy, ...] = ()
    left_out: tuple[str, ...] = ()


CopySeries = Callable[[CopyOrder], SeriesCopy]


class CopyState(StrEnum):
    """The life of a copy of a study. ASKED: no job was queued yet. The last three are ends."""

    ASKED = "asked"
    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


OPEN_COPIES = (CopyState.ASKED, CopyState.QUEUED, CopyState.RUNNING)
