"""Asking the sender how many instances a series has, in a thread of its own.

A PACS that is dead, or slow, never holds up the watch: an answer is waited for only so long, and
one that doesn't come is no answer.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime

from dicomnode.config import CompletenessSettings
from dicomnode.tracking import expected
from dicomnode.tracking.completeness import SeriesFacts, Source, shortest_wait_seconds
from dicomnode.tracking.database import Database

log = logging.getLogger("dicomnode.jobs")

# (calling AE title, Study Instance UID) -> instances of each series; None: not a source of ours.
CountAtSender = Callable[[str, str], Mapping[str, int] | None]
ANSWER_SECONDS = 30.0
_PAUSE_SECONDS = 60.0

_Question = tuple[str, str, tuple[SeriesFacts, ...]]
_Asked = tuple[int, int]  # the series' row, and how many instances it had


class Questions:
    """One per worker. Each series is asked for once for each number of instances that it had."""

    def __init__(
        self, database: Database, settings: CompletenessSettings, count_at_sender: CountAtSender
    ) -> None:
        self._database = database
        self._settings = settings
        self._count_at_sender = count_at_sender
        self._asked: dict[_Asked, float] = {}
        self._answered: set[_Asked] = set()
        self._lock = threading.Lock()  # of the answered ones, which the thread adds to
        self._silent_until: dict[str, float] = {}
        self._queue: queue.SimpleQueue[_Question | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="ask senders", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """What is still to be asked isn't; an answer that is on its way is not waited for."""
        self._queue.put(None)

    def ask(self, waiting: Sequence[SeriesFacts], now: datetime) -> None:
        """Ask for those that are quiet and of which nobody else says that they are whole."""
        keys = {_key(facts) for facts in waiting}
        self._asked = {key: at for key, at in self._asked.items() if key in keys}
        with self._lock:
            self._answered &= keys
        studies: dict[tuple[str, str], list[SeriesFacts]] = {}
        for facts in waiting:
            if self._is_due(facts, now):
                who = (facts.calling_ae_title, facts.study_instance_uid)
                studies.setdefault(who, []).append(facts)
                self._asked[_key(facts)] = time.monotonic()
        for (title, study_uid), series in studies.items():
            self._queue.put((title, study_uid, tuple(series)))

    def is_waiting(self, facts: SeriesFacts) -> bool:
        """Whether an answer may still come that would change the decision."""
        asked_at = self._asked.get(_key(facts))
        with self._lock:
            is_answered = _key(facts) in self._answered
        if asked_at is None or is_answered or _is_named_whole(facts):
            return False
        return time.monotonic() - asked_at < ANSWER_SECONDS

    def _is_due(self, facts: SeriesFacts, now: datetime) -> bool:
        # An association that is kept open is quiet where nothing comes over it.
        since = facts.received_at if facts.is_being_sent else facts.quiet_since
        quiet_seconds = (now - since).total_seconds()
        return (
            facts.calling_ae_title != ""
            and quiet_seconds >= shortest_wait_seconds(self._settings)
            and not _is_named_whole(facts)
            and _key(facts) not in self._asked
        )

    def _run(self) -> None:
        while (question := self._queue.get()) is not None:
            title, study_uid, series = question
            try:
                self._ask_one(title, study_uid)
            except Exception as error:  # noqa: BLE001  the edge of the thread: no answer
                self._silent_until[title] = time.monotonic() + _PAUSE_SECONDS
                log.warning(
                    "a sender did not say how many instances its series have",
                    extra={"calling_ae_title": title, "error": type(error).__name__},
                )
            finally:
                with self._lock:
                    self._answered.update(_key(facts) for facts in series)

    def _ask_one(self, title: str, study_uid: str) -> None:
        """One that failed a moment ago is left alone."""
        if time.monotonic() < self._silent_until.get(title, 0.0):
            return
        counts = self._count_at_sender(title, study_uid)
        if counts is None:
            return
        # Also of series that never came: the gate holds their study.
        with self._database.begin() as connection:
            expected.expect_counts(connection, study_uid, counts, Source.C_FIND, title)


@contextmanager
def asking(
    database: Database, settings: CompletenessSettings, count_at_sender: CountAtSender | None
) -> Iterator[Questions | None]:
    """Ask inside of the block; None where nobody is to be asked."""
    if count_at_sender is None or not settings.ask_sender:
        yield None
        return
    questions = Questions(database, settings, count_at_sender)
    questions.start()
    try:
        yield questions
    finally:
        questions.stop()


def _key(facts: SeriesFacts) -> _Asked:
    return facts.series_id, facts.instance_count


def _is_named_whole(facts: SeriesFacts) -> bool:
    return any(count == facts.instance_count for _, count in facts.expected)
