"""What came, and from whom, as values: whether over DIMSE or HTTP."""

from __future__ import annotations

from dataclasses import dataclass

from dicomnode.dicom.file_format import encode_file_meta, split_file
from dicomnode.dicom.uid_syntax import only_uid


@dataclass(frozen=True)
class Peer:
    """The other side of one association, or of what counts as one: a request, a retrieval.

    Without an `association_id` it is known to have ended.
    """

    association_id: str
    calling_ae_title: str
    called_ae_title: str
    address: str


@dataclass(frozen=True)
class ReceivedObject:
    """An encoded data set as it came, and what its command set or file meta says of it.

    A `data_set` in a memory that is used again is there until the answer (`dimse.direct`).
    """

    peer: Peer
    sop_class_uid: str
    sop_instance_uid: str
    context_sop_class_uid: str
    transfer_syntax_uid: str
    data_set: bytes | memoryview

    @property
    def file_meta(self) -> bytes:
        return encode_file_meta(
            sop_class_uid=only_uid(self.sop_class_uid),
            sop_instance_uid=only_uid(self.sop_instance_uid),
            transfer_syntax_uid=only_uid(self.transfer_syntax_uid),
            calling_ae_title=self.peer.calling_ae_title,
            called_ae_title=self.peer.called_ae_title,
            peer_address=self.peer.address,
        )


def received_from_file(peer: Peer, data: bytes) -> ReceivedObject:
    """The object in a DICOM file (PS3.10 7.1); its own file meta is replaced by ours when stored.

    Raises `UnreadableObjectError` where there is no file meta.
    """
    meta, data_set = split_file(data)
    return ReceivedObject(
        peer=peer,
        sop_class_uid=meta.sop_class_uid,
        sop_instance_uid=meta.sop_instance_uid,
        context_sop_class_uid=meta.sop_class_uid,
        transfer_syntax_uid=meta.transfer_syntax_uid,
        data_set=data_set,
    )
