"""Storage Commitment as values, and as data sets on the wire."""

from __future__ import annotations

from io import BytesIO

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.dataset import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filereader import read_dataset
from pydicom.filewriter import write_dataset

from dicomnode.dicom import storage_commitment
from dicomnode.dicom.storage_commitment import (
    ALL_COMMITTED,
    INVALID_ARGUMENT,
    SOME_FAILED,
    TOO_MANY,
    Reference,
    RefusedCommitmentError,
    Report,
    Request,
    read_report,
    read_request,
    report_data_set,
    report_of,
    request_data_set,
)

UIDS = st.integers(0, 2**120).map("2.25.{}".format)
REFERENCES = st.builds(Reference, UIDS, UIDS)


def over_the_wire(data_set: Dataset) -> Dataset:
    encoded = DicomBytesIO()
    encoded.is_little_endian, encoded.is_implicit_VR = True, True
    write_dataset(encoded, data_set)
    return read_dataset(BytesIO(encoded.getvalue()), True, True)


@given(UIDS, st.lists(REFERENCES, min_size=1, max_size=8, unique=True), st.data())
def test_each_instance_is_reported_once_as_kept_or_with_its_reason(
    transaction: str, references: list[Reference], data: st.DataObject
) -> None:
    request = Request(transaction, tuple(references))
    assert read_request(over_the_wire(request_data_set(request))) == request
    failing = data.draw(st.sets(st.sampled_from(references)))
    report = report_of(request, dict.fromkeys(failing, 0x0112))
    assert read_report(over_the_wire(report_data_set(report))) == report
    assert {*report.committed, *report.failed} == set(references)
    assert not set(report.committed) & set(report.failed)
    assert report.event_type == (SOME_FAILED if failing else ALL_COMMITTED)


@pytest.mark.parametrize("uid", ["", "1.2\\3", "../evil", "1" * 65])
@pytest.mark.parametrize("keyword", ["TransactionUID", "ReferencedSOPInstanceUID"])
def test_what_is_no_uid_is_refused_and_not_repeated(keyword: str, uid: str) -> None:
    data_set = request_data_set(Request("2.25.1", (Reference("1.2", "1.3"),)))
    holder = data_set if keyword == "TransactionUID" else data_set.ReferencedSOPSequence[0]
    setattr(holder, keyword, uid)
    with pytest.raises(RefusedCommitmentError) as info:
        read_request(data_set)
    assert info.value.status == INVALID_ARGUMENT
    assert not uid or uid not in str(info.value)


def test_a_list_that_is_too_long_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storage_commitment, "MOST_INSTANCES", 2)
    references = tuple(Reference("1.2", f"1.3.{n}") for n in range(3))
    for read, data_set in (
        (read_request, request_data_set(Request("2.25.1", references))),
        (read_report, report_data_set(Report("2.25.1", references))),
    ):
        with pytest.raises(RefusedCommitmentError) as info:
            read(data_set)
        assert info.value.status == TOO_MANY
