"""The circuit of a destination: as a state machine, and shared through the database."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from dicomnode.config import DeliverySettings
from dicomnode.tracking import circuits, deliveries, examinations, instances, parked, series
from dicomnode.tracking.circuits import CLOSED, Circuit
from dicomnode.tracking.database import Database
from dicomnode.tracking.parked import Parked
from dicomnode.tracking.peers import away
from dicomnode.tracking.spool import Spool
from tests.databases import *  # noqa: F403
from tests.unit.tracking.rows import at, examined, instance

SETTINGS = DeliverySettings(circuit_failures=3, probe_seconds=60.0)
NOW = datetime(2026, 3, 1, tzinfo=UTC)
TRIAL, OTHER = 7, 8


def after(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


def failing(times: int) -> Circuit:
    circuit = CLOSED
    for number in range(times):
        circuit = circuit.failed(OTHER, "no answer", after(number), SETTINGS)
    return circuit


def test_it_opens_after_as_many_failures_as_are_configured() -> None:
    assert not failing(2).is_open
    opened = failing(3)
    assert opened.is_open
    assert (opened.opened_at, opened.probe_at) == (after(2), after(62))
    assert not opened.lets_pass(OTHER)


def test_it_is_probed_once_in_each_pause() -> None:
    opened = failing(3)
    assert not opened.is_due(after(61), SETTINGS)
    assert opened.is_due(after(62), SETTINGS)
    asked = opened.probing(after(62), SETTINGS)
    assert not asked.is_due(after(121), SETTINGS)
    assert asked.is_due(after(122), SETTINGS)


def test_a_clock_that_was_set_back_does_not_make_it_wait_for_hours() -> None:
    assert failing(3).is_due(after(-3600), SETTINGS)


def test_only_the_delivery_on_trial_passes_and_its_failure_waits_for_the_next_probe() -> None:
    opened = failing(3).probing(after(62), SETTINGS)
    on_trial = Circuit(**(vars(opened) | {"trial_delivery_id": TRIAL}))
    assert on_trial.lets_pass(TRIAL)
    assert not on_trial.lets_pass(OTHER)
    assert on_trial.failed(OTHER, "late", after(63), SETTINGS) == on_trial
    again = on_trial.failed(TRIAL, "still away", after(70), SETTINGS)
    assert (again.opened_at, again.probe_at) == (after(2), after(130))
    assert not again.lets_pass(TRIAL)


@hypothesis_settings(deadline=None)
@given(st.lists(st.sampled_from(["fail", "trial fails", "probe", "tick"]), max_size=60))
def test_whatever_happens_an_open_circuit_is_probed_at_most_once_in_a_pause(
    events: list[str],
) -> None:
    circuit, now, probes = CLOSED, NOW, []
    for event in events:
        now += timedelta(seconds=17)
        if event == "fail":
            circuit = circuit.failed(OTHER, "no answer", now, SETTINGS)
        elif event == "trial fails" and circuit.trial_delivery_id == TRIAL:
            circuit = circuit.failed(TRIAL, "no answer", now, SETTINGS)
        elif event == "probe" and circuit.is_due(now, SETTINGS):
            probes.append(now)
            circuit = circuit.probing(now, SETTINGS)
            circuit = Circuit(**(vars(circuit) | {"trial_delivery_id": TRIAL}))
        # Open and closed are never mixed up, and an open one is always asked again some day.
        assert circuit.is_open == (circuit.probe_at is not None)
        assert not circuit.is_open or circuit.is_due(now + timedelta(seconds=61), SETTINGS)
        assert circuit.lets_pass(OTHER) != circuit.is_open
    assert all(later - earlier >= timedelta(seconds=60) for earlier, later in pairs(probes))


def pairs(times: list[datetime]) -> list[tuple[datetime, datetime]]:
    return list(itertools.pairwise(times))


@pytest.fixture
def delivery_ids(database: Database, spool: Spool) -> list[int]:
    """To a PACS, and to an archive."""
    with database.begin() as c:
        instances.add(c, [instance(1)])
        revision = series.add_revision(c, 1, spool, at(1))
        assert revision is not None
        examination_id = examinations.record(c, revision.id, examined(revision), at(2))
        return [
            *deliveries.add(c, examination_id, "pacs"),
            *deliveries.add(c, examination_id, "ar"),
        ]


def test_one_destination_is_away_and_another_is_not(
    database: Database, delivery_ids: list[int]
) -> None:
    to_pacs, to_archive = delivery_ids
    with database.begin() as c:
        opened = [
            circuits.note_failure(c, "pacs", to_pacs, "no answer", SETTINGS, NOW) for _ in range(3)
        ]
        assert opened == [False, False, True]
        assert not circuits.of_delivery(c, to_pacs).lets_pass(to_pacs)
        assert circuits.of_delivery(c, to_archive) == CLOSED
        assert list(circuits.open_ones(c)) == ["pacs"]


def test_of_several_workers_one_probes(database: Database, delivery_ids: list[int]) -> None:
    for _ in range(3):
        with database.begin() as c:
            circuits.note_failure(c, "pacs", delivery_ids[0], "no answer", SETTINGS, NOW)
    claims = []
    for _ in range(3):
        with database.begin() as c:
            claims.append(circuits.claim_probe(c, "pacs", SETTINGS, after(60)))
    assert claims == [True, False, False]


def test_an_answer_closes_it_and_forgets_the_failures(
    database: Database, delivery_ids: list[int]
) -> None:
    with database.begin() as c:
        assert not circuits.note_answer(c, "never heard of")
        for _ in range(3):
            circuits.note_failure(c, "pacs", delivery_ids[0], "no answer", SETTINGS, NOW)
        assert circuits.note_answer(c, "pacs")
        assert not circuits.note_failure(c, "pacs", delivery_ids[0], "again", SETTINGS, NOW)
        assert circuits.open_ones(c) == {}


def waits(delivery_id: int, number: int = 2, waited_seconds: float = 0.0) -> Parked:
    return Parked(delivery_id, number, 0.0, 1000.0, 15.0, waited_seconds, 30.0)


def test_each_question_to_the_destination_is_a_pause_that_was_waited(
    database: Database, delivery_ids: list[int]
) -> None:
    """An answer in between ends the wait of those before, and takes nothing from it."""
    for start in (0, 1000):
        with database.begin() as c:
            for _ in range(3):
                circuits.note_failure(c, "pacs", delivery_ids[0], "no", SETTINGS, after(start))
            parked.park(c, "pacs", waits(delivery_ids[0], waited_seconds=7.0))
            for pause in (1, 2):
                now = after(start + 60 * pause)
                assert circuits.claim_probe(c, "pacs", SETTINGS, now)
            circuits.note_answer(c, "pacs")
            assert parked.take_ready(c, 1e9, 10) == [waits(delivery_ids[0], waited_seconds=127.0)]


def test_what_waits_goes_when_the_circuit_closes_or_its_time_is_over(
    database: Database, delivery_ids: list[int]
) -> None:
    to_pacs, to_archive = delivery_ids
    late, waiting = waits(to_archive, waited_seconds=100.0), waits(to_pacs, waited_seconds=50.0)
    with database.begin() as c:
        for _ in range(3):
            circuits.note_failure(c, "pacs", to_pacs, "no answer", SETTINGS, NOW)
        for each in (waiting, late, late):
            parked.park(c, "pacs", each)
        (absent,) = away(c)
        assert (absent.destination, absent.waiting, absent.since) == ("pacs", 2, NOW)
        assert parked.is_any_ready(c, 100.0)
        assert parked.take_ready(c, 100.0, 10) == [late]
        assert not parked.is_any_ready(c, 100.0)
        assert parked.take_ready(c, 100.0, 10) == []
        circuits.note_answer(c, "pacs")
        assert away(c) == ()
        assert parked.take_ready(c, 100.0, 10) == [waiting]
        assert not parked.is_parked(c, to_pacs)


def test_who_waited_longest_is_the_first_on_trial(
    database: Database, delivery_ids: list[int]
) -> None:
    with database.begin() as c:
        for number, delivery_id in enumerate(reversed(delivery_ids)):
            parked.park(c, "pacs", waits(delivery_id, number))
        taken = [parked.take_first(c, "pacs") for _ in range(3)]
    assert [each and each.delivery_id for each in taken] == [*reversed(delivery_ids), None]
