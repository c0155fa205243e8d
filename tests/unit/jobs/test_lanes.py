"""Job ids and delays: the small rules that idempotency and patience rest on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dicomnode.config import Settings
from dicomnode.domain import Revision
from dicomnode.jobs.lanes import (
    Attempt,
    Priority,
    attempt_order,
    examination_id,
    first_attempt,
    reexamination_id,
)
from dicomnode.jobs.liveness import FileLiveness, new_executor_id
from dicomnode.tracking.outdated import Examined

REVISION = Revision(1, 1, "d" * 64, "1.2", "1.2.3", "CT", ())


def test_the_same_content_is_the_same_job() -> None:
    again = replace(REVISION, id=9, number=4)
    assert examination_id(REVISION) == examination_id(again)


@pytest.mark.parametrize("changed", [{"digest": "e" * 64}, {"series_instance_uid": "1.2.4"}])
def test_other_content_is_another_job(changed: dict[str, Any]) -> None:
    assert examination_id(replace(REVISION, **changed)) != examination_id(REVISION)


def test_a_reexamination_is_one_job_for_each_examination_that_it_replaces() -> None:
    first = Examined(7, 1, "d" * 64, "1.2.3", "old", ())
    ids = [
        examination_id(REVISION),
        reexamination_id(first),
        reexamination_id(replace(first, examination_id=8)),
    ]
    assert len(set(ids)) == 3
    assert all(job_id.split(":")[1] == "1.2.3" for job_id in ids)


def test_a_job_with_a_priority_never_runs_before_stat() -> None:
    assert sorted(Priority) == [Priority.STAT, Priority.ROUTINE, Priority.BATCH]
    assert min(Priority) > 0


def test_delays_double_up_to_the_longest(make_settings: Callable[..., Settings]) -> None:
    attempt, delays = first_attempt(7, make_settings()), []
    for _ in range(9):
        attempt = attempt.next(make_settings().delivery)
        delays.append(attempt.delay_seconds)
    assert delays == [15, 30, 60, 120, 240, 480, 900, 900, 900]
    assert attempt.number == 10


def test_a_destination_that_takes_and_loses_is_tried_ever_more_seldom(
    make_settings: Callable[..., Settings],
) -> None:
    """Sent, asked for the proof at once, lost, and so on; the wait for a proof begins anew."""
    settings = make_settings().delivery
    attempt, delays = first_attempt(7, make_settings()), []
    for _ in range(8):
        asks = attempt.at_once()
        assert asks.next(settings).delay_seconds == settings.first_retry_seconds
        attempt = asks.after_loss(settings)
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


def test_executor_ids_are_never_used_twice() -> None:
    assert len({new_executor_id() for _ in range(100)}) == 100


def test_a_process_never_calls_itself_dead(tmp_path: Path) -> None:
    lock = FileLiveness(tmp_path / "locks", "me")
    lock.hold()
    assert not lock.is_dead("me")
    assert lock.is_dead("nobody ever had this id")
    lock.release()
    assert list((tmp_path / "locks").iterdir()) == []
