"""What waits at the gate is on record, and ends by a person or by leaving."""

from __future__ import annotations

from dataclasses import replace

import pytest

from dicomnode.errors import GateError
from dicomnode.tracking import audit, held
from dicomnode.tracking.database import Database
from dicomnode.tracking.held import HeldFile, HeldObject, HeldState

FILE = HeldFile(
    project="heads",
    study_instance_uid="1.2",
    series_instance_uid="1.2.1",
    sop_instance_uid="1.2.1.1",
    sop_class_uid="1.2.840.10008.5.1.4.1.1.4",
    transfer_syntax_uid="1.2.840.10008.1.2.1",
    name="ab/first.dcm",
    file_sha256="ab" * 32,
    size_bytes=10,
    calling_ae_title="DESK",
    peer_address="192.0.2.1",
)


def hold(database: Database, file: HeldFile = FILE, state: HeldState = HeldState.WAITING) -> None:
    with database.begin() as connection:
        held.hold(connection, file, state, "its study is held")


def named(name: str, **changes: str) -> HeldFile:
    return replace(FILE, name=f"ab/{name}.dcm", **changes)


def every(database: Database, *states: HeldState) -> list[HeldObject]:
    with database.read() as connection:
        return held.newest(connection, states=states or tuple(HeldState))


def test_an_object_that_comes_again_has_the_same_row(database: Database) -> None:
    hold(database)
    hold(database, state=HeldState.CHANGED)
    (one,) = every(database)
    assert (one.file, one.state, one.reason) == (FILE, HeldState.CHANGED, "its study is held")


def test_one_that_was_discarded_waits_again_when_it_is_sent_again(database: Database) -> None:
    hold(database)
    with database.begin() as connection:
        assert held.discard(connection, 1, account="anna").file == FILE
    assert every(database, HeldState.WAITING) == []
    hold(database)
    assert len(every(database, HeldState.WAITING)) == 1


def test_a_row_has_the_digest_of_the_file_that_lies_there_now(database: Database) -> None:
    hold(database)
    with database.begin() as connection:
        held.forwarded(connection, every(database)[0])
    hold(database, replace(FILE, file_sha256="cd" * 32, size_bytes=12))
    (one,) = every(database, HeldState.WAITING)
    assert (one.file.file_sha256, one.file.size_bytes) == ("cd" * 32, 12)


def test_only_what_waits_can_be_discarded(database: Database) -> None:
    hold(database)
    with database.begin() as connection:
        held.forwarded(connection, every(database)[0])
    for number in (1, 2):
        with pytest.raises(GateError, match="no object"), database.begin() as connection:
            held.discard(connection, number, account="anna")


def test_every_step_is_an_audit_event(database: Database) -> None:
    hold(database)
    hold(database, named("second", sop_instance_uid="1.2.1.2"))
    first, second = sorted(every(database), key=lambda one: one.id)
    with database.begin() as connection:
        held.forwarded(connection, first)
        held.discard(connection, second.id, account="anna")
    with database.read() as connection:
        events = [(one.event, one.subject) for one in audit.newest(connection)]
    assert events == [
        ("held object discarded", "1.2.1.2"),
        ("held object forwarded", "1.2.1.1"),
        ("object held at the gate", "1.2.1.2"),
        ("object held at the gate", "1.2.1.1"),
    ]


def test_what_waits_is_found_study_by_study(database: Database) -> None:
    for number, (study, project) in enumerate(
        [("1.2", "heads"), ("1.2", "heads"), ("1.2", "necks"), ("1.3", "heads"), ("1.4", "heads")]
    ):
        state = HeldState.CHANGED if study == "1.4" else HeldState.WAITING
        hold(database, named(str(number), study_instance_uid=study, project=project), state)
    with database.read() as connection:
        first = held.studies_waiting(connection, 2)
        rest = held.studies_waiting(connection, 2, first[-1])
        assert (first, rest) == ([("1.2", "heads"), ("1.2", "necks")], [("1.3", "heads")])
        (one,) = held.waiting_of(connection, "1.2", "heads", after=0, limit=1)
        (other,) = held.waiting_of(connection, "1.2", "heads", after=one.id, limit=9)
        assert (one.file.name, other.file.name) == ("ab/0.dcm", "ab/1.dcm")
        assert held.names_open(connection, ["ab/0.dcm", "ab/4.dcm", "ab/9.dcm"]) == {
            "ab/0.dcm",
            "ab/4.dcm",
        }


def test_what_holds_a_study_is_told_of_all_that_waits_of_it(database: Database) -> None:
    hold(database)
    hold(database, named("other", study_instance_uid="1.3"))
    with database.begin() as connection:
        held.hold_study(connection, "1.2", "heads", "a person objects")
    told = {one.file.study_instance_uid: one.reason for one in every(database)}
    assert told == {"1.2": "a person objects", "1.3": "its study is held"}
