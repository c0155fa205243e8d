"""What MPPS and Instance Availability Notification say of the size of series, as values.

Read are UIDs, a status and availabilities, nothing of a patient. Raised where they can't be used:
`RefusedAnnouncementError` with the DIMSE status of the answer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from pydicom.dataset import Dataset

from dicomnode.dicom.uid_syntax import is_uid
from dicomnode.errors import DicomnodeError
from dicomnode.tracking.procedure_steps import StepStatus

INVALID_VALUE, MISSING_ATTRIBUTE, MISSING_VALUE = 0x0106, 0x0120, 0x0121
_AVAILABILITIES = frozenset({"ONLINE", "NEARLINE", "OFFLINE", "UNAVAILABLE"})


class RefusedAnnouncementError(DicomnodeError):
    """An N-CREATE or N-SET that gets no success; `error_id` is the Error ID (0000,0903)."""

    def __init__(self, status: int, sentence: str, error_id: int | None = None) -> None:
        super().__init__(sentence)
        self.status = status
        self.error_id = error_id


@dataclass(frozen=True)
class Availability:
    """SOP Instance UIDs of one series: those that can be had, now or later, and the others."""

    available: set[str] = field(default_factory=set)
    unavailable: set[str] = field(default_factory=set)


def available(notice: Dataset) -> tuple[str, Mapping[str, Availability]]:
    """PS3.4 Table R.3.2-1: Study Instance UID, and what is said of the instances of each series."""
    found: dict[str, Availability] = {}
    for series in _items(notice, "ReferencedSeriesSequence"):
        of_series = found.setdefault(_uid(series, "SeriesInstanceUID"), Availability())
        for instance in _items(series, "ReferencedSOPSequence"):
            uid = _uid(instance, "ReferencedSOPInstanceUID")
            availability = _text(instance, "InstanceAvailability")
            if availability not in _AVAILABILITIES:
                raise _invalid("InstanceAvailability")
            can_be_had = availability != "UNAVAILABLE"
            (of_series.available if can_be_had else of_series.unavailable).add(uid)
    return _uid(notice, "StudyInstanceUID"), found


def studies_of_step(step: Dataset) -> tuple[str, ...]:
    """PS3.4 Table F.7.2-1: the studies that the step was scheduled for."""
    scheduled = _items(step, "ScheduledStepAttributesSequence")
    return tuple(dict.fromkeys(_uid(item, "StudyInstanceUID") for item in scheduled))


def status_of_step(step: Dataset) -> StepStatus:
    try:
        return StepStatus(_text(step, "PerformedProcedureStepStatus"))
    except ValueError:
        raise _invalid("PerformedProcedureStepStatus") from None


def performed(step: Dataset) -> Mapping[str, int]:
    """PS3.4 Table F.7.2-1: the instances of each series of Performed Series Sequence."""
    counts: dict[str, set[str]] = {}
    for series in step.get("PerformedSeriesSequence") or ():
        made = counts.setdefault(_uid(series, "SeriesInstanceUID"), set())
        for keyword in (
            "ReferencedImageSequence",
            "ReferencedNonImageCompositeSOPInstanceSequence",
        ):
            for instance in series.get(keyword) or ():
                made.add(_uid(instance, "ReferencedSOPInstanceUID"))
    return _sizes(counts)


def _sizes(counts: Mapping[str, set[str]]) -> Mapping[str, int]:
    return {uid: len(instances) for uid, instances in counts.items() if instances}


def _items(data_set: Dataset, keyword: str) -> Sequence[Dataset]:
    _require(data_set, keyword)
    items: Sequence[Dataset] = data_set[keyword].value
    return items


def _uid(data_set: Dataset, keyword: str) -> str:
    value = _text(data_set, keyword)
    if not is_uid(value):
        raise _invalid(keyword)
    return value


def _text(data_set: Dataset, keyword: str) -> str:
    _require(data_set, keyword)
    return str(data_set[keyword].value).strip(" \0")


def _require(data_set: Dataset, keyword: str) -> None:
    if keyword not in data_set:
        raise RefusedAnnouncementError(MISSING_ATTRIBUTE, f"no {keyword}")
    if not data_set[keyword].value:
        raise RefusedAnnouncementError(MISSING_VALUE, f"{keyword} is empty")


def _invalid(keyword: str) -> RefusedAnnouncementError:
    """The value itself is never repeated: it may be anything."""
    return RefusedAnnouncementError(INVALID_VALUE, f"{keyword} has an invalid value")
