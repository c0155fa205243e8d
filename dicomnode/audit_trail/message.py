"""One event of the audit log as the XML of a DICOM audit message (PS3.15 A.5.1)."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from xml.etree.ElementTree import Element, SubElement, tostring

from dicomnode.audit_trail.codes import (
    PRIVATE_SCHEME,
    Code,
    EventKind,
    Subject,
    kind_of,
    own_code,
)
from dicomnode.tracking.audit import AuditEvent

_APPLICATION = Code("110150", "Application")
_STUDY_UID = Code("110180", "Study Instance UID")
_SOP_INSTANCE = Code("uid", "Series or SOP Instance UID", PRIVATE_SCHEME)
_NODE_ID = Code("110182", "Node ID")
_USER = Code("11", "User Identifier", "RFC-3881")

# Object type and role (PS3.15 A.5.2): of system objects a report, a person a user.
_OBJECTS: Mapping[Subject, tuple[str, str, Code]] = {
    Subject.STUDY: ("2", "3", _STUDY_UID),
    Subject.OBJECT: ("2", "3", _SOP_INSTANCE),
    Subject.PERSON: ("1", "11", _USER),
    Subject.NODE: ("2", "3", _NODE_ID),
}
# Who acted, where the event says so: its keys for a person, an AE title and an address.
_PEOPLE, _TITLES, _ADDRESSES = ("account", "by"), ("calling_ae_title",), ("address", "peer")
_MACHINE, _IP_ADDRESS = "1", "2"


def audit_message(event: AuditEvent, node: str, site: str, host: str) -> bytes:
    """UTF-8, without an XML declaration. `node` is this AE title, `host` the name of its machine.

    The number of the event and its SHA-256 are in it, so a collector can prove the chain too.
    """
    kind = kind_of(event.event)
    root = Element("AuditMessage")
    _identify(root, event, kind)
    _participants(root, event, kind, node, host)
    source = SubElement(root, "AuditSourceIdentification", AuditSourceID=node)
    if site:
        source.set("AuditEnterpriseSiteID", site)
    # 4: application server process or thread.
    SubElement(source, "AuditSourceTypeCode", {"csd-code": "4"})
    _object(root, event, kind, node)
    return bytes(tostring(root, encoding="utf-8", xml_declaration=False))


def _identify(root: Element, event: AuditEvent, kind: EventKind) -> None:
    found = SubElement(
        root,
        "EventIdentification",
        EventActionCode=kind.action.value,
        EventDateTime=event.at.isoformat(timespec="milliseconds"),
        EventOutcomeIndicator=kind.outcome.value,
    )
    _code(found, "EventID", kind.event)
    for code in filter(None, (kind.type, own_code(event.event))):
        _code(found, "EventTypeCode", code)


def _participants(root: Element, event: AuditEvent, kind: EventKind, node: str, host: str) -> None:
    person = _said(event, _PEOPLE) or (event.subject if kind.subject is Subject.PERSON else "")
    title = _said(event, _TITLES) or (event.subject if kind.subject is Subject.NODE else "")
    other = person or (title if title != node else "")
    address = _said(event, _ADDRESSES)
    if other or address:
        who = SubElement(root, "ActiveParticipant", UserID=other or address, UserIsRequestor="true")
        if address:
            who.set("NetworkAccessPointID", address)
            who.set("NetworkAccessPointTypeCode", _IP_ADDRESS)
    own = SubElement(
        root,
        "ActiveParticipant",
        UserID=node,
        UserIsRequestor="false" if other or address else "true",
        NetworkAccessPointID=host,
        NetworkAccessPointTypeCode=_MACHINE,
    )
    _code(own, "RoleIDCode", _APPLICATION)


def _object(root: Element, event: AuditEvent, kind: EventKind, node: str) -> None:
    type_code, role, id_type = _OBJECTS[kind.subject]
    found = SubElement(
        root,
        "ParticipantObjectIdentification",
        ParticipantObjectID=event.subject or node,
        ParticipantObjectTypeCode=type_code,
        ParticipantObjectTypeCodeRole=role,
    )
    _code(found, "ParticipantObjectIDTypeCode", id_type)
    values = {"number": event.number, "sha256": event.sha256, **event.detail}
    for name, value in values.items():
        text = value if isinstance(value, str) else json.dumps(value, sort_keys=True)
        encoded = base64.b64encode(text.encode("utf-8")).decode("ascii")
        SubElement(found, "ParticipantObjectDetail", type=name, value=encoded)


def _code(parent: Element, tag: str, code: Code) -> None:
    attributes = {
        "csd-code": code.value,
        "codeSystemName": code.scheme,
        "originalText": code.meaning,
    }
    SubElement(parent, tag, attributes)


def _said(event: AuditEvent, keys: tuple[str, ...]) -> str:
    found = (event.detail.get(key) for key in keys)
    return next((value for value in found if isinstance(value, str) and value), "")
