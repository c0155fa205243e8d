"""Completeness and revisions: computed from the database alone."""

from __future__ import annotations

from datetime import datetime

from dicomnode.config import CompletenessSettings
from dicomnode.tracking import associations, examinations, findings, instances, series, status
from dicomnode.tracking.associations import HEARTBEAT_STALE_SECONDS, ClosedAssociation
from dicomnode.tracking.completeness import decide
from dicomnode.tracking.database import Database
from dicomnode.tracking.facts import unrevised
from dicomnode.tracking.gate_schema import METADATA
from dicomnode.tracking.instances import RepeatedInstance
from dicomnode.tracking.spool import Spool
from tests.unit.tracking.plans import query_plans
from tests.unit.tracking.rows import SERIES, STUDY, association, at, examined, instance

SETTINGS = CompletenessSettings(quiet_seconds=30.0)


def complete(database: Database, now: datetime) -> list[int]:
    with database.read() as connection:
        found = unrevised(connection, now)
    return [facts.series_id for facts in found if decide(facts, SETTINGS, now) is not None]


def revise(database: Database, spool: Spool, now: datetime) -> list[int | None]:
    """One round of what the worker's watch does: the numbers of the new revisions."""
    waiting = complete(database, now)
    with database.begin() as connection:
        found = [series.complete(connection, one, spool, SETTINGS, now) for one in waiting]
    return [None if revision is None else revision.number for revision in found]


def test_a_series_is_complete_after_the_quiet_time_and_not_before(database: Database) -> None:
    with database.begin() as connection:
        instances.add(connection, [instance(1, 0), instance(2, 10)])
    assert complete(database, at(39.9)) == []
    assert len(complete(database, at(40))) == 1


def test_a_restart_changes_nothing(database: Database, database_url: str) -> None:
    with database.begin() as connection:
        associations.open_(connection, [association("a", 0)])
        instances.add(connection, [instance(1, 0, association="a")])
        associations.close(connection, [ClosedAssociation("a", "released", at(1))])
    again = Database(database_url)
    for seconds in (0, 29, 30, 300):
        assert complete(again, at(seconds)) == complete(database, at(seconds))
    again.close()


def test_an_open_association_that_sent_to_it_keeps_it_open(database: Database) -> None:
    with database.begin() as connection:
        associations.open_(connection, [association("a", 0), association("idle", 0)])
        instances.add(connection, [instance(1, 0, association="a")])
        associations.heartbeat(connection, "r1", at(60))
    assert complete(database, at(60)) == []
    with database.begin() as connection:
        associations.close(connection, [ClosedAssociation("a", "released", at(61))])
    # The other one is still open, but it has not sent to this study. Quiet begins with the end.
    assert complete(database, at(90)) == []
    assert len(complete(database, at(91))) == 1


def test_an_open_association_that_sent_to_another_series_of_the_study_keeps_it_open(
    database: Database,
) -> None:
    with database.begin() as connection:
        associations.open_(connection, [association("a", 0), association("b", 0)])
        instances.add(connection, [instance(1, 0, association="a")])
        instances.add(connection, [instance(2, 5, association="b", series=f"{SERIES}.2")])
        associations.close(connection, [ClosedAssociation("a", "released", at(6))])
        associations.heartbeat(connection, "r1", at(100))
    assert complete(database, at(100)) == []
    with database.begin() as connection:
        associations.close(connection, [ClosedAssociation("b", "released", at(101))])
    assert complete(database, at(130)) == []
    assert len(complete(database, at(131))) == 2


def test_the_associations_of_a_killed_receiver_stop_counting(database: Database) -> None:
    with database.begin() as connection:
        associations.open_(connection, [association("a", 0)])
        instances.add(connection, [instance(1, 0, association="a")])
        associations.heartbeat(connection, "r1", at(35))
    last = 35 + HEARTBEAT_STALE_SECONDS
    assert complete(database, at(last - 1)) == []
    # It was quiet since the last heartbeat.
    assert complete(database, at(64)) == []
    assert len(complete(database, at(65))) == 1
    with database.begin() as connection:
        assert associations.close_lost(connection, at(last)) == 1
        assert associations.close_lost(connection, at(last)) == 0


def test_a_heartbeat_speaks_for_its_own_receiver_only(database: Database) -> None:
    with database.begin() as connection:
        associations.open_(connection, [association("dead", 0, "r1"), association("b", 0, "r2")])
        instances.add(connection, [instance(1, 0, association="dead")])
        associations.heartbeat(connection, "r2", at(60))
    assert len(complete(database, at(60))) == 1


def test_a_series_split_over_two_associations_is_one_revision(
    database: Database, spool: Spool
) -> None:
    with database.begin() as connection:
        associations.open_(connection, [association("a", 0), association("b", 5)])
        instances.add(connection, [instance(n, 0, association="a") for n in (1, 2)])
        instances.add(connection, [instance(n, 6, association="b") for n in (3, 4)])
        associations.close(connection, [ClosedAssociation("a", "released", at(7))])
        associations.heartbeat(connection, "r1", at(50))
    assert complete(database, at(50)) == []
    with database.begin() as connection:
        associations.close(connection, [ClosedAssociation("b", "released", at(51))])
    assert revise(database, spool, at(81)) == [1]
    with database.read() as connection:
        assert len(series.load_revision(connection, 1, spool).paths) == 4


def test_a_complete_series_is_revised_once(database: Database, spool: Spool) -> None:
    with database.begin() as connection:
        instances.add(connection, [instance(1)])
    assert revise(database, spool, at(30)) == [1]
    assert revise(database, spool, at(31)) == []
    assert revise(database, spool, at(3000)) == []


def test_a_late_slice_makes_a_new_revision_and_voids_the_verdict(
    database: Database, spool: Spool
) -> None:
    with database.begin() as connection:
        instances.add(connection, [instance(1), instance(2)])
        first = series.complete(connection, 1, spool, SETTINGS, at(30))
        assert first is not None
        examinations.record(connection, first.id, examined(first))
    with database.begin() as connection:
        instances.add(connection, [instance(3, 100)])
        (waiting,) = findings.verdicts_of_study(connection, STUDY)
    assert waiting.has_newer_instances
    assert waiting.state == "receiving"
    assert revise(database, spool, at(130)) == [2]
    with database.read() as connection:
        (voided,) = findings.verdicts_of_study(connection, STUDY)
        second = series.load_revision(connection, voided.revision_id or 0, spool)
        old = series.load_revision(connection, first.id, spool)
    assert (voided.verdict, voided.state) == (None, "waiting")
    assert (len(old.paths), len(second.paths)) == (2, 3)
    assert old == first
    assert second.digest != old.digest


def test_the_same_series_sent_again_changes_nothing(database: Database, spool: Spool) -> None:
    sent = [instance(1), instance(2)]
    with database.begin() as connection:
        instances.add(connection, sent)
    assert revise(database, spool, at(30)) == [1]
    with database.begin() as connection:
        assert instances.add(connection, [instance(1, 500), instance(2, 500)]) == 0
        again = [RepeatedInstance(one.header, "b", at(500)) for one in sent]
        instances.repeat(connection, again)
    assert revise(database, spool, at(5000)) == []


def test_a_sender_that_begins_again_keeps_the_series_open(database: Database) -> None:
    """It first repeats what is there; firing in between would examine half a series."""
    with database.begin() as connection:
        associations.open_(connection, [association("a", 0), association("b", 20)])
        instances.add(connection, [instance(1, 0, association="a")])
        associations.close(connection, [ClosedAssociation("a", "lost", at(1))])
        instances.repeat(connection, [RepeatedInstance(instance(1).header, "b", at(25))])
        associations.heartbeat(connection, "r1", at(40))
    assert complete(database, at(40)) == []
    with database.begin() as connection:
        associations.close(connection, [ClosedAssociation("b", "released", at(41))])
    assert complete(database, at(70)) == []
    assert len(complete(database, at(71))) == 1


def test_the_revision_and_the_status_name_the_signal_that_fired(
    database: Database, spool: Spool
) -> None:
    with database.begin() as connection:
        instances.add(connection, [instance(1)])
        revision = series.complete(connection, 1, spool, SETTINGS, at(30))
        shown = status.study_status(connection, STUDY)
    assert revision is not None
    assert shown is not None
    assert (revision.completed_by, shown.series[0].completed_by) == ("QUIET_TIME", "QUIET_TIME")
    assert "30 s" in revision.completion == shown.series[0].completion


def test_one_series_uid_in_two_studies_is_two_series(database: Database) -> None:
    other = "1.2.826.0.1.2"
    with database.begin() as connection:
        instances.add(connection, [instance(1), instance(2, study=other)])
        assert len(findings.verdicts_of_study(connection, STUDY)) == 1
        assert len(findings.verdicts_of_study(connection, other)) == 1


def test_a_batch_over_several_series_counts_each(database: Database) -> None:
    batch = [instance(n, series=f"{SERIES}.{s}") for s in range(3) for n in range(s + 1)]
    with database.begin() as connection:
        assert instances.add(connection, batch + batch) == 6
        found = findings.verdicts_of_study(connection, STUDY)
    assert sorted(one.instance_count for one in found) == [1, 2, 3]


def test_the_revision_knows_who_sent_it_and_where_its_files_are(
    database: Database, spool: Spool
) -> None:
    with database.begin() as connection:
        instances.add(connection, [instance(1)])
        revision = series.add_revision(connection, 1, spool, at(30))
    assert revision is not None
    assert (revision.calling_ae_title, revision.peer_address) == ("SCANNER", "192.0.2.7")
    assert revision.paths == (spool.path(instance(1).name),)


def test_looking_for_complete_series_uses_the_partial_index(database: Database) -> None:
    """Polled every second: it must not walk over every series that was ever received."""
    if not database.is_sqlite:
        return
    with database.begin() as connection:
        instances.add(connection, [instance(1)])
    plans = query_plans(database, lambda c: unrevised(c, at(0)))
    assert len(plans) == 4
    for plan in plans:
        assert "ix_series_unrevised" in plan
        for table in METADATA.tables:
            assert f"SCAN {table}\n" not in f"{plan}\n", plan
