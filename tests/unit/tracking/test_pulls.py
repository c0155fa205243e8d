"""The list of studies to fetch, in both databases."""

from __future__ import annotations

import sqlalchemy as sa

from dicomnode.tracking import audit, instances, pulls
from dicomnode.tracking.database import Database, _alembic_config
from dicomnode.tracking.pulls import Pull, PullState
from tests.databases import *  # noqa: F403
from tests.unit.tracking.rows import SERIES, STUDY, at, instance


def asked(database: Database, *study_uids: str, source: str = "archive") -> list[Pull]:
    with database.begin() as connection:
        pulls.ask(connection, source, study_uids, at(0))
        return pulls.named(connection, source, study_uids)


def unfinished(database: Database, attempts: int = 3) -> list[str]:
    with database.read() as connection:
        found = pulls.unfinished(connection, "archive", attempts)
    return [pull.study_instance_uid for pull in found]


def fail(database: Database, pull: Pull) -> None:
    with database.begin() as connection:
        pulls.begin(connection, pull.id, at(1))
        pulls.mark_failed(connection, pull.id, 14, 12, "12 of 14 instances came", at(2))


def test_a_study_is_pending_from_the_moment_it_is_asked_for(database: Database) -> None:
    (pull,) = asked(database, "1.2")
    assert (pull.state, pull.attempts, pull.created_at) == (PullState.PENDING, 0, at(0))
    assert unfinished(database) == ["1.2"]


def test_many_studies_keep_the_order_in_which_they_were_asked_for(database: Database) -> None:
    uids = [f"1.2.{number}" for number in range(900, 0, -1)]
    assert [pull.study_instance_uid for pull in asked(database, *uids)] == uids
    assert unfinished(database) == uids


def test_an_attempt_that_was_begun_and_never_ended_is_gone_on_with(database: Database) -> None:
    (pull,) = asked(database, "1.2")
    with database.begin() as connection:
        for _ in range(5):
            pulls.begin(connection, pull.id)
    assert unfinished(database) == ["1.2"]


def test_what_is_done_is_not_gone_on_with(database: Database) -> None:
    pull, _ = asked(database, "1.2", "1.3")
    with database.begin() as connection:
        pulls.begin(connection, pull.id)
        pulls.mark_done(connection, pull.id, 14, 14)
    assert unfinished(database) == ["1.3"]


def test_what_failed_too_often_is_left_to_a_person(database: Database) -> None:
    (pull,) = asked(database, "1.2")
    fail(database, pull)
    assert unfinished(database, attempts=2) == ["1.2"]
    fail(database, pull)
    assert unfinished(database, attempts=2) == []
    with database.read() as connection:
        assert pulls.given_up(connection, "archive", 2) == 1
        (kept,) = pulls.named(connection, "archive", ["1.2"])
    assert (kept.state, kept.attempts) == (PullState.FAILED, 2)
    assert (kept.expected_instances, kept.received_instances) == (14, 12)
    assert kept.last_error == "12 of 14 instances came"


def test_asking_again_begins_again_and_makes_no_second_row(database: Database) -> None:
    (first,) = asked(database, "1.2")
    fail(database, first)
    (again,) = asked(database, "1.2", "1.2")
    assert (again.id, again.state, again.attempts) == (first.id, PullState.PENDING, 0)
    assert again.last_error == ""


def test_each_source_has_its_own_list(database: Database) -> None:
    asked(database, "1.2", source="other")
    assert unfinished(database) == []


def test_received_instances_are_those_with_rows(database: Database) -> None:
    with database.begin() as connection:
        instances.add(
            connection, [instance(1), instance(2), instance(3, study="1.9", series="1.8")]
        )
        found = pulls.received_instances(connection, STUDY)
    assert found == {SERIES: {f"{SERIES}.1", f"{SERIES}.2"}}


def test_the_table_comes_to_a_database_with_data_and_changes_none(database_url: str) -> None:
    from alembic import command

    database = Database(database_url)
    with database.begin() as connection:
        command.upgrade(_alembic_config(connection), "0003")
        connection.execute(
            sa.text(f"INSERT INTO studies VALUES ('{STUDY}', '2026-03-01 12:00:00')")
        )
    database.migrate()
    with database.begin() as connection:
        instances.add(connection, [instance(1)])
    asked(database, STUDY)
    with database.read() as connection:
        assert pulls.received_instances(connection, STUDY) == {SERIES: {f"{SERIES}.1"}}
    assert database.check().is_current
    database.close()


def test_what_is_forgotten_is_on_no_list_and_on_record(database: Database) -> None:
    asked(database, "1.2", "1.3")
    asked(database, "1.2", source="cache")
    with database.begin() as connection:
        assert pulls.forget(connection, "archive", ["1.2", "1.9"]) == 1
    with database.read() as connection:
        (event,) = audit.newest(connection, event="pull forgotten")
    assert (event.subject, event.detail["source"]) == ("1.2", "archive")
    assert unfinished(database) == ["1.3"]
    with database.read() as connection:
        assert len(pulls.named(connection, "cache", ["1.2"])) == 1
