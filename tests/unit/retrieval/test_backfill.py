"""Many studies: none stops the rest, none is lost; on both databases."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import pytest

from dicomnode.errors import OutOfSpaceError, RetrievalError, SourceUnavailableError
from dicomnode.retrieval.backfill import Pace, pull_all
from dicomnode.retrieval.study import Pulled
from dicomnode.tracking import pulls
from dicomnode.tracking.database import Database
from dicomnode.tracking.pulls import Pull, PullState
from tests.databases import *  # noqa: F403

Answer = Pulled | Exception
WHOLE = Pulled(14, 14, "C-GET: 14 completed")
AWAY = SourceUnavailableError("source archive does not accept connections")


@dataclass
class Source:
    """Answers for each study, WHOLE where nothing else is said."""

    answers: Mapping[str, Answer]
    asked: list[str] = field(default_factory=list)
    on_pull: Callable[[], None] = lambda: None

    def pull(self, study_instance_uid: str) -> Pulled:
        self.asked.append(study_instance_uid)
        self.on_pull()
        answer = self.answers.get(study_instance_uid, WHOLE)
        if isinstance(answer, Exception):
            raise answer
        return answer


def run(
    database: Database, source: Source, *uids: str, stop: threading.Event | None = None
) -> dict[str, Pull]:
    with database.begin() as connection:
        pulls.ask(connection, "archive", uids)
        waiting = pulls.named(connection, "archive", uids)
    pace = Pace(1e6, stop or threading.Event())
    try:
        pull_all(waiting, source, database, pace, lambda _uid: None)
    finally:
        with database.read() as connection:
            ended = pulls.named(connection, "archive", uids)
    return {pull.study_instance_uid: pull for pull in ended}


def test_a_bad_study_does_not_stop_the_rest(database: Database) -> None:
    answers = {"1.1": RetrievalError("the source has no such study"), "1.3": Pulled(14, 12, "why")}
    ended = run(database, Source(answers), "1.1", "1.2", "1.3", "1.4")
    states = [pull.state for pull in ended.values()]
    assert states == [PullState.FAILED, PullState.DONE, PullState.FAILED, PullState.DONE]
    assert ended["1.1"].last_error == "the source has no such study"
    assert ended["1.3"].last_error == "12 of 14 instances came; why"
    assert (ended["1.3"].expected_instances, ended["1.3"].received_instances) == (14, 12)


def test_a_source_that_is_away_ends_the_run_and_costs_no_study(database: Database) -> None:
    uids = [f"1.{number}" for number in range(1, 8)]
    source = Source(dict.fromkeys(uids[1:], AWAY))
    ended = run(database, source, *uids)
    assert source.asked == uids[:4]
    assert [pull.state for pull in ended.values()] == [PullState.DONE] + [PullState.PENDING] * 6
    assert "does not accept connections" in ended["1.2"].last_error
    assert [pull.attempts for pull in ended.values()] == [1] + [0] * 6


def test_a_source_that_comes_back_goes_on(database: Database) -> None:
    source = Source({"1.1": AWAY, "1.2": AWAY, "1.4": AWAY, "1.5": AWAY})
    ended = run(database, source, "1.1", "1.2", "1.3", "1.4", "1.5", "1.6")
    assert [uid for uid, pull in ended.items() if pull.state is PullState.DONE] == ["1.3", "1.6"]


def test_what_this_node_can_not_store_stays_pending(database: Database) -> None:
    source = Source({"1.1": OutOfSpaceError("the disk is full")})
    with pytest.raises(OutOfSpaceError):
        run(database, source, "1.1", "1.2")
    with database.read() as connection:
        assert len(pulls.unfinished(connection, "archive", attempts=1)) == 2


def test_a_run_that_is_stopped_ends_the_study_in_flight(database: Database) -> None:
    stop = threading.Event()
    ended = run(database, Source({}, on_pull=stop.set), "1.1", "1.2", stop=stop)
    assert [pull.state for pull in ended.values()] == [PullState.DONE, PullState.PENDING]


def test_an_attempt_is_counted_before_the_first_request(database: Database) -> None:
    seen: list[int] = []

    def look() -> None:
        with database.read() as connection:
            seen.extend(p.attempts for p in pulls.named(connection, "archive", ["1.1"]))

    run(database, Source({}, on_pull=look), "1.1")
    assert seen == [1]


class Clockwork(threading.Event):
    """Notes how long it was waited on, and does not wait."""

    def __init__(self) -> None:
        super().__init__()
        self.waits: list[float] = []

    def wait(self, timeout: float | None = None) -> bool:
        self.waits.append(timeout or 0.0)
        return self.is_set()


def test_studies_begin_no_more_often_than_the_rate_says() -> None:
    clock = Clockwork()
    pace = Pace(6.0, clock)
    assert [pace.wait() for _ in range(3)] == [True] * 3
    assert clock.waits == pytest.approx([0.0, 10.0, 20.0], abs=1.0)
    clock.set()
    assert not pace.wait()
