"""However a series is sent, it ends with one current examination of all of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import pytest
import sqlalchemy as sa

from dicomnode.config import CompletenessSettings
from dicomnode.tracking import associations, examinations, expected, findings, instances, series
from dicomnode.tracking.associations import HEARTBEAT_STALE_SECONDS, ClosedAssociation
from dicomnode.tracking.completeness import Signal
from dicomnode.tracking.database import Database
from dicomnode.tracking.facts import unrevised
from dicomnode.tracking.instances import RepeatedInstance
from dicomnode.tracking.schema import announced_instances, revisions
from dicomnode.tracking.schema import examinations as examination_rows
from dicomnode.tracking.spool import Spool
from tests.unit.tracking.rows import SERIES, STUDY, association, at, examined, instance

SETTINGS = CompletenessSettings(
    quiet_seconds=30, shortest_quiet_seconds=5, longest_quiet_seconds=300
)
OTHER = f"{SERIES}.2"


class Node:
    """Receiver and worker, reduced to what they write; time is what the test says."""

    def __init__(self, database: Database, spool: Spool) -> None:
        self.database = database
        self.spool = spool
        self.now = 0.0
        self.open: set[str] = set()
        self.receiver = "r1"
        self.known: set[tuple[str, int]] = set()

    def begin(self, *names: str) -> None:
        with self.database.begin() as c:
            associations.open_(c, [association(name, self.now, self.receiver) for name in names])
        self.open |= set(names)

    def send(self, name: str, numbers: Iterable[int], of: str = SERIES) -> None:
        sent = [instance(n, self.now, association=name, series=of) for n in numbers]
        with self.database.begin() as c:
            instances.add(
                c, [one for n, one in zip(numbers, sent, strict=True) if self._new(of, n)]
            )
            again = [one for n, one in zip(numbers, sent, strict=True) if not self._new(of, n)]
            instances.repeat(c, [RepeatedInstance(i.header, name, at(self.now)) for i in again])
        self.known |= {(of, n) for n in numbers}

    def _new(self, of: str, number: int) -> bool:
        return (of, number) not in self.known

    def end(self, name: str, outcome: str = "released") -> None:
        with self.database.begin() as c:
            associations.close(c, [ClosedAssociation(name, outcome, at(self.now))])
        self.open.discard(name)

    def receiver_dies(self) -> None:
        self.open.clear()

    def receiver_starts(self) -> None:
        self.receiver = "r2"
        with self.database.begin() as c:
            associations.close_lost(c, at(self.now))

    def restart(self) -> None:
        """A worker that knows nothing but the database."""
        self.database.close()
        self.database = Database(self.database.url.render_as_string(hide_password=False))

    def wait(self, seconds: float) -> None:
        """The worker looks every two seconds and examines at once."""
        end = self.now + seconds
        while self.now < end:
            self.now = min(end, self.now + 2)
            with self.database.begin() as c:
                if self.open:
                    associations.heartbeat(c, self.receiver, at(self.now), self.open)
                for facts in unrevised(c, at(self.now)):
                    found = series.complete(c, facts.series_id, self.spool, SETTINGS, at(self.now))
                    if found is not None:
                        examinations.record(c, found.id, examined(found), at(self.now))


@pytest.fixture
def node(database: Database, spool: Spool) -> Node:
    return Node(database, spool)


def split_over_associations(node: Node) -> None:
    for number, name in enumerate("abc"):
        node.begin(name)
        node.send(name, range(10 * number, 10 * number + 10))
        node.wait(3)
        node.end(name)
        node.wait(10)


def interleaved_over_one_association(node: Node) -> None:
    node.begin("a")
    for number in range(10):
        node.send("a", [number])
        node.wait(8)
        node.send("a", [number], of=OTHER)
        node.wait(8)
    node.end("a")


def interleaved_over_two_associations(node: Node) -> None:
    node.begin("a", "b")
    for number in range(0, 10, 2):
        node.send("a", [number])
        node.send("b", [number], of=OTHER)
        node.wait(20)
        node.send("b", [number + 1])
        node.send("a", [number + 1], of=OTHER)
        node.wait(20)
    node.end("a")
    node.wait(60)  # b is open, and sent to the same study
    node.end("b")


def sent_twice(node: Node) -> None:
    for name in "ab":
        node.begin(name)
        node.send(name, range(10))
        node.wait(2)
        node.end(name)
        node.wait(100)


def late_slices(node: Node) -> None:
    node.begin("a")
    node.send("a", range(10))
    node.end("a")
    node.wait(100)
    node.now += 3600
    node.begin("b")
    node.send("b", range(10, 13))
    node.wait(1)
    node.end("b")


def worker_restarts(node: Node) -> None:
    node.begin("a")
    node.send("a", range(5))
    node.wait(2)
    node.restart()
    node.send("a", range(5, 10))
    node.end("a")
    node.wait(20)
    node.restart()


def receiver_restarts(node: Node) -> None:
    node.begin("a")
    node.send("a", range(5))
    node.wait(2)
    node.receiver_dies()
    node.wait(3)
    node.receiver_starts()
    node.begin("b")
    node.send("b", range(10))  # the sender begins again
    node.wait(2)
    node.end("b")


def aborted_in_the_middle(node: Node) -> None:
    node.begin("a")
    node.send("a", range(5))
    node.end("a", "aborted")
    node.wait(25)
    node.begin("b")
    node.send("b", range(10))
    node.wait(2)
    node.end("b")


def aborted_and_sent_again_after_it_was_examined(node: Node) -> None:
    node.begin("a")
    node.send("a", range(5))
    node.end("a", "aborted")
    node.wait(100)
    node.begin("b")
    node.send("b", range(10))
    node.wait(2)
    node.end("b")


def aborted_at_the_end(node: Node) -> None:
    """The one that was released does not make good the one that came after it."""
    for name, outcome in (("a", "released"), ("b", "aborted")):
        node.begin(name)
        node.send(name, range(10))
        node.wait(2)
        node.end(name, outcome)


def aborted_beside_another(node: Node) -> None:
    """The other one was opened before, and knows nothing of what the first still had to send."""
    node.begin("a", "b")
    node.send("a", range(5))
    node.send("b", range(5, 10))
    node.wait(1)
    node.end("a", "aborted")
    node.wait(2)
    node.end("b")


def aborted_in_another_series(node: Node) -> None:
    node.begin("a")
    node.send("a", range(5))
    node.end("a", "aborted")
    node.wait(2)
    node.begin("b")
    node.send("b", range(5), of=OTHER)
    node.end("b")
    with node.database.read() as c:
        assert [facts.was_released for facts in unrevised(c, at(node.now))] == [False, False]


def aborted_in_a_series_that_was_examined(node: Node) -> None:
    node.begin("a")
    node.send("a", range(5))
    node.end("a", "aborted")
    node.wait(100)
    node.begin("b")
    node.send("b", range(5), of=OTHER)
    node.end("b")
    with node.database.read() as c:
        (facts,) = unrevised(c, at(node.now))
    assert facts.was_released


def known_to_be_longer(node: Node) -> None:
    with node.database.begin() as c:
        expected.expect_count(c, STUDY, SERIES, 20, "C-FIND", at(0))
    for number, name in enumerate("ab"):
        node.begin(name)
        node.send(name, range(10 * number, 10 * number + 10))
        node.end(name)
        node.wait(200)


# How it is sent, instances of each series at the end, revisions of each, the last signal.
RELEASED, QUIET = Signal.ASSOCIATION_RELEASED, Signal.QUIET_TIME
WAYS: list[tuple[Callable[[Node], None], dict[str, int], int, Signal | None]] = [
    (split_over_associations, {SERIES: 30}, 1, RELEASED),
    (interleaved_over_one_association, {SERIES: 10, OTHER: 10}, 1, RELEASED),
    (interleaved_over_two_associations, {SERIES: 10, OTHER: 10}, 1, RELEASED),
    (sent_twice, {SERIES: 10}, 1, RELEASED),
    (late_slices, {SERIES: 13}, 2, RELEASED),
    (worker_restarts, {SERIES: 10}, 1, RELEASED),
    (receiver_restarts, {SERIES: 10}, 1, RELEASED),
    (aborted_in_the_middle, {SERIES: 10}, 1, RELEASED),
    (aborted_and_sent_again_after_it_was_examined, {SERIES: 10}, 2, RELEASED),
    (aborted_at_the_end, {SERIES: 10}, 1, QUIET),
    (aborted_beside_another, {SERIES: 10}, 1, QUIET),
    (aborted_in_another_series, {SERIES: 5, OTHER: 5}, 1, None),
    (aborted_in_a_series_that_was_examined, {SERIES: 5, OTHER: 5}, 1, None),
    (known_to_be_longer, {SERIES: 20}, 1, Signal.SENDER_COUNT),
]


@pytest.mark.parametrize(
    ("send", "sizes", "revised", "signal"), WAYS, ids=[way[0].__name__ for way in WAYS]
)
def test_it_ends_with_one_current_examination_of_the_whole_series(
    node: Node,
    send: Callable[[Node], None],
    sizes: dict[str, int],
    revised: int,
    signal: Signal | None,
) -> None:
    send(node)
    node.wait(HEARTBEAT_STALE_SECONDS + 60)
    node.restart()
    with node.database.read() as c:
        assert unrevised(c, at(node.now)) == ()
        found = {one.series_instance_uid: one for one in findings.verdicts_of_study(c, STUDY)}
        made = c.execute(
            sa.select(revisions, examination_rows.c.is_current.label("examined_now"))
            .join(examination_rows, examination_rows.c.revision_id == revisions.c.id)
            .order_by(revisions.c.series_id, revisions.c.number)
        ).all()
    assert {uid: one.instance_count for uid, one in found.items()} == sizes
    assert all(one.verdict is not None and not one.has_newer_instances for one in found.values())
    for number, row in enumerate(made, 1):
        newest = number % revised == 0
        assert (row.is_current, row.examined_now) == (newest, newest)
        assert signal is None or (row.completed_by == signal) or not newest
        assert row.completion
    assert len(made) == revised * len(sizes)
    whole = {
        uid: row.instance_count
        for uid, row in zip(sizes, made[revised - 1 :: revised], strict=True)
    }
    assert whole == sizes
    node.database.close()


def test_a_count_of_a_source_is_replaced_by_its_next_one(database: Database) -> None:
    with database.begin() as c:
        instances.add(c, [instance(1)])
        for count in (5, 9):
            expected.expect_count(c, STUDY, SERIES, count, "C-FIND", at(0))
        expected.expect_count(c, STUDY, SERIES, 0, "MPPS", at(0))
        expected.expect_count(c, "1.2.3", SERIES, 77, "MPPS", at(0))
        (facts,) = unrevised(c, at(1))
    assert facts.expected == (("C-FIND", 9),)


@pytest.mark.parametrize(("source", "why"), [("rumour", "rumour"), ("IAN", "announce")])
def test_a_source_of_no_counts_is_an_error(database: Database, source: str, why: str) -> None:
    with database.begin() as c, pytest.raises(ValueError, match=why):
        expected.expect_count(c, STUDY, SERIES, 5, source, at(0))


def test_instances_that_are_announced_one_by_one_are_examined_once(node: Node) -> None:
    """Each notification says that all it ever named is here."""
    for number, name in enumerate("abcde"):
        node.begin(name)
        node.send(name, [number])
        node.end(name)
        with node.database.begin() as c:
            expected.announce(c, STUDY, SERIES, [instance(number).header.sop_instance_uid])
        node.wait(1)
    node.wait(100)
    with node.database.read() as c:
        (found,) = findings.verdicts_of_study(c, STUDY)
        assert (found.revision_number, found.completed_by) == (1, Signal.INSTANCES_AVAILABLE)
        assert c.execute(sa.select(announced_instances)).all() == []


def test_an_association_that_is_kept_open_holds_the_gate_but_not_the_examination(
    node: Node,
) -> None:
    node.begin("a")
    node.send("a", range(10))
    node.wait(100)
    with node.database.begin() as c:
        (facts,) = unrevised(c, at(node.now))
        assert facts.is_being_sent
        assert facts.received_at == at(0)
        expected.expect_count(c, STUDY, SERIES, 10, "MPPS", at(0))
    node.wait(1)
    with node.database.read() as c:
        (found,) = findings.verdicts_of_study(c, STUDY)
    assert (found.state, found.completed_by) == ("examined", "MPPS_COMPLETED")
    assert found.is_being_sent
    assert (found.open_from, found.open_since) == ("SCANNER", at(0))
    node.end("a")
    with node.database.read() as c:
        (found,) = findings.verdicts_of_study(c, STUDY)
    assert not found.is_being_sent
    assert (found.open_from, found.open_since) == ("", None)
