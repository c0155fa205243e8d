"""The thread that writes rows behind the receiver."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest
import sqlalchemy as sa

from dicomnode.errors import DatabaseError
from dicomnode.tracking import audit, indexer
from dicomnode.tracking.associations import ClosedAssociation
from dicomnode.tracking.audit import AuditEvent
from dicomnode.tracking.database import Database
from dicomnode.tracking.indexer import Indexer
from dicomnode.tracking.schema import associations, instances
from tests.unit.tracking.rows import association, at, instance


@pytest.fixture
def running(database: Database) -> Iterator[Indexer]:
    made = Indexer(database, "r1")
    made.start()
    yield made
    made.stop()


def ended(name: str) -> ClosedAssociation:
    return ClosedAssociation(name, "released", at(9))


def count(database: Database) -> int:
    with database.read() as connection:
        return connection.scalar(sa.select(sa.func.count()).select_from(instances)) or 0


def wait_until(done: Callable[[], bool], seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


def test_everything_put_before_the_stop_is_written(database: Database) -> None:
    written = Indexer(database, "r1")
    written.put(association("a"))
    for number in range(1200):
        written.put(instance(number, association="a"))
    written.put(ClosedAssociation("a", "released", at(9)))
    written.put(AuditEvent("object refused", "SCANNER", {"reason": "conflict"}, at(1)))
    written.start()
    written.stop()
    assert count(database) == 1200
    with database.read() as connection:
        assert connection.scalar(sa.select(associations.c.closed_at)) == at(9)
        assert audit.newest(connection)[0].detail == {"reason": "conflict"}


def test_one_row_that_the_database_refuses_does_not_stop_the_others(
    database: Database, running: Indexer
) -> None:
    twin = replace(instance(2), name=instance(1).name)  # the name is taken
    for one in (instance(1), twin, instance(3)):
        running.put(one)
    wait_until(lambda: count(database) == 2)


def test_a_database_that_is_away_is_waited_for(
    database: Database, running: Indexer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(indexer, "_RETRY_SECONDS", 0.05)
    begin, calls = database.begin, []

    def away() -> object:
        calls.append(1)
        if len(calls) < 4:
            raise DatabaseError("away")
        return begin()

    monkeypatch.setattr(database, "begin", away)
    running.put(instance(1))
    wait_until(lambda: count(database) == 1)
    assert len(calls) >= 4


def settled(database: Database) -> dict[str, bool]:
    """Of the associations that have ended."""
    query = sa.select(associations.c.id, associations.c.is_settled)
    with database.read() as connection:
        rows = connection.execute(query.where(associations.c.closed_at.is_not(None))).all()
    return {row.id: row.is_settled for row in rows}


def test_an_association_that_ends_in_order_is_settled(database: Database, running: Indexer) -> None:
    for event in (association("a"), instance(1, association="a"), ended("a")):
        running.put(event)
    wait_until(lambda: settled(database) == {"a": True})


def test_after_a_full_queue_no_association_that_was_open_is_settled(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(indexer, "_LONGEST_QUEUE", 5)
    small = Indexer(database, "r1")
    for name in ("a", "b"):
        small.put(association(name))
    for number in range(50):
        small.put(instance(number, association="a"))
    small.put(ended("a"))
    small.start()
    wait_until(lambda: settled(database) == {"a": False})
    time.sleep(0.2)
    for event in (ended("b"), association("c"), ended("c")):
        small.put(event)
    wait_until(lambda: settled(database) == {"a": False, "b": False, "c": True})
    small.stop()
    assert count(database) == 3


def test_a_refused_row_leaves_its_association_unsettled(
    database: Database, running: Indexer
) -> None:
    twin = replace(instance(2, association="a"), name=instance(1).name)  # the name is taken
    for event in (association("a"), instance(1, association="a"), twin):
        running.put(event)
    wait_until(lambda: count(database) == 1)
    time.sleep(0.2)
    running.put(ended("a"))
    wait_until(lambda: settled(database) == {"a": False})


def test_no_event_ends_the_thread(database: Database, running: Indexer) -> None:
    running.put(replace(instance(1), received_at="no time"))  # type: ignore[arg-type]
    running.put(replace(instance(2), header=None))  # type: ignore[arg-type]
    running.put(instance(3))
    wait_until(lambda: count(database) == 1)
    assert running.is_alive()


def test_heartbeats_keep_open_associations_alive(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dicomnode.tracking.associations.HEARTBEAT_SECONDS", 0.05)
    beating = Indexer(database, "r1")
    beating.start()
    beating.put(association("a"))

    def beats() -> object:
        with database.read() as connection:
            return connection.scalar(sa.select(associations.c.heartbeat_at))

    wait_until(lambda: beats() is not None)
    first = beats()
    wait_until(lambda: beats() != first)
    beating.stop()


def test_what_was_given_up_for_lost_is_open_again_until_its_true_end(
    database: Database, running: Indexer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The receiver stood still for so long that another role declared it dead."""
    monkeypatch.setattr("dicomnode.tracking.associations.HEARTBEAT_SECONDS", 0.05)
    for event in (association("a"), instance(1, association="a"), association("b"), ended("b")):
        running.put(event)
    wait_until(lambda: settled(database) == {"b": True})
    with database.begin() as connection:
        lost = {"closed_at": at(30), "outcome": "lost", "is_settled": True}
        connection.execute(associations.update().where(associations.c.id == "a").values(lost))
    wait_until(lambda: settled(database) == {"b": True})
    running.put(instance(2, association="a"))
    running.put(ended("a"))
    wait_until(lambda: settled(database) == {"a": True, "b": True})
    with database.read() as connection:
        assert set(connection.scalars(sa.select(associations.c.outcome))) == {"released"}
