"""What a STOW-RS client is told: the Store Instances Response Module and its HTTP status."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any

from dicomnode.dicom.uid_syntax import is_uid
from dicomnode.domain import InstanceHeader
from dicomnode.intake.refusals import REFUSALS, Reason


class StoreStatus(IntEnum):
    """Every status that a store request is answered (PS3.18 Table 10.5.3-1, 8.5)."""

    OK = 200
    ACCEPTED = 202
    BAD_REQUEST = 400
    UNAUTHORIZED = 401
    REQUEST_TIMEOUT = 408
    CONFLICT = 409
    CONTENT_TOO_LARGE = 413
    UNSUPPORTED_MEDIA_TYPE = 415
    SERVICE_UNAVAILABLE = 503


class RefusedRequestError(Exception):
    """A request that is not read, or not to its end; what it brought before is stored."""

    def __init__(self, status: StoreStatus, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status


_LATER = frozenset({Reason.OUT_OF_SPACE, Reason.NOT_RECORDED, Reason.NOT_STORED})
_RETRIEVE_URL, _FAILURE_REASON = "00081190", "00081197"
_SOP_CLASS_UID, _SOP_INSTANCE_UID = "00081150", "00081155"
_FAILED_SOP_SEQUENCE, _REFERENCED_SOP_SEQUENCE = "00081198", "00081199"
_OTHER_FAILURES_SEQUENCE = "0008119A"


@dataclass
class StoreReport:
    """One entry for each part of a request, in the order in which they came."""

    stored: list[InstanceHeader] = field(default_factory=list)
    failed: list[tuple[InstanceHeader, Reason]] = field(default_factory=list)

    def is_empty(self) -> bool:
        return not self.stored and not self.failed

    def unreadable(self) -> int:
        return sum(reason is Reason.UNREADABLE for _, reason in self.failed)

    def status(self) -> StoreStatus:
        """503 only where every object may be sent again as it is."""
        if not self.failed:
            return StoreStatus.OK if self.stored else StoreStatus.BAD_REQUEST
        if self.stored:
            return StoreStatus.ACCEPTED
        if all(reason in _LATER for _, reason in self.failed):
            return StoreStatus.SERVICE_UNAVAILABLE
        return StoreStatus.CONFLICT

    def module(self) -> dict[str, Any]:
        """PS3.18 Table I.1-1 as DICOM JSON; Retrieve URL is empty, for there is no WADO-RS."""
        module: dict[str, Any] = {_RETRIEVE_URL: {"vr": "UR"}}
        failed = [_failed(header, reason) for header, reason in self.failed]
        for tag, items in (
            (_FAILED_SOP_SEQUENCE, [item for item in failed if _SOP_INSTANCE_UID in item]),
            (_REFERENCED_SOP_SEQUENCE, [_stored(header) for header in self.stored]),
            (_OTHER_FAILURES_SEQUENCE, [item for item in failed if _SOP_INSTANCE_UID not in item]),
        ):
            if items:
                module[tag] = {"vr": "SQ", "Value": items}
        return module


def _stored(header: InstanceHeader) -> dict[str, Any]:
    return _reference(header) | {_RETRIEVE_URL: {"vr": "UR"}}


def _failed(header: InstanceHeader, reason: Reason) -> dict[str, Any]:
    """Without a reference where the object does not say which one it is."""
    failure = {_FAILURE_REASON: {"vr": "US", "Value": [REFUSALS[reason][0]]}}
    if is_uid(header.sop_class_uid) and is_uid(header.sop_instance_uid):
        return _reference(header) | failure
    return failure


def _reference(header: InstanceHeader) -> dict[str, Any]:
    return {
        _SOP_CLASS_UID: {"vr": "UI", "Value": [header.sop_class_uid]},
        _SOP_INSTANCE_UID: {"vr": "UI", "Value": [header.sop_instance_uid]},
    }
