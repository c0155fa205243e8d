"""The ledger knows what left, and what was under way when a process died."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
import sqlalchemy as sa

from dicomnode.tracking import audit, exports, receipts
from dicomnode.tracking.database import Database
from dicomnode.tracking.exports import Export, ExportState, Leaving
from dicomnode.tracking.receipts import StoredReceipt

ANNA = Export("heads", "/mnt/out", "anna")
BOB = Export("heads", "/mnt/out", "bob")
STUDY, NAMED = "1.2.3", ("1.1", "1.2", "1.3")
NOW = datetime(2026, 3, 1, tzinfo=UTC)


@pytest.fixture(autouse=True)
def _two_receipts(database: Database) -> None:
    with database.begin() as connection:
        for number in (1, 2):
            receipts.add(
                connection,
                StoredReceipt(number, STUDY, NOW, "heads", "release", "key", "sha", "{}"),
            )


def begin(
    database: Database, export: Export = ANNA, receipt: int = 1, **options: object
) -> Leaving | None:
    with database.begin() as connection:
        return exports.begin(connection, export, STUDY, receipt, NAMED, **options)  # type: ignore[arg-type]


def leave(database: Database, leaving: Leaving | None, *uids: str) -> None:
    assert leaving is not None
    with database.begin() as connection:
        for uid in uids:
            exports.record(connection, leaving.exported_study_id, uid)


def finish(database: Database, leaving: Leaving | None) -> None:
    assert leaving is not None
    with database.begin() as connection:
        exports.finish(connection, leaving.exported_study_id)


def rows(database: Database, **filters: str) -> list[tuple[str, ExportState, int, int]]:
    with database.read() as connection:
        found = exports.newest(connection, **filters)  # type: ignore[arg-type]
    return [(one.account, one.state, one.left_count, one.instance_count) for one in found]


def test_a_row_is_there_before_anything_left(database: Database) -> None:
    leaving = begin(database)
    assert leaving is not None
    assert leaving.remaining == set(NAMED)
    assert rows(database) == [("anna", ExportState.LEAVING, 0, 3)]
    leave(database, leaving, *NAMED)
    finish(database, leaving)
    assert rows(database) == [("anna", ExportState.LEFT, 3, 3)]


def test_the_same_account_goes_on_where_a_killed_run_stopped(database: Database) -> None:
    first = begin(database)
    leave(database, first, "1.1")
    again = begin(database)
    assert first is not None
    assert again is not None
    assert again.exported_study_id == first.exported_study_id
    assert again.remaining == {"1.2", "1.3"}
    leave(database, again, "1.2", "1.3")
    finish(database, again)
    assert rows(database) == [("anna", ExportState.LEFT, 3, 3)]


def test_another_account_has_its_own_row_for_the_rest(database: Database) -> None:
    leave(database, begin(database), "1.1")
    rest = begin(database, BOB)
    assert rest is not None
    assert rest.remaining == {"1.2", "1.3"}
    leave(database, rest, "1.2", "1.3")
    finish(database, rest)
    assert rows(database) == [
        ("bob", ExportState.LEFT, 2, 2),
        ("anna", ExportState.STOPPED, 1, 3),
    ]


def test_what_left_does_not_leave_again_under_the_same_receipt(database: Database) -> None:
    leaving = begin(database)
    leave(database, leaving, *NAMED)
    finish(database, leaving)
    assert begin(database) is None
    assert begin(database, BOB) is None
    assert begin(database, Export("heads", "/mnt/other", "anna")) is not None
    assert begin(database, receipt=2) is not None
    assert begin(database, again=True) is not None


def test_one_run_has_one_row_for_a_study_that_leaves_again(database: Database) -> None:
    first = begin(database, again=True)
    assert first is not None
    leave(database, first, "1.1")
    second = begin(database, again=True, export_id=first.export_id)
    assert second is not None
    assert second.exported_study_id == first.exported_study_id
    assert rows(database) == [("anna", ExportState.LEAVING, 1, 3)]


def test_every_step_is_an_audit_event(database: Database) -> None:
    leaving = begin(database)
    leave(database, leaving, "1.1")
    assert leaving is not None
    with database.begin() as connection:
        exports.stop(connection, leaving.exported_study_id, "the disk is full")
    finish(database, begin(database))
    with database.read() as connection:
        events = [one for one in audit.newest(connection) if one.subject == STUDY]
    assert [event.event for event in events] == [
        "study left",
        "study leaves",
        "study stopped leaving",
        "study leaves",
    ]
    assert events[2].detail["reason"] == "the disk is full"
    assert {event.detail["account"] for event in events} == {"anna"}


def test_the_list_is_paged_and_filtered(database: Database) -> None:
    for number in range(5):
        begin(database, Export("heads", f"/mnt/{number}", "anna"))
    begin(database, Export("hearts", "/mnt/0", "anna"))
    with database.read() as connection:
        page = exports.newest(connection, 4)
        rest = exports.newest(connection, 4, before=page[-1].id)
        assert [one.id for one in (*page, *rest)] == [6, 5, 4, 3, 2, 1]
        assert len(exports.newest(connection, project="hearts")) == 1
        assert len(exports.newest(connection, destination="/mnt/0")) == 2
        assert exports.newest(connection, study_instance_uid="9.9") == []
        assert exports.one(connection, 99) is None


def test_what_left_of_a_study_is_paged(database: Database) -> None:
    leaving = begin(database)
    leave(database, leaving, *NAMED, "1.1")
    assert leaving is not None
    with database.read() as connection:
        page = exports.instances_of(connection, leaving.exported_study_id, limit=2)
        rest = exports.instances_of(
            connection, leaving.exported_study_id, limit=2, after=page[-1].sop_instance_uid
        )
    assert [one.sop_instance_uid for one in (*page, *rest)] == list(NAMED)


def test_only_what_a_dicom_sender_left_unfinished_ends_with_the_gate(database: Database) -> None:
    begin(database)
    begin(database, Export("heads", "research", "ae:DESK"))
    with database.begin() as connection:
        assert exports.stop_unfinished(connection, "ae:") == 1
    assert [state for _, state, _, _ in rows(database)] == [
        ExportState.STOPPED,
        ExportState.LEAVING,
    ]


def test_no_study_leaves_without_a_receipt(database: Database) -> None:
    with pytest.raises(sa.exc.IntegrityError):
        begin(database, receipt=3)
