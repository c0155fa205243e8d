"""A C-STORE SCU that sends whatever bytes it is given under whatever UIDs it is given."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.uid import UID, ExplicitVRLittleEndian
from pynetdicom import AE
from pynetdicom.association import Association
from pynetdicom.dimse_primitives import C_STORE
from pynetdicom.dsutils import encode

MR_IMAGE_STORAGE = "1.2.840.10008.5.1.4.1.1.4"


@dataclass(frozen=True)
class Answer:
    """The response; `status` is None where the node hung up instead."""

    status: int | None
    comment: str


@contextmanager
def associated(port: int, title: str = "DICOMNODE", maximum_pdu: int = 0) -> Iterator[Association]:
    entity = AE("HOSTILE")
    entity.maximum_pdu_size = maximum_pdu
    entity.dimse_timeout = 20
    entity.add_requested_context(MR_IMAGE_STORAGE, ExplicitVRLittleEndian)
    association = entity.associate("127.0.0.1", port, ae_title=title)
    try:
        yield association
    finally:
        if association.is_established:
            association.release()
        else:
            association.kill()


def send(
    association: Association,
    data_set: bytes,
    *,
    sop_instance_uid: str,
    sop_class_uid: str = MR_IMAGE_STORAGE,
    claimed: str = "",
) -> Answer:
    """`claimed`: a SOP Instance UID for the command set that pynetdicom would not send."""
    request = C_STORE()
    request.MessageID = 1
    request.Priority = 2
    request.AffectedSOPClassUID = sop_class_uid
    request.AffectedSOPInstanceUID = sop_instance_uid
    if claimed:
        request._affected_sop_instance_uid = UID(claimed)
    request.DataSet = BytesIO(data_set)
    context_id = association.accepted_contexts[0].context_id
    assert context_id is not None
    # As pynetdicom's own send_c_store does: keep the reactor from taking the answer.
    association._reactor_checkpoint.clear()
    while not association._is_paused:
        pass
    association.dimse.send_msg(request, context_id)
    _, response = association.dimse.get_msg(block=True)
    association._reactor_checkpoint.set()
    if not isinstance(response, C_STORE):
        return Answer(None, "")
    return Answer(response.Status, response.ErrorComment or "")


def encoded(path: Path, **changes: str) -> tuple[bytes, Dataset]:
    """The encoded data set of a file with some values changed, and the decoded one."""
    data_set = dcmread(path)
    for keyword, value in changes.items():
        setattr(data_set, keyword, value)
    content = encode(data_set, is_implicit_vr=False, is_little_endian=True)
    assert content is not None
    return content, data_set
