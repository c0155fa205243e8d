"""The list of studies: what a row says, pages without gaps, filters, search."""

from __future__ import annotations

import random
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
import sqlalchemy as sa

from dicomnode.domain import VerdictKind
from dicomnode.tracking import decisions, examinations, instances, series, study_list
from dicomnode.tracking.database import Database
from dicomnode.tracking.decisions import DecisionKind
from dicomnode.tracking.schema import studies
from dicomnode.tracking.spool import Spool
from dicomnode.tracking.states import SeriesState
from dicomnode.tracking.status import study_status
from dicomnode.tracking.study_list import StudyFilter
from dicomnode.tracking.study_summaries import tell_all_anew
from tests.unit.tracking.desk import complete, judged, receive, record
from tests.unit.tracking.rows import START, at, examined, instance, refused, two_echoes

STUDIES = [f"1.2.{number}" for number in range(10, 30)]


def uids(database: Database, wanted: StudyFilter | None = None) -> list[str]:
    with database.read() as connection:
        return [row.study_instance_uid for row in study_list.page(connection, wanted).rows]


def only(database: Database, study: str) -> study_list.StudyRow:
    with database.read() as connection:
        (row,) = study_list.rows(connection, [study])
    return row


def test_a_row_tells_what_was_received_and_found(database: Database, spool: Spool) -> None:
    with database.begin() as connection:
        judged(connection, spool, "1.2", "1.2.1", VerdictKind.DEFACED)
        judged(connection, spool, "1.2", "1.2.2", VerdictKind.FACE_VISIBLE, seconds=10)
    row = only(database, "1.2")
    assert (row.series_count, row.instance_count, row.modalities) == (2, 2, ("MR",))
    assert (row.first_received_at, row.last_received_at) == (at(0), at(10))
    assert (row.verdict, row.states, row.decided) == ("FACE_VISIBLE", {SeriesState.EXAMINED: 2}, 0)


def test_a_study_has_a_verdict_when_every_series_has_ended(
    database: Database, spool: Spool
) -> None:
    with database.begin() as connection:
        judged(connection, spool, "1.2", "1.2.1")
        late = complete(connection, spool, "1.2", "1.2.2")
    assert only(database, "1.2").verdict == ""
    with database.begin() as connection:
        record(connection, late, examined(late), 0)
    assert only(database, "1.2").verdict == "DEFACED"
    with database.begin() as connection:
        receive(connection, "1.2", "1.2.2", 2)
    row = only(database, "1.2")
    assert (row.verdict, row.states[SeriesState.RECEIVING]) == ("", 1)


def test_what_was_set_aside_proves_nothing(database: Database, spool: Spool) -> None:
    with database.begin() as connection:
        judged(connection, spool, "1.2", "1.2.1")
        judged(connection, spool, "1.2", "1.2.2", None)
    row = only(database, "1.2")
    assert (row.verdict, row.states[SeriesState.REFUSED]) == ("UNDETERMINED", 1)


def test_a_decision_counts_until_the_series_is_examined_anew(
    database: Database, spool: Spool
) -> None:
    def decide(kind: DecisionKind) -> None:
        with database.begin() as connection:
            decisions.record(connection, "1.2.1", kind, account="anna", note="why")

    with database.begin() as connection:
        judged(connection, spool, "1.2", "1.2.1", None)
    decide(DecisionKind.NOT_APPLICABLE)
    assert uids(database, StudyFilter(decided=True)) == ["1.2"]
    decide(DecisionKind.REVOKED)
    assert uids(database, StudyFilter(decided=True)) == []
    decide(DecisionKind.NOT_APPLICABLE)
    with database.begin() as connection:
        revision = series.load_revision(connection, 1, spool)
        record(connection, revision, refused(revision), 90)
    assert uids(database, StudyFilter(decided=False)) == ["1.2"]


@pytest.fixture
def many(database: Database, spool: Spool) -> Database:
    """Twenty studies, some received in the same second."""
    with database.begin() as connection:
        for number, study in enumerate(STUDIES):
            receive(connection, study, f"{study}.1", seconds=number // 3 * 60)
    return database


def test_pages_have_each_study_once_newest_first_while_studies_come(many: Database) -> None:
    found: list[str] = []
    place, number = "", 0
    while True:
        with many.read() as connection:
            page = study_list.page(connection, after=place, limit=3)
        found += [row.study_instance_uid for row in page.rows]
        with many.begin() as connection:
            number += 1
            receive(connection, f"1.3.{number}", f"1.3.{number}.1", seconds=9000 + number)
        if not (place := page.next_place):
            break
    newest = sorted(((int(uid[4:]) - 10) // 3, uid) for uid in STUDIES)
    assert found == [uid for _, uid in reversed(newest)]


def test_the_last_page_says_so_also_when_it_is_full(many: Database) -> None:
    with many.read() as connection:
        page = study_list.page(connection, limit=len(STUDIES))
    assert (len(page.rows), page.next_place) == (len(STUDIES), "")


@pytest.mark.parametrize(
    "forged",
    ["x", "2026-03-01_", "2026-03-01T12:00:00_1.2", "2026-03-01T12:00:00+00:00_1.2' OR 1"],
)
def test_a_forged_place_is_refused(many: Database, forged: str) -> None:
    with many.read() as connection, pytest.raises(ValueError, match=r"place|isoformat"):
        study_list.page(connection, after=forged)


def test_studies_are_filtered_by_what_was_found_and_where_they_stand(
    database: Database, spool: Spool
) -> None:
    with database.begin() as connection:
        judged(connection, spool, "1.1", "1.1.1")
        judged(connection, spool, "1.2", "1.2.1", VerdictKind.FACE_VISIBLE)
        receive(connection, "1.3", "1.3.1")
        complete(connection, spool, "1.4", "1.4.1")
        examinations.start(connection, complete(connection, spool, "1.5", "1.5.1").id)
        failing = complete(connection, spool, "1.6", "1.6.1")
        examinations.record_failure(connection, failing.id, "out of memory")
        judged(connection, spool, "1.7", "1.7.1", None)
    assert uids(database, StudyFilter(verdict="FACE_VISIBLE")) == ["1.2"]
    by_state = {
        state: uids(database, StudyFilter(state=state))
        for state in SeriesState
        if state is not SeriesState.EXAMINED
    }
    assert by_state == {
        SeriesState.NOT_RECEIVED: [],
        SeriesState.RECEIVING: ["1.3"],
        SeriesState.WAITING: ["1.4"],
        SeriesState.EXAMINING: ["1.5"],
        SeriesState.FAILED: ["1.6"],
        SeriesState.REFUSED: ["1.7"],
    }
    both = StudyFilter(verdict="DEFACED", state=SeriesState.EXAMINED, modality="MR")
    assert uids(database, both) == ["1.1"]
    assert uids(database, StudyFilter(modality="M")) == []


def test_studies_are_filtered_by_the_time_of_their_first_instance(many: Database) -> None:
    wanted = StudyFilter(received_from=at(60), received_until=at(120))
    assert uids(many, wanted) == STUDIES[3:6][::-1]


def test_counts_stop_where_nobody_counts_on(
    many: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    with many.read() as connection:
        assert str(study_list.count(connection)) == "20"
        monkeypatch.setattr("dicomnode.tracking.paging.MOST_COUNTED", 5)
        assert str(study_list.count(connection)) == "more than 5"
        assert str(study_list.count(connection, StudyFilter(verdict="DEFACED"))) == "0"


def test_a_study_is_found_by_the_uid_of_any_of_its_parts(many: Database) -> None:
    with many.begin() as connection:
        receive(connection, "1.2.10", "1.9.7", seconds=5)

    def search(given: str) -> list[str]:
        with many.read() as connection:
            return [row.study_instance_uid for row in study_list.search(connection, given)]

    assert search(" 1.2.10 ") == ["1.2.10"]
    assert search("1.2.1") == STUDIES[:10]
    assert search("1.9") == ["1.2.10"]
    assert search("1.9.7.1") == ["1.2.10"]
    assert search("1.9.7.") == []
    assert search("1.2.1%") == search("") == search("anna") == []


def test_the_list_says_what_the_rows_say_whatever_happens(database: Database, spool: Spool) -> None:
    """Random steps; after each the summaries are what they would be if told anew, and the verdict
    is that of the study's own page."""
    draw = random.Random(7)
    for step in range(60):
        with database.begin() as connection:
            _something(connection, draw, spool, step)
        with database.begin() as connection:
            kept = _rows(connection)
            tell_all_anew(connection)
            assert _rows(connection) == kept
            for row in study_list.page(connection).rows:
                shown = study_status(connection, row.study_instance_uid)
                assert shown is not None
                assert shown.verdict == row.verdict


def _rows(c: sa.Connection) -> list[object]:
    return [tuple(row) for row in c.execute(sa.select(studies).order_by(studies.c[0]))]


def _something(c: sa.Connection, draw: random.Random, spool: Spool, step: int) -> None:
    key = draw.randint(1, 4)
    study = f"1.{key % 2 + 1}"
    uid = f"{study}.{key}"
    series_id = receive(c, study, uid, *range(1, draw.randint(1, step // 4 + 1) + 1), seconds=step)
    if draw.random() < 0.8:
        series.add_revision(c, series_id, spool, at(step))
    newest = c.scalar(sa.text("SELECT max(id) FROM revisions WHERE is_current"))
    if newest is None:
        return
    revision = series.load_revision(c, newest, spool)
    match draw.choice(["start", "record", "record", "fail", "late", "decide", "decide"]):
        case "start":
            examinations.start(c, newest, at(step))
        case "record":
            found = draw.choice([examined, two_echoes, refused])(revision)
            examinations.record(c, newest, found, at(step))
        case "fail":
            examinations.record_failure(c, newest, "out of memory", at(step))
        case "late":
            late = START + timedelta(days=1, seconds=step)
            instances.repeat(c, [instances._again(instance(1, series=uid, study=study))])
            instances.expect(c, instance(1, series=uid, study=study).header, late)
        case "decide":
            _decide(c, draw, revision.series_instance_uid)


def _decide(c: sa.Connection, draw: random.Random, series_uid: str) -> None:
    if decisions.examination_now(c, series_uid) is None:
        return
    account, kind = draw.choice(["anna", "bob"]), draw.choice(list(DecisionKind))
    said = {one.account for one in decisions.history(c, series_uid)}
    if kind is not DecisionKind.REVOKED or account in said:
        try:
            decisions.record(c, series_uid, kind, account=account, note="why")
        except decisions.DecisionError:
            assert kind is DecisionKind.REVOKED  # taken back before


def test_transactions_on_one_study_at_once_forget_nothing_and_block_each_other_never(
    database: Database, spool: Spool
) -> None:
    """Each holds its series while it waits for the other; the study's row comes last."""
    with database.begin() as connection:
        waiting = [complete(connection, spool, "1.2", f"1.2.{number}") for number in (1, 2)]
        for other in ("1.3", "1.4"):
            receive(connection, other, f"{other}.1")

    def work(number: int) -> None:
        for step in range(2, 12):
            with database.begin() as connection:
                receive(connection, "1.2", f"1.2.{number + 5}", step)
                receive(connection, f"1.{3 + number}", f"1.{3 + number}.1", step)
                revision = waiting[number]
                record(connection, revision, examined(revision), step)

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(work, (0, 1)))
    with database.begin() as connection:
        kept = _rows(connection)
        tell_all_anew(connection)
        assert _rows(connection) == kept
    row = only(database, "1.2")
    assert (row.series_count, row.instance_count) == (4, 22)
    assert row.states == {SeriesState.EXAMINED: 2, SeriesState.RECEIVING: 2}
