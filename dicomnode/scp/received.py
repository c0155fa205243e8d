"""pynetdicom's events as values: who is there, what came, and what is answered."""

from __future__ import annotations

from collections import Counter
from io import BytesIO

from pydicom.dataset import Dataset
from pynetdicom import evt
from pynetdicom.ae import ApplicationEntity
from pynetdicom.association import Association
from pynetdicom.dimse_primitives import C_STORE

from dicomnode.intake.received import Peer, ReceivedObject
from dicomnode.scp.admission import AssociationRequest


def received_object(event: evt.Event, peer: Peer) -> ReceivedObject:
    """The request of an EVT_C_STORE; raises `TypeError` for any other event."""
    request, context = event.request, event.context
    if not isinstance(request, C_STORE) or not isinstance(request.DataSet, BytesIO):
        raise TypeError("not the event of a C-STORE request")
    return ReceivedObject(
        peer=peer,
        sop_class_uid=str(request.AffectedSOPClassUID).strip(" \0"),
        sop_instance_uid=str(request.AffectedSOPInstanceUID).strip(" \0"),
        context_sop_class_uid=str(context.abstract_syntax),
        transfer_syntax_uid=str(context.transfer_syntax),
        data_set=request.DataSet.getvalue(),
    )


def association_request(association: Association) -> AssociationRequest:
    """Who asks for this association, or asked for it when it was opened."""
    primitive, address = association.requestor.primitive, association.requestor.address or ""
    by_peer = open_by_peer(association.ae)
    return AssociationRequest(
        calling_ae_title=_title(primitive.calling_ae_title if primitive else ""),
        called_ae_title=_title(primitive.called_ae_title if primitive else ""),
        peer_address=address,
        open_from_peer=by_peer[address],
        open_in_all=by_peer.total(),
    )


def peer_of(request: AssociationRequest, *, association_id: str) -> Peer:
    return Peer(
        association_id, request.calling_ae_title, request.called_ae_title, request.peer_address
    )


def open_by_peer(entity: ApplicationEntity) -> Counter[str]:
    """Connections of this process, whether they have become associations or not."""
    return Counter(a.requestor.address or "" for a in entity.active_associations)


def status_response(status: int, comment: str) -> Dataset:
    """A C-STORE response with an Error Comment (0000,0902)."""
    response = Dataset()
    response.Status = status
    response.ErrorComment = comment
    return response


def _title(value: str | None) -> str:
    """An AE title as it may stand in logs and rows: printable, at most 16 characters."""
    return "".join(c if c.isprintable() else "?" for c in (value or "").strip(" \0"))[:16]
