"""The timeline of a study, from its first instance to its last export."""

from __future__ import annotations

from dicomnode.domain import VerdictKind
from dicomnode.tracking import decisions, deliveries, examinations, receipts
from dicomnode.tracking.database import Database
from dicomnode.tracking.decisions import DecisionKind
from dicomnode.tracking.gate_schema import exported_studies, exports
from dicomnode.tracking.receipts import StoredReceipt
from dicomnode.tracking.spool import Spool
from dicomnode.tracking.timeline import Happening, timeline
from tests.unit.tracking.desk import complete, receive, record
from tests.unit.tracking.rows import at, examined


def test_a_study_is_told_from_its_first_instance_to_its_export(
    database: Database, spool: Spool
) -> None:
    with database.begin() as connection:
        receive(connection, "1.3", "1.3.1")
        revision = complete(connection, spool, "1.2", "1.2.1")
        examinations.start(connection, revision.id, at(40))
        found = examined(revision, VerdictKind.DEFACED)
        examination = record(connection, revision, found, 0)
        (delivery,) = deliveries.add(connection, examination, "archive", at(60))
        deliveries.mark_delivered(connection, delivery, at(70))
        decisions.record(
            connection, "1.2.1", DecisionKind.DEFACED, account="anna", note="ok", now=at(80)
        )
        receipts.add(
            connection, StoredReceipt(1, "1.2", at(90), "default", "release", "k", "ab", "{}")
        )
        connection.execute(
            exports.insert().values(
                at=at(95), project="default", destination="folder", account="anna"
            )
        )
        connection.execute(
            exported_studies.insert().values(
                export_id=1,
                study_instance_uid="1.2",
                receipt_number=1,
                state="left",
                instance_count=1,
                started_at=at(95),
                left_at=at(99),
            )
        )
    with database.read() as connection:
        events = timeline(connection, "1.2")
        assert timeline(connection, "1.9") == ()
    assert [event.happening for event in events] == [
        Happening.FIRST_INSTANCE,
        Happening.LAST_INSTANCE,
        Happening.COMPLETE,
        Happening.EXAMINATION_STARTED,
        Happening.EXAMINED,
        Happening.DELIVERY,
        Happening.DECISION,
        Happening.RECEIPT,
        Happening.EXPORT_STARTED,
        Happening.EXPORTED,
    ]
    assert [event.account for event in events if event.account] == ["anna"] * 3
    assert events[5].what == "archive: delivered"


def test_what_was_superseded_and_what_failed_stay_in_the_timeline(
    database: Database, spool: Spool
) -> None:
    with database.begin() as connection:
        revision = complete(connection, spool, "1.2", "1.2.1")
        examinations.record_failure(connection, revision.id, "out of memory", at(50))
        record(connection, revision, examined(revision, VerdictKind.FACE_VISIBLE), 0)
    with database.read() as connection:
        told = [(each.happening, each.what) for each in timeline(connection, "1.2")][-2:]
    assert told == [
        (Happening.EXAMINATION_FAILED, ""),
        (Happening.EXAMINED, "FACE_VISIBLE"),
    ]
