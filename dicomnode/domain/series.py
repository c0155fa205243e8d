"""What came: objects, series and their revisions, and why no volume is made of some."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from pathlib import Path


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
