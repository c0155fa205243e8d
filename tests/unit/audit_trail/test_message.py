"""Every event of the audit log becomes a message as PS3.15 A.5.1 wants it.

The schema of the Standard is not in this project; its elements, their order and the attributes that
it requires are asserted here.
"""

from __future__ import annotations

import base64
from datetime import UTC, datetime
from xml.etree.ElementTree import Element, fromstring

import pytest
from pydicom.sr._concepts_dict import concepts

from dicomnode.audit_trail.codes import KINDS, kind_of
from dicomnode.audit_trail.message import audit_message
from dicomnode.tracking.audit import AuditEvent

AT = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
CODED = {"csd-code", "codeSystemName", "originalText"}
REQUIRED = {
    "EventIdentification": {"EventActionCode", "EventDateTime", "EventOutcomeIndicator"},
    "EventID": CODED,
    "EventTypeCode": CODED,
    "RoleIDCode": CODED,
    "ActiveParticipant": {"UserID", "UserIsRequestor"},
    "AuditSourceIdentification": {"AuditSourceID"},
    "AuditSourceTypeCode": {"csd-code"},
    "ParticipantObjectIdentification": {"ParticipantObjectID", "ParticipantObjectTypeCode"},
    "ParticipantObjectIDTypeCode": CODED,
    "ParticipantObjectDetail": {"type", "value"},
}
ORDER = [
    "EventIdentification",
    "ActiveParticipant",
    "AuditSourceIdentification",
    "ParticipantObjectIdentification",
]


def message(event: str, subject: str = "1.2.3", **detail: str | int) -> Element:
    given = AuditEvent(event, subject, detail, AT, 7, "ab" * 32)
    return fromstring(audit_message(given, "NODE", "HOSPITAL", "machine"))


@pytest.mark.parametrize("event", [*KINDS, "something that no table knows"])
def test_every_event_has_the_elements_and_attributes_that_the_standard_requires(
    event: str,
) -> None:
    root = message(event)
    assert root.tag == "AuditMessage"
    tags = [child.tag for child in root]
    assert tags == sorted(tags, key=ORDER.index)
    assert set(tags) == set(ORDER)
    for element in root.iter():
        assert REQUIRED.get(element.tag, set()) <= set(element.attrib), element.tag
        assert all(element.attrib.values()), element.attrib
    found = root.find("EventIdentification")
    assert found is not None
    assert found.attrib["EventOutcomeIndicator"] in {"0", "4", "8", "12"}
    assert found.attrib["EventActionCode"] in set("CRUDE")
    requestors = [each.attrib["UserIsRequestor"] for each in root.iter("ActiveParticipant")]
    assert requestors.count("true") == 1


def test_the_codes_are_those_of_the_standard() -> None:
    coded = {code for kind in KINDS.values() for code in (kind.event, kind.type) if code}
    known = {
        value: meaning.lower()
        for concept in concepts["DCM"].values()
        for value, (meaning, _) in concept.items()
    }
    for code in coded:
        assert known[code.value] == code.meaning.lower()


def test_an_event_without_a_code_keeps_its_name() -> None:
    event = kind_of("pull forgotten").event
    assert (event.value, event.scheme) == ("pull-forgotten", "99DICOMNODE")


def test_who_acted_is_the_requestor_and_the_node_takes_part() -> None:
    root = message("login", "anna", address="192.0.2.7")
    person, node = root.iter("ActiveParticipant")
    assert (person.attrib["UserID"], person.attrib["UserIsRequestor"]) == ("anna", "true")
    assert person.attrib["NetworkAccessPointID"] == "192.0.2.7"
    assert person.attrib["NetworkAccessPointTypeCode"] == "2"
    assert (node.attrib["UserID"], node.attrib["NetworkAccessPointID"]) == ("NODE", "machine")


def test_an_export_names_its_study_and_whoever_released_it() -> None:
    root = message("receipt issued", by="anna", project="cohort")
    (study,) = root.iter("ParticipantObjectIdentification")
    assert study.attrib["ParticipantObjectID"] == "1.2.3"
    kind = study.find("ParticipantObjectIDTypeCode")
    assert kind is not None
    assert kind.attrib["csd-code"] == "110180"
    assert next(root.iter("ActiveParticipant")).attrib["UserID"] == "anna"


def test_the_row_and_its_hash_are_in_the_message_with_all_that_it_says() -> None:
    root = message("delivered", destination="pacs", sentence="<Ünïcode & quotes>")
    details = {
        each.attrib["type"]: base64.b64decode(each.attrib["value"]).decode()
        for each in root.iter("ParticipantObjectDetail")
    }
    assert details == {
        "number": "7",
        "sha256": "ab" * 32,
        "destination": "pacs",
        "sentence": "<Ünïcode & quotes>",
    }


def test_what_a_peer_calls_itself_does_not_break_the_message() -> None:
    root = message("association rejected", 'EVIL"/><x>&', peer="192.0.2.7", reason="no\x07")
    assert next(root.iter("ActiveParticipant")).attrib["UserID"] == 'EVIL"/><x>&'
