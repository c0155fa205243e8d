"""Findings of many studies: the same as of each, by as many queries as for one."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import sqlalchemy as sa

from dicomnode.domain import VerdictKind
from dicomnode.tracking import decisions, examinations, expected, instances, series
from dicomnode.tracking.database import Database
from dicomnode.tracking.decisions import DecisionKind
from dicomnode.tracking.findings import verdicts_of_studies, verdicts_of_study
from dicomnode.tracking.instances import known_files
from dicomnode.tracking.spool import Spool
from tests.unit.tracking.plans import query_plans
from tests.unit.tracking.rows import at, examined, instance, picture, two_echoes

STUDIES = [f"1.2.{number}" for number in range(6)]
OTHERS = ["1.2.99"]


@pytest.fixture
def node(database: Database, spool: Spool) -> Database:
    """Studies with a good series, several volumes, a decision, none yet, and missing series."""
    with database.begin() as connection:
        for study in STUDIES:
            instances.add(
                connection, [instance(n, series=f"{study}.{n}", study=study) for n in (1, 2)]
            )
        for key in range(1, 11):
            revision = series.add_revision(connection, key, spool, at(30))
            assert revision is not None
            found = two_echoes(revision) if key == 3 else examined(revision, VerdictKind.DEFACED)
            examinations.record(connection, revision.id, found)
        decisions.record(
            connection, "1.2.2.1", DecisionKind.DEFACED, account="anna", note="why", now=at(60)
        )
        for study in STUDIES[:2]:
            expected.expect_count(connection, study, f"{study}.9", 7, "C-FIND")
            expected.announce(connection, study, f"{study}.8", [f"{study}.8.1"])
    return database


def test_many_studies_are_told_as_each_of_them_is(node: Database) -> None:
    with node.read() as connection:
        together = verdicts_of_studies(connection, [*STUDIES, *OTHERS])
        alone = {uid: verdicts_of_study(connection, uid) for uid in [*STUDIES, *OTHERS]}
    assert together == alone
    assert [len(found) for found in together.values()] == [4, 4, 2, 2, 2, 2, 0]
    assert together["1.2.2"][0].decisions[0].account == "anna"


def test_the_pictures_of_a_volume_come_back_with_it(node: Database) -> None:
    with node.read() as connection:
        first, second = verdicts_of_study(connection, "1.2.1")[0].volumes
    assert (first.pictures, second.pictures) == ((picture(1),), (picture(2),))


def test_a_volume_of_an_earlier_version_has_no_pictures(node: Database) -> None:
    with node.begin() as connection:
        connection.execute(sa.text("UPDATE volumes SET pictures = '[]'"))
    with node.read() as connection:
        (volume,) = verdicts_of_study(connection, "1.2.0")[0].volumes
    assert volume.pictures == ()


def queries(database: Database, ask: Callable[[sa.Connection], object]) -> int:
    asked: list[str] = []
    with database.read() as connection:
        sa.event.listen(connection, "before_cursor_execute", lambda *given: asked.append(given[2]))
        ask(connection)
    return len(asked)


def test_many_studies_take_as_many_queries_as_one(node: Database) -> None:
    one = queries(node, lambda c: verdicts_of_studies(c, STUDIES[:1]))
    assert queries(node, lambda c: verdicts_of_studies(c, STUDIES)) == one


def test_what_is_found_for_a_list_is_found_by_indexes(node: Database) -> None:
    def ask(connection: sa.Connection) -> None:
        verdicts_of_studies(connection, STUDIES)
        known_files(connection, [f"{study}.1.1" for study in STUDIES])

    if node.is_sqlite:
        for plan in query_plans(node, ask):
            scans = [line for line in plan.splitlines() if line.startswith("SCAN")]
            assert scans == [], plan
        return
    for plan in _postgres_plans(node, ask):
        assert "Seq Scan" not in plan, plan


def _postgres_plans(database: Database, ask: Callable[[sa.Connection], object]) -> list[str]:
    """With sequential scans made dear: a small table is read whole however many indexes it has."""
    asked: list[tuple[str, object]] = []
    with database.read() as connection:
        sa.event.listen(
            connection, "before_cursor_execute", lambda *given: asked.append((given[2], given[3]))
        )
        ask(connection)
    with database.read() as connection:
        connection.execute(sa.text("SET LOCAL enable_seqscan = off"))
        return [
            "\n".join(row[0] for row in connection.exec_driver_sql(f"EXPLAIN {statement}", values))
            for statement, values in asked
        ]


def test_received_files_are_told_with_their_study(node: Database) -> None:
    with node.read() as connection:
        found = known_files(connection, ["1.2.0.1.1", "1.2.5.2.2", "1.2.99.1", ""])
    assert {uid: one.study_instance_uid for uid, one in found.items()} == {
        "1.2.0.1.1": "1.2.0",
        "1.2.5.2.2": "1.2.5",
    }
    assert found["1.2.5.2.2"].file_sha256 == f"{2:064x}"
