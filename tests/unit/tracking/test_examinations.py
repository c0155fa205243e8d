"""Examinations, verdicts and what the gate is told of a study."""

from __future__ import annotations

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from dicomnode.domain import DeliveryState, Examination, Revision, VerdictKind
from dicomnode.tracking import deliveries, examinations, findings, instances, series
from dicomnode.tracking.database import Database
from dicomnode.tracking.schema import verdicts
from dicomnode.tracking.spool import Spool
from tests.unit.tracking.rows import (
    STUDY,
    at,
    examined,
    instance,
    refused,
    two_echoes,
)


def revision_of(database: Database, spool: Spool, numbers: tuple[int, ...] = (1, 2)) -> Revision:
    with database.begin() as connection:
        instances.add(connection, [instance(number) for number in numbers])
        revision = series.add_revision(connection, 1, spool, at(30))
    assert revision is not None
    return revision


def finding(database: Database) -> findings.SeriesFinding:
    with database.read() as connection:
        (found,) = findings.verdicts_of_study(connection, STUDY)
    return found


def test_a_study_that_was_never_received_has_no_findings(database: Database) -> None:
    with database.read() as connection:
        assert findings.verdicts_of_study(connection, "1.2.3") == ()


def test_the_states_of_a_series_follow_its_way(database: Database, spool: Spool) -> None:
    with database.begin() as connection:
        instances.add(connection, [instance(1)])
    assert finding(database).state == "receiving"
    with database.begin() as connection:
        revision = series.add_revision(connection, 1, spool, at(30))
    assert revision is not None
    assert finding(database).state == "waiting"
    with database.begin() as connection:
        examinations.start(connection, revision.id)
    assert finding(database).state == "examining"
    with database.begin() as connection:
        examinations.record_failure(connection, revision.id, "the GPU is gone")
    assert (finding(database).state, finding(database).failure) == ("failed", "the GPU is gone")
    with database.begin() as connection:
        examinations.record(connection, revision.id, refused(revision))
    assert finding(database).state == "refused"
    with database.begin() as connection:
        examinations.record(connection, revision.id, examined(revision))
    assert finding(database).state == "examined"


def test_evidence_and_verdict_come_back_as_they_were(database: Database, spool: Spool) -> None:
    revision = revision_of(database, spool)
    examination = examined(revision)
    with database.begin() as connection:
        examinations.record(connection, revision.id, examination)
    found = finding(database)
    assert found.volumes == examination.volumes
    assert found.verdict == examination.verdict
    assert found.refusals == ()
    assert found.revision_digest == revision.digest


def test_a_refusal_comes_back_as_it_was(database: Database, spool: Spool) -> None:
    revision = revision_of(database, spool)
    with database.begin() as connection:
        examinations.record(connection, revision.id, refused(revision))
    assert finding(database).refusals == refused(revision).set_aside
    assert finding(database).verdict is None


def test_every_volume_and_what_was_set_aside_come_back_and_the_worst_counts(
    database: Database, spool: Spool
) -> None:
    revision = revision_of(database, spool)
    examination = two_echoes(revision)
    with database.begin() as connection:
        examinations.record(connection, revision.id, examination)
    found = finding(database)
    assert found.volumes == examination.volumes
    assert found.refusals == examination.set_aside
    assert found.state == "examined"
    assert found.verdict is not None
    assert found.verdict.kind is VerdictKind.FACE_VISIBLE


def test_the_volumes_of_one_series_are_not_those_of_another(
    database: Database, spool: Spool
) -> None:
    first = revision_of(database, spool)
    with database.begin() as connection:
        instances.add(connection, [instance(1, series=f"{STUDY}.9")])
        second = series.add_revision(connection, 2, spool, at(30))
        assert second is not None
        examinations.record(connection, second.id, two_echoes(second))
        examinations.record(connection, first.id, refused(first))
        found = findings.verdicts_of_study(connection, STUDY)
    assert [len(each.volumes) for each in found] == [0, 2]
    assert [each.state.value for each in found] == ["refused", "examined"]


def test_an_examination_that_says_nothing_is_not_recorded(database: Database, spool: Spool) -> None:
    revision = revision_of(database, spool)
    with pytest.raises(ValueError, match="has a volume"), database.begin() as connection:
        examinations.record(connection, revision.id, Examination(revision.digest))
    assert finding(database).state == "waiting"


def test_a_new_examination_supersedes_the_old_one_and_its_waiting_deliveries(
    database: Database, spool: Spool
) -> None:
    revision = revision_of(database, spool)
    with database.begin() as connection:
        first = examinations.record(connection, revision.id, two_echoes(revision))
        waiting = deliveries.add(connection, first, "pacs")
        sent, late = deliveries.add(connection, first, "archive")
        deliveries.mark_delivered(connection, sent)
        examinations.record(connection, revision.id, examined(revision, VerdictKind.UNDETERMINED))
        for each in (*waiting, late):
            assert deliveries.load(connection, each).state is DeliveryState.CANCELLED
        assert deliveries.load(connection, sent).state is DeliveryState.DELIVERED
    assert len(waiting) == 2
    found = finding(database)
    assert found.verdict is not None
    assert found.verdict.kind is VerdictKind.UNDETERMINED
    assert (len(found.volumes), found.refusals) == (1, ())


def test_the_result_of_an_old_revision_never_counts(database: Database, spool: Spool) -> None:
    old = revision_of(database, spool)
    revision_of(database, spool, (1, 2, 3))
    with database.begin() as connection:
        examinations.record(connection, old.id, examined(old))
    assert finding(database).verdict is None
    assert finding(database).state == "waiting"


def test_an_examination_of_another_revision_is_not_recorded(
    database: Database, spool: Spool
) -> None:
    old = revision_of(database, spool)
    new = revision_of(database, spool, (1, 2, 3))
    with pytest.raises(ValueError, match="not of revision"), database.begin() as connection:
        examinations.record(connection, new.id, examined(old))
    with pytest.raises(LookupError), database.begin() as connection:
        examinations.record(connection, 4711, examined(old))


def test_the_database_itself_allows_one_current_verdict_per_series(
    database: Database, spool: Spool
) -> None:
    revision = revision_of(database, spool)
    with database.begin() as connection:
        examinations.record(connection, revision.id, examined(revision))
        examinations.record(connection, revision.id, examined(revision))
    with pytest.raises(IntegrityError), database.begin() as connection:
        connection.execute(sa.update(verdicts).values(is_current=True))


def test_a_failure_takes_the_verdict_away(database: Database, spool: Spool) -> None:
    revision = revision_of(database, spool)
    with database.begin() as connection:
        examinations.record(connection, revision.id, examined(revision))
        examinations.record_failure(connection, revision.id, "the model is gone")
    assert finding(database).verdict is None
