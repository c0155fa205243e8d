"""One answer for each failure, whoever asked for the association."""

from __future__ import annotations

from io import BytesIO
from types import SimpleNamespace
from typing import Any

import pytest
from pydicom.dataset import Dataset
from pynetdicom.dimse_primitives import C_STORE

from dicomnode.dimse.store import answer_store
from dicomnode.errors import DatabaseError, OutOfSpaceError, SpoolError
from dicomnode.intake.received import Peer, ReceivedObject


def event() -> Any:
    request = C_STORE()
    request.AffectedSOPClassUID = "1.2.840.10008.5.1.4.1.1.4"
    request.AffectedSOPInstanceUID = "1.2.3"
    request.DataSet = BytesIO(b"data")
    context = SimpleNamespace(
        abstract_syntax="1.2.840.10008.5.1.4.1.1.4", transfer_syntax="1.2.840.10008.1.2"
    )
    return SimpleNamespace(request=request, context=context)


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (OutOfSpaceError("the disk is full"), 0xA700),
        (DatabaseError("away"), 0xA700),
        (SpoolError("a disk error"), 0x0110),
    ],
)
def test_what_this_node_can_not_keep_is_answered_and_logged(
    error: Exception, status: int, caplog: pytest.LogCaptureFixture
) -> None:
    def store(_received: ReceivedObject) -> None:
        raise error

    with caplog.at_level("ERROR", "dicomnode.association"):
        answer = answer_store(event(), Peer("", "ME", "DICOMNODE", "127.0.0.1"), store)
    assert isinstance(answer, Dataset)
    assert answer.Status == status
    assert [record.error for record in caplog.records] == [str(error)]  # type: ignore[attr-defined]
