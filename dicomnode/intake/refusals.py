"""Why an object is not accepted, and what its sender is told."""

from __future__ import annotations

from enum import StrEnum
from typing import Literal

from dicomnode.dicom.uid_syntax import is_uid, is_well_formed
from dicomnode.domain import InstanceHeader
from dicomnode.errors import DatabaseError, OutOfSpaceError, SpoolError


class Reason(StrEnum):
    """Stable: they name folders of the quarantine and stand in the database."""

    UNREADABLE = "unreadable"
    BAD_UID = "bad_uid"
    MISMATCH = "mismatch"
    WRONG_CONTEXT = "wrong_context"
    CONFLICT = "conflict"
    OTHER_STUDY = "other_study"
    OUT_OF_SPACE = "out_of_space"
    NOT_STORED = "not_stored"
    NOT_RECORDED = "not_recorded"


# The Status of a C-STORE response (PS3.4 B.2.3, PS3.7 annex C), which is also the Failure Reason
# (0008,1197) of STOW-RS (PS3.18 I.2.2), and the Error Comment (0000,0902): at most 64 characters.
REFUSALS: dict[Reason, tuple[int, str]] = {
    Reason.UNREADABLE: (0xC000, "The data set can't be read or is cut off"),
    Reason.BAD_UID: (0xC001, "A UID of the object is not a UID"),
    Reason.CONFLICT: (0xC002, "Another object with this SOP Instance UID is stored here"),
    Reason.OTHER_STUDY: (0xC409, "The object is not of the study that the request names"),
    Reason.MISMATCH: (0xA900, "The UIDs of data set and command set or file meta differ"),
    Reason.WRONG_CONTEXT: (0x0122, "The SOP class is not that of the presentation context"),
    Reason.OUT_OF_SPACE: (0xA700, "No space left, send again later"),
    Reason.NOT_RECORDED: (0xA700, "The database is away, send again later"),
    Reason.NOT_STORED: (0x0110, "The object could not be written, send again later"),
}


class RefusedObjectError(Exception):
    """An object that is answered with a failure; its bytes go to the quarantine.

    `header` is what it says of itself, true or not.
    """

    def __init__(self, reason: Reason, sentence: str = "", *, header: InstanceHeader) -> None:
        super().__init__(sentence or REFUSALS[reason][1])
        self.reason = reason
        self.header = header


def reason_of(error: DatabaseError | SpoolError | RefusedObjectError) -> Reason:
    """Why `Intake.store` raised it: what every sender is told, whatever it sends by."""
    match error:
        case RefusedObjectError():
            return error.reason
        case OutOfSpaceError():
            return Reason.OUT_OF_SPACE
        case DatabaseError():
            return Reason.NOT_RECORDED
    return Reason.NOT_STORED


def require_uids(
    header: InstanceHeader, *claimed: str, malformed: Literal["accept", "refuse"]
) -> None:
    """The UIDs of the object, and those `claimed` for it outside of its data set, are UIDs."""
    uids = (*_uids_of(header).values(), *claimed)
    if not all(is_uid(uid) for uid in uids):
        raise RefusedObjectError(Reason.BAD_UID, header=header)
    if malformed == "refuse" and not all(is_well_formed(uid) for uid in uids):
        sentence = "A UID breaks PS3.5 9.1, and scp.malformed_uids is refuse"
        raise RefusedObjectError(Reason.BAD_UID, sentence, header=header)


def malformed_attributes(header: InstanceHeader) -> tuple[str, ...]:
    """The keywords of the UIDs that break the rules of PS3.5 9.1."""
    return tuple(name for name, uid in _uids_of(header).items() if not is_well_formed(uid))


def require_consistent(
    header: InstanceHeader,
    *,
    sop_class_uid: str,
    sop_instance_uid: str,
    context_sop_class_uid: str,
) -> None:
    """The UIDs of the command set or file meta (given by name) are the data set's."""
    if (header.sop_instance_uid, header.sop_class_uid) != (sop_instance_uid, sop_class_uid):
        raise RefusedObjectError(Reason.MISMATCH, header=header)
    if sop_class_uid != context_sop_class_uid:
        raise RefusedObjectError(Reason.WRONG_CONTEXT, header=header)


def _uids_of(header: InstanceHeader) -> dict[str, str]:
    return {
        "SOPInstanceUID": header.sop_instance_uid,
        "SeriesInstanceUID": header.series_instance_uid,
        "StudyInstanceUID": header.study_instance_uid,
        "SOPClassUID": header.sop_class_uid,
    }
