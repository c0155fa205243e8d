"""Delays and patience of deliveries, and what a clock that jumps does to them: nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from dicomnode.config import DeliverySettings, Settings
from dicomnode.jobs import lanes
from dicomnode.jobs.attempts import Attempt, attempt_order, first_attempt
from dicomnode.jobs.delays import Delays
from dicomnode.tracking.database import Database

SETTINGS = DeliverySettings()
HOUR = 3600.0


def test_delays_double_up_to_the_longest() -> None:
    attempt, delays = first_attempt(7), []
    for _ in range(9):
        attempt = attempt.next(SETTINGS)
        delays.append(attempt.delay_seconds)
    assert delays == [15, 30, 60, 120, 240, 480, 900, 900, 900]
    assert attempt.number == 10


def test_a_destination_that_takes_and_loses_is_tried_ever_more_seldom() -> None:
    """Sent, asked for the proof at once, lost, and so on; the wait for a proof begins anew."""
    attempt, delays = first_attempt(7), []
    for _ in range(8):
        asks = attempt.after_sending()
        assert asks.next(SETTINGS).delay_seconds == SETTINGS.first_retry_seconds
        attempt = asks.after_loss(SETTINGS)
        delays.append(attempt.delay_seconds)
    assert delays == [15, 30, 60, 120, 240, 480, 900, 900]


def test_those_that_failed_together_come_back_one_by_one_and_each_as_it_would_again() -> None:
    attempts = [Attempt(delivery, 3, 100.0, 1_000.0) for delivery in range(200)]
    waits = [attempt.wait_seconds for attempt in attempts]
    assert all(75 <= wait <= 125 for wait in waits)
    assert max(waits) - min(waits) > 40
    assert waits == [replace(attempt).wait_seconds for attempt in attempts]
    assert Attempt(7, 1, 0.0, 1_000.0).wait_seconds == 0


def test_a_retry_by_a_person_comes_after_every_earlier_attempt() -> None:
    earlier = [Attempt(7, number, 0.0, 1_000.0) for number in (1, 2, 10)]
    retried = Attempt(7, 1, 0.0, 1_000.5)
    ids = [attempt.job_id for attempt in (*earlier, retried)]
    assert sorted(set(ids), key=attempt_order) == ids


@pytest.mark.parametrize("set_by_hours", [-10.0, 0.0, 10_000.0])
def test_a_retry_by_a_person_is_the_newest_attempt_whatever_the_clock_says(
    set_by_hours: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = first_attempt(7)
    begun = first.generation + set_by_hours * HOUR
    monkeypatch.setattr("dicomnode.jobs.attempts.time.time", lambda: begun)
    retried = first_attempt(7, replace(first, number=40).job_id)
    assert attempt_order(retried.job_id) > attempt_order(replace(first, number=40).job_id)
    assert retried.waited_seconds == 0


def test_patience_ends_with_the_pauses_that_were_made_whatever_the_clock_says(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """96 hours of pauses: at most 900 s each, so some 388 attempts."""
    attempt = first_attempt(7)
    monkeypatch.setattr("dicomnode.jobs.attempts.time.time", lambda: 4e9)
    while not attempt.gives_up(SETTINGS):
        attempt = attempt.next(SETTINGS)
    assert 96 * HOUR <= attempt.waited_seconds < 96.25 * HOUR
    assert 385 <= attempt.number <= 395
    assert not first_attempt(7, attempt.job_id).gives_up(SETTINGS)


def test_what_it_waits_for_a_proof_begins_with_each_sending() -> None:
    sent = first_attempt(7).next(SETTINGS).next(SETTINGS).after_sending()
    assert (sent.unproven_seconds, sent.waited_seconds) == (0, 45)
    asked = sent.next(SETTINGS).next(SETTINGS)
    assert (asked.unproven_seconds, asked.waited_seconds) == (45, 90)
    assert asked.after_loss(SETTINGS).unproven_seconds == 0


def test_a_clock_that_was_set_back_keeps_no_job_waiting_for_longer_than_a_pause(
    make_settings: Callable[..., Settings],
) -> None:
    """Two jobs wait for 600 s; one of them, as the clock of then said, for ten hours more."""
    settings = make_settings()
    database = Database(settings.database_url)
    database.migrate()
    lanes.migrate(database)
    queue = lanes.JobQueue(database)
    wall, lived = [1000 * HOUR], [0.0]
    delays = Delays(queue.client, lambda: wall[0], lambda: lived[0])

    def due_in(job_id: str) -> float:
        (status,) = queue.client.list_workflows(workflow_ids=[job_id])
        return (status.delay_until_epoch_ms or 0) / 1000 - wall[0]

    def waits(number: int) -> str:
        with database.begin() as c:
            job_id = queue.enqueue_delivery(c, Attempt(number, 1, 600.0, 0.0))
        until = (wall[0] + 600.0) * 1000
        queue.client.set_workflow_delay(job_id, delay_until_epoch_ms=int(until))
        return job_id

    delays.look(settings.delivery)
    of_before = waits(1)
    wall[0] -= 10 * HOUR
    of_now = waits(2)
    lived[0] += 1
    delays.look(settings.delivery)
    assert due_in(of_before) == -wall[0]
    assert due_in(of_now) == 600
    queue.close()
    database.close()
