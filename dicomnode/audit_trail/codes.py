"""Which DICOM event each event of the audit log is (PS3.16 CID 400 and 401)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType

PRIVATE_SCHEME = "99DICOMNODE"


@dataclass(frozen=True)
class Code:
    """A coded value (PS3.15 A.5.1)."""

    value: str
    meaning: str
    scheme: str = "DCM"


class Action(StrEnum):
    """What was done (PS3.15 Table A.5.2-1)."""

    CREATE = "C"
    READ = "R"
    UPDATE = "U"
    EXECUTE = "E"


class Outcome(StrEnum):
    SUCCESS = "0"
    MINOR_FAILURE = "4"
    SERIOUS_FAILURE = "8"


class Subject(StrEnum):
    """What the subject of an event of the audit log is."""

    STUDY = "study"
    OBJECT = "object"
    PERSON = "person"
    NODE = "node"


@dataclass(frozen=True)
class EventKind:
    event: Code
    action: Action
    subject: Subject
    type: Code | None = None
    outcome: Outcome = Outcome.SUCCESS


ACTIVITY = Code("110100", "Application Activity")
BEGIN_TRANSFERRING = Code("110102", "Begin Transferring DICOM Instances")
ACCESSED = Code("110103", "DICOM Instances Accessed")
TRANSFERRED = Code("110104", "DICOM Instances Transferred")
EXPORT = Code("110106", "Export")
ALERT = Code("110113", "Security Alert")
AUTHENTICATION = Code("110114", "User Authentication")

STARTED = Code("110120", "Application Start")
STOPPED = Code("110121", "Application Stop")
LOGIN = Code("110122", "Login")
LOGOUT = Code("110123", "Logout")
NODE_AUTHENTICATION = Code("110126", "Node Authentication")
ROLES_CHANGED = Code("110136", "Security Roles Changed")
USER_CHANGED = Code("110137", "User security Attributes Changed")


def _alert(kind: Code, outcome: Outcome, subject: Subject = Subject.PERSON) -> EventKind:
    return EventKind(ALERT, Action.EXECUTE, subject, kind, outcome)


_USER_CHANGED = _alert(USER_CHANGED, Outcome.SUCCESS)
_NOT_ADMITTED = _alert(NODE_AUTHENTICATION, Outcome.MINOR_FAILURE, Subject.NODE)

APPLICATION_STARTED, APPLICATION_STOPPED = "application started", "application stopped"

KINDS: Mapping[str, EventKind] = MappingProxyType(
    {
        APPLICATION_STARTED: EventKind(ACTIVITY, Action.EXECUTE, Subject.NODE, STARTED),
        APPLICATION_STOPPED: EventKind(ACTIVITY, Action.EXECUTE, Subject.NODE, STOPPED),
        "stored": EventKind(TRANSFERRED, Action.CREATE, Subject.OBJECT),
        "delivered": EventKind(TRANSFERRED, Action.CREATE, Subject.OBJECT),
        "not kept": EventKind(
            TRANSFERRED, Action.CREATE, Subject.OBJECT, outcome=Outcome.SERIOUS_FAILURE
        ),
        "refused": EventKind(
            TRANSFERRED, Action.CREATE, Subject.OBJECT, outcome=Outcome.SERIOUS_FAILURE
        ),
        "object refused": EventKind(
            TRANSFERRED, Action.CREATE, Subject.NODE, outcome=Outcome.MINOR_FAILURE
        ),
        "association rejected": _NOT_ADMITTED,
        "request refused": _NOT_ADMITTED,
        "human decision": EventKind(ACCESSED, Action.UPDATE, Subject.OBJECT),
        "patient shown": EventKind(ACCESSED, Action.READ, Subject.STUDY),
        "receipt issued": EventKind(EXPORT, Action.READ, Subject.STUDY),
        "study leaves": EventKind(BEGIN_TRANSFERRING, Action.EXECUTE, Subject.STUDY),
        "study left": EventKind(EXPORT, Action.READ, Subject.STUDY),
        "study stopped leaving": EventKind(
            EXPORT, Action.READ, Subject.STUDY, outcome=Outcome.SERIOUS_FAILURE
        ),
        "login": EventKind(AUTHENTICATION, Action.EXECUTE, Subject.PERSON, LOGIN),
        "logout": EventKind(AUTHENTICATION, Action.EXECUTE, Subject.PERSON, LOGOUT),
        "login refused": EventKind(
            AUTHENTICATION, Action.EXECUTE, Subject.PERSON, LOGIN, Outcome.MINOR_FAILURE
        ),
        "role changed": _alert(ROLES_CHANGED, Outcome.SUCCESS),
        "account created": _USER_CHANGED,
        "account enabled": _USER_CHANGED,
        "account disabled": _USER_CHANGED,
        "password changed": _USER_CHANGED,
        "token created": _USER_CHANGED,
        "token revoked": _USER_CHANGED,
    }
)


def own_code(event: str) -> Code:
    """The name that the audit log gives an event, as a code of this project."""
    return Code(event.replace(" ", "-"), event, PRIVATE_SCHEME)


def kind_of(event: str) -> EventKind:
    """Events that DICOM knows no code for keep their own."""
    return KINDS.get(event) or EventKind(own_code(event), Action.EXECUTE, Subject.NODE)
