"""The responses of C-MOVE and C-GET, and their counters (PS3.7 9.1.3 and 9.1.4)."""

from __future__ import annotations

from collections.abc import Mapping

from pydicom.dataset import Dataset

from dicomnode.delivery.association import RemoteEntity
from dicomnode.dicom.header import number
from dicomnode.errors import RetrievalError
from dicomnode.retrieval.association import Responses, reading, status_of
from dicomnode.retrieval.report import Report

STUDY_ROOT_MOVE = "1.2.840.10008.5.1.4.1.2.2.2"
STUDY_ROOT_GET = "1.2.840.10008.5.1.4.1.2.2.3"

_PENDING = (0xFF00, 0xFF01)
_SUCCESS = 0x0000
# PS3.4 Tables C.4-2 and C.4-3.
_MEANINGS = {
    0xB000: "some sub-operations failed",
    0xA701: "out of resources, it can't count the matches",
    0xA702: "out of resources, it can't perform the sub-operations",
    0xA801: "move destination unknown",
    0xA900: "the identifier does not match the SOP Class",
    0xFE00: "cancelled",
    0x0122: "SOP Class not supported",
    0x0124: "not authorised",
}
_COUNTERS = ("Completed", "Failed", "Warning")


def study_identifier(study_instance_uid: str) -> Dataset:
    identifier = Dataset()
    identifier.QueryRetrieveLevel = "STUDY"
    identifier.StudyInstanceUID = study_instance_uid
    return identifier


def follow(responses: Responses, remote: RemoteEntity, operation: str) -> tuple[int, Report]:
    """The final status, and what it and the counters say; raises `RetrievalError` without one."""
    counters: dict[str, int] = {}
    with reading(responses):
        for response, _ in responses:
            status = status_of(response, remote, _so_far(operation, counters))
            counters |= _counters(response)
            if status not in _PENDING:
                failed = counters.get("Failed", 0)
                meaning = "" if status == _SUCCESS else f"0x{status:04X}, {_meaning(status)}; "
                sentence = f"{operation}: {meaning}{_counted(counters)}"
                return status, Report(status == _SUCCESS and not failed, sentence)
    raise RetrievalError(f"{remote} ended a {operation} without a final response")


def _so_far(operation: str, counters: Mapping[str, int]) -> str:
    return f"{operation} ({_counted(counters)} so far)" if counters else operation


def _counters(response: Dataset) -> dict[str, int]:
    counted = {name: number(response, f"NumberOf{name}Suboperations") for name in _COUNTERS}
    return {name: int(value) for name, value in counted.items() if value is not None}


def _counted(counters: Mapping[str, int]) -> str:
    if not counters:
        return "sub-operations were not counted"
    return ", ".join(f"{counters.get(name, 0)} {name.lower()}" for name in _COUNTERS)


def _meaning(status: int) -> str:
    return _MEANINGS.get(status, "unable to process")
