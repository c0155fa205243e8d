"""Destinations that are down, slow, or abort: circuits on the real engine."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from pydicom.uid import CTImageStorage, ImplicitVRLittleEndian

from dicomnode.config import DestinationSettings
from dicomnode.delivery.store import Sent
from dicomnode.errors import DestinationAwayError
from dicomnode.jobs.engine import JobState, retry
from dicomnode.jobs.stages import Stages
from dicomnode.tracking import audit
from dicomnode.tracking.schema import commitments as commitments_table
from tests import small_node
from tests.integration.jobs.conftest import Node, pacs
from tests.integration.jobs.conftest import until as until_within
from tests.storage_peer import storage_peer

MakeNode = Callable[..., Node]
OPENS_AT_ONCE = {"circuit_failures": 1, "probe_seconds": 0.5}


def until(condition: Callable[[], bool]) -> None:
    """A busy machine takes its time."""
    until_within(condition, 240.0)


class Absent:
    """Stages whose destinations of some names are away; each way of asking is counted."""

    def __init__(self, stages: Stages, *names: str) -> None:
        self.names = set(names)
        self.sent: Counter[str] = Counter()
        self.asked: Counter[str] = Counter()
        self.stages = replace(stages, deliver=self._deliver, echo=self._echo)
        self._real = stages

    def _deliver(self, to: DestinationSettings, paths: Sequence[Path], ae: str) -> Sent:
        self.sent[to.name] += 1
        self._look(to)
        return self._real.deliver(to, paths, ae)

    def _echo(self, to: DestinationSettings, ae: str) -> None:
        self.asked[to.name] += 1
        self._look(to)
        self._real.echo(to, ae)

    def _look(self, to: DestinationSettings) -> None:
        if to.name in self.names:
            raise DestinationAwayError(f"{to.name} does not answer")


def waiting(node: Node) -> int:
    return sum(job.state is JobState.WAITING_FOR_PEER for job in node.jobs())


def test_a_dead_destination_is_asked_once_in_a_pause_and_another_gets_all(
    make_node: MakeNode, database_url: str
) -> None:
    """Three deliveries; once the circuit is open none of them is tried until it is back."""
    with storage_peer() as peer, storage_peer() as archive:
        node = make_node(
            pacs(peer.port),
            pacs(archive.port) | {"name": "archive"},
            url=database_url,
            delivery={"circuit_failures": 1, "probe_seconds": 600.0},
            jobs={"deliver_slots": 1},
        )
        absent = Absent(small_node.stages(node.settings), "pacs")
        for number in range(3):
            node.put(str(number))
        with node.working(absent.stages):
            until(lambda: Counter(node.states()) == {"delivered": 3, "pending": 3})
            until(lambda: waiting(node) == 3)
            assert absent.sent == {"pacs": 1, "archive": 3}
            assert absent.asked == {}
            absent.names.clear()
            (job, *_) = node.jobs()
            retry(node.database, job.id)
            until(lambda: Counter(node.states()) == {"delivered": 6})
    assert absent.asked == {"pacs": 1}
    assert set(peer.received.values()) == {1}
    assert len(peer.received) == 3


def test_it_is_found_to_be_back_without_anybody(make_node: MakeNode, free_port: int) -> None:
    node = make_node(pacs(free_port), delivery=OPENS_AT_ONCE)
    for number in range(3):
        node.put(str(number))
    with node.working():
        until(lambda: waiting(node) == 3)
        assert all("does not accept connections" in job.error for job in node.jobs())
        with storage_peer(free_port) as peer:
            until(lambda: node.states() == ["delivered"] * 3)
    assert set(peer.received.values()) == {1}


def test_one_that_answers_c_echo_and_then_hangs_gets_one_delivery_at_a_time(
    make_node: MakeNode,
) -> None:
    with storage_peer() as peer:
        node = make_node(pacs(peer.port), delivery=OPENS_AT_ONCE)
        hung, at_once, most = threading.Event(), [0], [0]
        stages = small_node.stages(node.settings)

        def deliver(to: DestinationSettings, paths: Sequence[Path], ae: str) -> Sent:
            at_once[0] += 1
            most[0] = max(most[0], at_once[0])
            try:
                if not hung.is_set():
                    time.sleep(0.1)
                    raise DestinationAwayError("it hangs")
                return stages.deliver(to, paths, ae)
            finally:
                at_once[0] -= 1

        for number in range(3):
            node.put(str(number))
        with node.working(replace(stages, deliver=deliver)):
            until(lambda: waiting(node) == 3)
            most[0] = 0
            until(lambda: most[0] > 0)  # somebody is on trial
            until(lambda: waiting(node) == 3)
            assert most[0] == 1
            hung.set()
            until(lambda: node.states() == ["delivered"] * 3)


def test_a_destination_that_is_slow_keeps_nothing_from_the_others(
    make_node: MakeNode, database_url: str
) -> None:
    """Two slots: more wait for the slow one than there are."""
    with storage_peer() as slow, storage_peer() as archive:
        slow.answers_now.clear()
        others = [pacs(archive.port) | {"name": "archive"}]
        node = make_node(pacs(slow.port), *others, url=database_url, jobs={"deliver_slots": 2})
        for number in range(4):
            node.put(str(number))
        with node.working():
            until(lambda: Counter(node.states()) == {"delivered": 4, "pending": 4})
            assert slow.associations == 1
            assert slow.received.total() == 0
            slow.answers_now.set()
            until(lambda: node.states() == ["delivered"] * 8)


def test_those_that_wait_for_too_long_are_given_up(make_node: MakeNode, free_port: int) -> None:
    given_up = {"give_up_after_hours": 1.0 / 3600, "circuit_failures": 1, "probe_seconds": 0.4}
    node = make_node(pacs(free_port), delivery=given_up)
    node.put("a")
    with node.working():
        until(lambda: node.states() == ["refused"])
    (job,) = node.jobs()
    assert "gave up after" in job.error
    assert "does not accept connections" in job.error


def test_the_way_in_which_a_destination_takes_segs_is_remembered(make_node: MakeNode) -> None:
    with storage_peer(syntaxes=[ImplicitVRLittleEndian]) as peer:
        node = make_node(pacs(peer.port))
        node.put("a")
        with node.working():
            until(lambda: node.states() == ["delivered"])
            assert peer.associations == 2
            node.put("b")
            until(lambda: node.states() == ["delivered"] * 2)
    assert peer.associations == 3


def test_one_that_takes_no_seg_is_told_with_what_to_do_and_not_tried_for_ever(
    make_node: MakeNode,
) -> None:
    with storage_peer(sop_classes=[CTImageStorage]) as peer:
        node = make_node(pacs(peer.port))
        node.put("a")
        with node.working():
            until(lambda: node.states() == ["refused"])
    assert "Segmentation Storage" in node.jobs()[0].error
    assert "dicomnode jobs retry" in node.jobs()[0].error


@pytest.mark.parametrize("proof", ["find", "commitment"])
def test_what_a_destination_accepted_and_lost_is_sent_again_and_reported(
    make_node: MakeNode, proof: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dicomnode.delivery.proof._WAIT_SECONDS", 60.0)
    quick = {"prove_within_seconds": 0.1}
    with storage_peer() as peer:
        peer.loses = 1
        node = make_node(pacs(peer.port) | {"proof": proof}, delivery=quick)
        node.put("a")
        with node.working():
            until(lambda: node.states() == ["delivered"])
    assert list(peer.received.values()) == [2]
    with node.database.read() as connection:
        events = [event.event for event in audit.newest(connection)]
    order = ["stored", "not kept", "stored", "delivered"]
    assert [event for event in reversed(events) if event in order] == order


def test_one_that_never_proves_it_is_sent_it_again_and_a_person_can_see_why(
    make_node: MakeNode,
) -> None:
    with storage_peer() as peer:
        peer.loses = 1000
        quick = {"prove_within_seconds": 0.1}
        node = make_node(pacs(peer.port) | {"proof": "find"}, delivery=quick)
        node.put("a")
        with node.working():
            until(lambda: peer.received.total() > 1)
            until(lambda: "does not find it" in node.jobs()[0].error)


def test_one_that_offers_no_proof_is_left_to_a_person_at_once(make_node: MakeNode) -> None:
    with storage_peer(services=()) as peer:
        node = make_node(pacs(peer.port) | {"proof": "commitment"})
        node.put("a")
        with node.working():
            until(lambda: node.states() == ["refused"])
    assert list(peer.received.values()) == [1]
    assert "Configure Storage Commitment there" in node.jobs()[0].error


def test_a_report_that_comes_another_way_is_believed(make_node: MakeNode) -> None:
    """As the receiver records it, in a process of its own."""
    with storage_peer() as peer:
        peer.reports_to = None
        node = make_node(pacs(peer.port) | {"proof": "commitment"})
        node.put("a")
        with node.working():
            until(lambda: bool(peer.asked))
            assert node.states() == ["stored"]
            with node.database.begin() as connection:
                connection.execute(commitments_table.update().values(outcome="committed"))
            until(lambda: node.states() == ["delivered"])
    assert list(peer.received.values()) == [1]
