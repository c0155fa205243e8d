"""What others count in a study and what never came of it: the gate holds, `status` says why."""

from __future__ import annotations

import pytest

from dicomnode.config import GateSettings
from dicomnode.domain import GateDecision, GateOutcome
from dicomnode.gate.decision import decide
from dicomnode.gate.policy import Policy
from dicomnode.tracking import examinations, expected, instances, pulls, series
from dicomnode.tracking.completeness import Source
from dicomnode.tracking.database import Database
from dicomnode.tracking.findings import SeriesState, verdicts_of_study
from dicomnode.tracking.spool import Spool
from dicomnode.tracking.status import SeriesStatus, study_status
from tests.unit.tracking.rows import SERIES, STUDY, at, examined, instance, segmentation

HERE = 3


@pytest.fixture
def node(database: Database, spool: Spool) -> Database:
    """With a study of one series that was examined and may leave."""
    with database.begin() as connection:
        instances.add(connection, [instance(number) for number in range(HERE)])
        revision = series.add_revision(connection, 1, spool, at(30))
        assert revision is not None
        examinations.record(connection, revision.id, examined(revision))
    assert gate(database).outcome is GateOutcome.RELEASE
    return database


def gate(database: Database) -> GateDecision:
    with database.read() as connection:
        found = verdicts_of_study(connection, STUDY)
    return decide(STUDY, found, Policy("default", GateSettings()), lambda subjects: "")


def shown(database: Database) -> dict[str, SeriesStatus]:
    with database.read() as connection:
        study = study_status(connection, STUDY)
    assert study is not None
    return {one.series_instance_uid: one for one in study.series}


def expect(database: Database, count: int, source: str, of: str = SERIES) -> None:
    with database.begin() as connection:
        if source == Source.IAN:
            uids = [instance(number, series=of).header.sop_instance_uid for number in range(count)]
            expected.announce(connection, STUDY, of, uids)
        else:
            expected.expect_count(connection, STUDY, of, count, source)


@pytest.mark.parametrize("source", Source)
def test_instances_that_never_came_hold_their_study(node: Database, source: Source) -> None:
    expect(node, HERE, source)
    assert gate(node).outcome is GateOutcome.RELEASE
    expect(node, HERE + 40, source)
    decision = gate(node)
    assert decision.outcome is GateOutcome.HOLD
    assert "3 of 43 instances" in decision.reasons[0]
    assert "3 of 43 instances" in shown(node)[SERIES].missing
    with node.begin() as connection:
        instances.add(connection, [instance(number) for number in range(HERE + 40)])
    assert not shown(node)[SERIES].missing


def test_the_largest_count_is_the_one_that_holds(node: Database) -> None:
    for source, count in (("MPPS", 2), ("C-FIND", 9), ("pull", 3)):
        expect(node, count, source)
    assert "3 of 9 instances that the sender (C-FIND) names" in gate(node).reasons[0]


@pytest.mark.parametrize("source", Source)
def test_a_series_that_never_came_holds_its_study(node: Database, source: Source) -> None:
    expect(node, 200, source, of="1.9")
    (reason,) = gate(node).reasons
    assert gate(node).outcome is GateOutcome.HOLD
    assert "1.9" in reason
    assert "0 of 200 instances" in reason
    absent = shown(node)["1.9"]
    assert absent.state == SeriesState.NOT_RECEIVED
    assert "0 of 200 instances" in absent.missing
    with node.read() as connection:
        study = study_status(connection, STUDY)
    assert study is not None
    assert study.verdict == "UNDETERMINED"


def test_notifications_add_up(node: Database) -> None:
    """PS3.4 R.1.1: each names any set of instances, and the second says nothing of the first."""
    uids = [instance(number).header.sop_instance_uid for number in range(HERE + 6)]
    for named in (uids[:HERE], uids[HERE : HERE + 1], uids[HERE + 2 :]):
        with node.begin() as connection:
            expected.announce(connection, STUDY, SERIES, named)
    assert "3 of 8 instances that the Instance Availability" in gate(node).reasons[0]
    with node.begin() as connection:
        expected.announce(connection, STUDY, SERIES, (), unavailable=uids[HERE:])
    assert gate(node).outcome is GateOutcome.RELEASE


def test_the_newest_answer_of_a_pacs_replaces_all_that_it_said(node: Database) -> None:
    """A series was removed there, and another one got smaller: nothing of it will ever come."""
    for counts, source in (
        ({SERIES: 140, "1.9": 7}, Source.C_FIND),
        ({SERIES: HERE}, Source.PULL),
    ):
        with node.begin() as connection:
            expected.expect_counts(connection, STUDY, counts, source, "ARCHIVE")
    assert gate(node).outcome is GateOutcome.RELEASE
    with node.begin() as connection:
        expected.expect_counts(connection, STUDY, {}, Source.C_FIND, "ARCHIVE")
    assert gate(node).outcome is GateOutcome.RELEASE


def test_one_pacs_does_not_speak_for_another(node: Database) -> None:
    for pacs, count in (("ARCHIVE", 100), ("CACHE", HERE)):
        with node.begin() as connection:
            expected.expect_counts(connection, STUDY, {SERIES: count}, Source.C_FIND, pacs)
    assert "3 of 100 instances" in gate(node).reasons[0]


def test_our_own_seg_series_at_the_source_holds_nothing(node: Database) -> None:
    expect(node, 1, "C-FIND", of=segmentation().series_instance_uid)
    assert gate(node).outcome is GateOutcome.RELEASE
    assert set(shown(node)) == {SERIES}


def test_a_study_of_which_nothing_came_stays_unknown(database: Database) -> None:
    expect(database, 200, "MPPS")
    assert gate(database).outcome is GateOutcome.UNKNOWN_STUDY
    with database.read() as connection:
        assert study_status(connection, STUDY) is None


def test_a_study_is_held_until_its_pull_is_done(node: Database) -> None:
    with node.begin() as connection:
        pulls.ask(connection, "archive", [STUDY])
        (pull,) = pulls.named(connection, "archive", [STUDY])
    assert "list of pulls from archive" in gate(node).reasons[0]
    with node.begin() as connection:
        pulls.mark_failed(connection, pull.id, 5, HERE, "the source is gone")
    assert gate(node).outcome is GateOutcome.HOLD
    assert "archive" in shown(node)[SERIES].missing
    with node.begin() as connection:
        pulls.mark_done(connection, pull.id, HERE, HERE)
    assert gate(node).outcome is GateOutcome.RELEASE
