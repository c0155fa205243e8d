"""What Storage Commitment says (PS3.4 Annex J), as values: who asks for which instances, and which
of them are kept for good.

Only UIDs are read, and of each list only so many.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from pydicom.dataset import Dataset

from dicomnode.dicom.uid_syntax import is_uid
from dicomnode.errors import DicomnodeError

STORAGE_COMMITMENT = "1.2.840.10008.1.20.1"
WELL_KNOWN_INSTANCE = "1.2.840.10008.1.20.1.1"
# PS3.4 Tables J.3-1 and J.3-3: the only action, and the two events.
REQUEST_ACTION = 1
ALL_COMMITTED, SOME_FAILED = 1, 2
# PS3.4 J.3.3.1.3: why an instance is not committed.
PROCESSING_FAILURE, NO_SUCH_INSTANCE, CLASS_CONFLICT = 0x0110, 0x0112, 0x0119

INVALID_ARGUMENT, TOO_MANY = 0x0115, 0x0213
MOST_INSTANCES = 20_000
# Of the encoded request or report: as many instances, with the longest UIDs, and some room.
LONGEST_BYTES = 8_388_608


class RefusedCommitmentError(DicomnodeError):
    """A request or a report that can't be used; `status` is that of the answer."""

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status


class Reference(NamedTuple):
    sop_class_uid: str
    sop_instance_uid: str


@dataclass(frozen=True)
class Request:
    transaction_uid: str
    references: tuple[Reference, ...]


@dataclass(frozen=True)
class Report:
    """`failed` says why, with a Failure Reason (0008,1197)."""

    transaction_uid: str
    committed: tuple[Reference, ...]
    failed: Mapping[Reference, int] = field(default_factory=dict)

    @property
    def outcomes(self) -> tuple[str, frozenset[str], frozenset[str]]:
        """The transaction, and the SOP Instance UIDs that are committed, and that are not."""
        committed = frozenset(each.sop_instance_uid for each in self.committed)
        return self.transaction_uid, committed, frozenset(u for _, u in self.failed)

    @property
    def event_type(self) -> int:
        return SOME_FAILED if self.failed else ALL_COMMITTED


def request_data_set(request: Request) -> Dataset:
    """PS3.4 Table J.3-2."""
    data_set = Dataset()
    data_set.TransactionUID = request.transaction_uid
    data_set.ReferencedSOPSequence = [_item(each) for each in request.references]
    return data_set


def read_request(data_set: Dataset) -> Request:
    """Each instance once. Raises `RefusedCommitmentError`."""
    references = tuple(dict.fromkeys(map(_reference, _items(data_set, "ReferencedSOPSequence"))))
    if not references:
        raise _invalid("ReferencedSOPSequence")
    return Request(_uid(data_set, "TransactionUID"), references)


def report_data_set(report: Report) -> Dataset:
    """PS3.4 Table J.3-4; no sequence is empty."""
    data_set = Dataset()
    data_set.TransactionUID = report.transaction_uid
    if report.committed:
        data_set.ReferencedSOPSequence = [_item(each) for each in report.committed]
    if report.failed:
        data_set.FailedSOPSequence = [_failed(*each) for each in report.failed.items()]
    return data_set


def read_report(data_set: Dataset) -> Report:
    """Raises `RefusedCommitmentError`."""
    failed = {
        _reference(item): int(item.get("FailureReason", None) or PROCESSING_FAILURE)
        for item in _items(data_set, "FailedSOPSequence")
    }
    committed = tuple(map(_reference, _items(data_set, "ReferencedSOPSequence")))
    return Report(_uid(data_set, "TransactionUID"), committed, failed)


def _item(reference: Reference) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = reference
    return item


def _failed(reference: Reference, reason: int) -> Dataset:
    item = _item(reference)
    item.FailureReason = reason
    return item


def _items(data_set: Dataset, keyword: str) -> Sequence[Dataset]:
    items: Sequence[Dataset] = data_set.get(keyword, None) or ()
    if len(items) > MOST_INSTANCES:
        raise RefusedCommitmentError(
            TOO_MANY, f"more than {MOST_INSTANCES} instances; ask in parts"
        )
    return items


def _reference(item: Dataset) -> Reference:
    return Reference(_uid(item, "ReferencedSOPClassUID"), _uid(item, "ReferencedSOPInstanceUID"))


def _uid(data_set: Dataset, keyword: str) -> str:
    value = str(data_set.get(keyword, "")).strip(" \0")
    if not is_uid(value):
        raise _invalid(keyword)
    return value


def _invalid(keyword: str) -> RefusedCommitmentError:
    """The value itself is never repeated: it may be anything."""
    return RefusedCommitmentError(INVALID_ARGUMENT, f"{keyword} is missing or invalid")


def report_of(request: Request, reasons: Mapping[Reference, int]) -> Report:
    """All that no reason speaks against are committed."""
    failed = {each: reasons[each] for each in request.references if each in reasons}
    return Report(request.transaction_uid, tuple(_without(request.references, failed)), failed)


def _without(
    references: Iterable[Reference], failed: Mapping[Reference, int]
) -> Iterable[Reference]:
    return (each for each in references if each not in failed)
