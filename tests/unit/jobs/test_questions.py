"""Asking a sender how many instances a series has: once, in time, and never in the way."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import pytest
import sqlalchemy as sa

from dicomnode.config import CompletenessSettings
from dicomnode.jobs import questions
from dicomnode.jobs.questions import Questions
from dicomnode.tracking.completeness import SeriesFacts, Source
from dicomnode.tracking.database import Database
from dicomnode.tracking.schema import expected_counts
from tests.unit.tracking.rows import SERIES, STUDY, at

SETTINGS = CompletenessSettings(quiet_seconds=30, shortest_quiet_seconds=5)
FACTS = SeriesFacts(
    series_id=1,
    study_instance_uid=STUDY,
    series_instance_uid=SERIES,
    calling_ae_title="PACS",
    instance_count=100,
    is_being_sent=False,
    was_released=True,
    received_at=at(0),
    quiet_since=at(0),
)


class Pacs:
    """What is asked, and what it answers; `answer` may raise or block."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str]] = []
        self.answer: Callable[[], Mapping[str, int] | None] = lambda: {SERIES: 140, "1.9": 7}

    def __call__(self, calling_ae_title: str, study_uid: str) -> Mapping[str, int] | None:
        self.asked.append((calling_ae_title, study_uid))
        return self.answer()


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    made = Database(f"sqlite:///{tmp_path}/tracking.sqlite")
    made.migrate()
    yield made
    made.close()


@pytest.fixture
def pacs() -> Pacs:
    return Pacs()


@pytest.fixture
def asking(database: Database, pacs: Pacs) -> Iterator[Questions]:
    with questions.asking(database, SETTINGS, pacs) as made:
        assert made is not None
        yield made


def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.01)


def counts(database: Database) -> dict[tuple[str, str], int]:
    with database.read() as connection:
        rows = connection.execute(sa.select(expected_counts)).all()
    return {(row.series_instance_uid, row.source): row.instance_count for row in rows}


def test_the_answer_is_recorded_also_for_series_that_never_came(
    asking: Questions, pacs: Pacs, database: Database
) -> None:
    asking.ask([FACTS], at(5))
    until(lambda: not asking.is_waiting(FACTS))
    assert pacs.asked == [("PACS", STUDY)]
    assert counts(database) == {(SERIES, "C-FIND"): 140, ("1.9", "C-FIND"): 7}


def test_a_study_is_asked_for_once_until_more_comes(asking: Questions, pacs: Pacs) -> None:
    other = replace(FACTS, series_id=2, series_instance_uid=f"{SERIES}.2")
    for _ in range(3):
        asking.ask([FACTS, other], at(6))
    until(lambda: not asking.is_waiting(other))
    assert len(pacs.asked) == 1
    more = replace(FACTS, instance_count=101)
    asking.ask([more, other], at(60))
    until(lambda: not asking.is_waiting(more))
    assert len(pacs.asked) == 2


NOT_DUE = {
    "it was quiet for too short a time": (FACTS, 4.9),
    "its series is being sent": (replace(FACTS, is_being_sent=True, received_at=at(58)), 60),
    "its sender is unknown": (replace(FACTS, calling_ae_title=""), 60),
    "somebody says that it is whole": (replace(FACTS, expected=((Source.MPPS, 100),)), 60),
}


@pytest.mark.parametrize(("facts", "seconds"), NOT_DUE.values(), ids=NOT_DUE)
def test_nobody_is_asked_while(asking: Questions, facts: SeriesFacts, seconds: float) -> None:
    asking.ask([facts], at(seconds))
    assert not asking.is_waiting(facts)
    assert not asking._asked


def test_a_sender_that_keeps_its_association_open_is_asked(
    asking: Questions, database: Database
) -> None:
    kept_open = replace(FACTS, is_being_sent=True, quiet_since=at(5))
    asking.ask([kept_open], at(5))
    until(lambda: not asking.is_waiting(kept_open))
    assert counts(database)[SERIES, "C-FIND"] == 140


def test_a_sender_that_fails_is_no_answer_and_is_left_alone(
    asking: Questions, pacs: Pacs, database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    def fail() -> Mapping[str, int]:
        raise ValueError("the name of a patient")

    pacs.answer = fail
    asking.ask([FACTS], at(6))
    until(lambda: not asking.is_waiting(FACTS))
    again = replace(FACTS, instance_count=101)
    asking.ask([again], at(60))
    until(lambda: not asking.is_waiting(again))
    assert len(pacs.asked) == 1
    assert counts(database) == {}
    assert "ValueError" in str([vars(record) for record in caplog.records])
    assert "patient" not in str([vars(record) for record in caplog.records])


def test_one_that_is_no_source_of_ours_is_no_answer(
    asking: Questions, pacs: Pacs, database: Database
) -> None:
    pacs.answer = lambda: None
    asking.ask([FACTS], at(6))
    until(lambda: not asking.is_waiting(FACTS))
    assert counts(database) == {}


def test_a_pacs_that_hangs_is_waited_for_only_so_long(
    asking: Questions, pacs: Pacs, monkeypatch: pytest.MonkeyPatch
) -> None:
    released = threading.Event()

    def hang() -> None:
        released.wait(60)

    pacs.answer = hang
    asking.ask([FACTS], at(6))
    assert asking.is_waiting(FACTS)
    # Whoever says meanwhile that it is whole is believed.
    assert not asking.is_waiting(replace(FACTS, expected=((Source.IAN, 100),)))
    monkeypatch.setattr(questions, "ANSWER_SECONDS", 0.0)
    assert not asking.is_waiting(FACTS)
    released.set()


def test_what_no_longer_waits_is_forgotten(asking: Questions) -> None:
    asking.ask([FACTS], at(6))
    until(lambda: not asking.is_waiting(FACTS))
    asking.ask([], at(7))
    assert not asking._asked
    assert not asking._answered


@pytest.mark.parametrize("ask_sender", [True, False])
def test_nobody_is_asked_where_the_site_says_so(
    database: Database, pacs: Pacs, ask_sender: bool
) -> None:
    settings = SETTINGS.model_copy(update={"ask_sender": ask_sender})
    with questions.asking(database, settings, pacs) as made:
        assert (made is not None) == ask_sender
    with questions.asking(database, settings, None) as made:
        assert made is None
