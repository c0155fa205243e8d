"""The queue and what waits for a person: contents, order, pages."""

from __future__ import annotations

import pytest

from dicomnode.domain import RefusalCode, VerdictKind
from dicomnode.tracking import (
    decisions,
    deliveries,
    examinations,
    expected,
    pulls,
    quarantine,
    reviews,
    series,
    work_queue,
)
from dicomnode.tracking.database import Database
from dicomnode.tracking.decisions import DecisionKind
from dicomnode.tracking.quarantine import QuarantinedObject
from dicomnode.tracking.reviews import ReviewFilter
from dicomnode.tracking.spool import Spool
from dicomnode.tracking.work_queue import QueueItem, QueueKind
from tests.unit.tracking.desk import complete, judged, receive, record
from tests.unit.tracking.rows import at, examined, two_echoes


def queue(database: Database, kind: QueueKind) -> list[QueueItem]:
    with database.read() as connection:
        items = list(work_queue.page(connection, kind).items)
        assert work_queue.count(connection, kind).count == len(items)
    return items


def series_of(database: Database, kind: QueueKind) -> list[str]:
    return [item.series_instance_uid for item in queue(database, kind)]


def test_a_series_goes_through_the_queue(database: Database, spool: Spool) -> None:
    with database.begin() as connection:
        key = receive(connection, "1.2", "1.2.1", 1, 2)
        expected.expect_count(connection, "1.2", "1.2.1", 9, "C-FIND")
    (item,) = queue(database, QueueKind.RECEIVING)
    assert (item.key, item.since, item.what) == (key, at(0), "2 of 9 instances")
    with database.begin() as connection:
        revision = series.add_revision(connection, key, spool, at(30))
        assert revision is not None
    assert series_of(database, QueueKind.RECEIVING) == []
    (item,) = queue(database, QueueKind.WAITING)
    assert (item.key, item.since, item.modality) == (revision.id, at(30), "MR")
    with database.begin() as connection:
        examinations.start(connection, revision.id, at(40))
    assert series_of(database, QueueKind.WAITING) == []
    (item,) = queue(database, QueueKind.EXAMINING)
    assert item.since == at(40)
    with database.begin() as connection:
        record(connection, revision, examined(revision), 0)
    assert series_of(database, QueueKind.EXAMINING) == []


def test_a_failed_series_is_there_with_its_reason_until_it_succeeds(
    database: Database, spool: Spool
) -> None:
    with database.begin() as connection:
        revision = complete(connection, spool, "1.2", "1.2.1")
        examinations.record_failure(connection, revision.id, "out of memory", at(50))
    (item,) = queue(database, QueueKind.FAILED)
    assert (item.series_instance_uid, item.why, item.since) == ("1.2.1", "out of memory", at(50))
    assert series_of(database, QueueKind.WAITING) == []
    with database.begin() as connection:
        record(connection, revision, examined(revision), 0)
    assert queue(database, QueueKind.FAILED) == []


def test_late_instances_make_a_series_wait_again(database: Database, spool: Spool) -> None:
    with database.begin() as connection:
        judged(connection, spool, "1.2", "1.2.1", VerdictKind.FACE_VISIBLE)
        key = receive(connection, "1.2", "1.2.1", 2)
        assert series.add_revision(connection, key, spool, at(90)) is not None
    assert series_of(database, QueueKind.WAITING) == ["1.2.1"]
    assert waiting(database) == []


def test_what_others_name_and_never_came_is_expected(database: Database) -> None:
    with database.begin() as connection:
        quarantine.add(connection, [_object("1.2.1.1", "1.2.1", "1.2")])
    assert series_of(database, QueueKind.EXPECTED) == ["1.2.1"]
    (item,) = queue(database, QueueKind.QUARANTINE)
    assert (item.what, item.why, item.study_instance_uid) == ("unreadable", "cut off", "1.2")


def _object(sop: str, series_uid: str, study: str) -> QuarantinedObject:
    return QuarantinedObject(
        at(0), f"unreadable/{sop}", "unreadable", "cut off", 9, sop, series_uid, study
    )


def test_deliveries_that_fail_and_those_that_were_refused_are_told_apart(
    database: Database, spool: Spool
) -> None:
    with database.begin() as connection:
        examination = judged(connection, spool, "1.2", "1.2.1")
        (first,) = deliveries.add(connection, examination, "archive", at(70))
        deliveries.add(connection, examination, "research", at(70))
    assert queue(database, QueueKind.DELIVERY_FAILING) == []
    with database.begin() as connection:
        deliveries.mark_failed(connection, first, "no answer", at(90))
    (item,) = queue(database, QueueKind.DELIVERY_FAILING)
    assert (item.key, item.what, item.why, item.since) == (first, "archive", "no answer", at(70))
    with database.begin() as connection:
        deliveries.mark_refused(connection, first, "0122: SOP class not supported")
    assert queue(database, QueueKind.DELIVERY_FAILING) == []
    (item,) = queue(database, QueueKind.DELIVERY_REFUSED)
    assert (item.series_instance_uid, item.why) == ("1.2.1", "0122: SOP class not supported")


def test_a_delivery_that_is_parked_or_not_proven_says_what_it_waits_for(
    database: Database, spool: Spool
) -> None:
    with database.begin() as connection:
        examination = judged(connection, spool, "1.2", "1.2.1")
        (parked,) = deliveries.add(connection, examination, "archive", at(70))
        (sent,) = deliveries.add(connection, examination, "research", at(70))
        deliveries.mark_parked(connection, parked, "no answer")
        deliveries.mark_stored(connection, sent, at(80))
        deliveries.mark_failed(connection, sent, "it does not find it", at(90))
    found = queue(database, QueueKind.DELIVERY_FAILING)
    assert [(item.key, item.why) for item in found] == [
        (parked, "no answer"),
        (sent, "it does not find it"),
    ]


def test_pulls_are_there_until_they_are_done(database: Database) -> None:
    with database.begin() as connection:
        pulls.ask(connection, "archive", ["1.2", "1.3"], at(0))
        done, failed = pulls.named(connection, "archive", ["1.2", "1.3"])
        pulls.mark_done(connection, done.id, 3, 3)
        pulls.mark_failed(connection, failed.id, 3, 1, "away")
    (item,) = queue(database, QueueKind.PULL)
    assert (item.study_instance_uid, item.what, item.why) == ("1.3", "archive", "away")


def test_pages_of_the_queue_have_each_thing_once_the_oldest_first(database: Database) -> None:
    with database.begin() as connection:
        for number in range(10):
            receive(connection, "1.2", f"1.2.{number}", seconds=number)
    found, after, page = [], 0, None
    while page is None or page.next_after is not None:
        with database.read() as connection:
            page = work_queue.page(connection, QueueKind.RECEIVING, after, limit=4)
        found += [item.series_instance_uid for item in page.items]
        after = page.next_after or 0
        with database.begin() as connection:
            receive(connection, "1.9", f"1.9.{len(found)}")
    assert found[:10] == [f"1.2.{number}" for number in range(10)]
    assert len(found) == len(set(found))


def waiting(database: Database, wanted: ReviewFilter | None = None) -> list[str]:
    with database.read() as connection:
        items = reviews.page(connection, wanted).items
    return [item.series_instance_uid for item in items]


def decide(
    database: Database, uid: str, account: str = "anna", kind: DecisionKind = DecisionKind.DEFACED
) -> None:
    with database.begin() as connection:
        decisions.record(connection, uid, kind, account=account, note="why")


@pytest.fixture
def looked_at(database: Database, spool: Spool) -> Database:
    """A proof, a doubt, a face, a localizer, and a doubt beside a localizer; ids 1 to 5."""
    with database.begin() as connection:
        judged(connection, spool, "1.2", "1.2.1", VerdictKind.DEFACED)
        judged(connection, spool, "1.2", "1.2.2", VerdictKind.UNDETERMINED)
        judged(connection, spool, "1.2", "1.2.3", VerdictKind.FACE_VISIBLE)
        judged(connection, spool, "1.2", "1.2.4", None)
        revision = complete(connection, spool, "1.2", "1.2.5")
        record(connection, revision, two_echoes(revision), 0)
    return database


def test_what_waits_for_a_person_is_there_the_oldest_first(looked_at: Database) -> None:
    with looked_at.read() as connection:
        items = reviews.page(connection).items
        told = [(item.series_instance_uid, item.verdict, item.codes) for item in items]
        assert told == [
            ("1.2.2", "UNDETERMINED", ()),
            ("1.2.3", "FACE_VISIBLE", ()),
            ("1.2.4", "", ("LOCALIZER",)),
            ("1.2.5", "FACE_VISIBLE", ("LOCALIZER",)),
        ]
        assert [item.why for item in items][2] == "It is a localizer."
        assert reviews.count(connection).count == 5


def test_only_the_verdicts_and_codes_that_are_asked_for_wait(looked_at: Database) -> None:
    faces = ReviewFilter(kinds=(VerdictKind.FACE_VISIBLE,), codes=())
    assert waiting(looked_at, faces) == ["1.2.3", "1.2.5"]
    localizers = ReviewFilter(kinds=(), codes=(RefusalCode.LOCALIZER,))
    assert waiting(looked_at, localizers) == ["1.2.4", "1.2.5"]
    assert waiting(looked_at, ReviewFilter(kinds=(), codes=())) == []


def test_a_decision_takes_a_series_out_and_a_revoked_one_brings_it_back(
    looked_at: Database,
) -> None:
    decide(looked_at, "1.2.5")
    decide(looked_at, "1.2.2")
    assert waiting(looked_at) == ["1.2.3", "1.2.4"]
    decide(looked_at, "1.2.2", kind=DecisionKind.REVOKED)
    assert waiting(looked_at) == ["1.2.2", "1.2.3", "1.2.4"]


def test_a_second_person_is_waited_for_where_two_are_wanted(looked_at: Database) -> None:
    two = ReviewFilter(kinds=(VerdictKind.UNDETERMINED,), codes=(), persons=2)
    decide(looked_at, "1.2.2")
    decide(looked_at, "1.2.2", kind=DecisionKind.NOT_DEFACED)
    with looked_at.read() as connection:
        assert [item.decided_by for item in reviews.page(connection, two).items] == [1]
    decide(looked_at, "1.2.2", account="bob")
    assert waiting(looked_at, two) == []


def test_a_new_examination_waits_again(looked_at: Database, spool: Spool) -> None:
    decide(looked_at, "1.2.2")
    with looked_at.begin() as connection:
        revision = series.load_revision(connection, 2, spool)
        record(connection, revision, examined(revision, VerdictKind.UNDETERMINED), 90)
    assert waiting(looked_at) == ["1.2.3", "1.2.4", "1.2.5", "1.2.2"]


def test_a_person_goes_from_one_to_the_next_and_back(looked_at: Database) -> None:
    decide(looked_at, "1.2.3")
    with looked_at.read() as connection:
        after = reviews.next_for_review(connection, 3)
        before = reviews.previous_for_review(connection, 3)
        assert after is not None
        assert before is not None
        assert (after.examination_id, before.examination_id) == (4, 2)
        assert reviews.next_for_review(connection, 5) is None
        assert reviews.previous_for_review(connection, 2) is None


def test_pages_for_review_have_each_series_once(looked_at: Database) -> None:
    with looked_at.read() as connection:
        first = reviews.page(connection, limit=3)
        second = reviews.page(connection, after=first.next_after or 0, limit=3)
    assert [item.examination_id for item in (*first.items, *second.items)] == [2, 3, 4, 5]
    assert second.next_after is None
