"""pynetdicom's events as values: who asks, and who is there."""

from __future__ import annotations

from collections import Counter

from pydicom.uid import UID
from pynetdicom.ae import ApplicationEntity
from pynetdicom.association import Association
from pynetdicom.service_class import ServiceClass, StorageServiceClass
from pynetdicom.sop_class import uid_to_service_class

from dicomnode.dimse.admission import AssociationRequest
from dicomnode.intake.received import Peer
from dicomnode.tls import peer_certificate


def association_request(association: Association) -> AssociationRequest:
    """Who asks for this association, or asked for it when it was opened."""
    primitive, address = association.requestor.primitive, association.requestor.address or ""
    proposed = association.requestor.requested_contexts
    by_peer = open_by_peer(association.ae)
    wire = association.dul.socket
    connection = None if wire is None else wire.socket
    return AssociationRequest(
        calling_ae_title=_title(primitive.calling_ae_title if primitive else ""),
        called_ae_title=_title(primitive.called_ae_title if primitive else ""),
        peer_address=address,
        open_from_peer=by_peer[address],
        open_in_all=by_peer.total(),
        certificate=peer_certificate(connection),
        may_store=any(_may_store(context.abstract_syntax) for context in proposed),
    )


def peer_of(request: AssociationRequest, *, association_id: str) -> Peer:
    return Peer(
        association_id, request.calling_ae_title, request.called_ae_title, request.peer_address
    )


def open_by_peer(entity: ApplicationEntity) -> Counter[str]:
    """Connections of this process, whether they have become associations or not."""
    return Counter(a.requestor.address or "" for a in entity.active_associations)


def _may_store(sop_class_uid: str | None) -> bool:
    """Unknown classes are taken in too (`entity.accepting_entity`)."""
    service = uid_to_service_class(UID(sop_class_uid or ""))
    return service in (StorageServiceClass, ServiceClass)


def _title(value: str | None) -> str:
    """An AE title as it may stand in logs and rows: printable, at most 16 characters."""
    return "".join(c if c.isprintable() else "?" for c in (value or "").strip(" \0"))[:16]
