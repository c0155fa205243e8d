"""Many studies, one after the other: at a bounded rate, resumable, and none stops the rest.

Everything that waits, waits in the table `pulls`. A process that dies leaves the study in flight
pending; it is pulled again, and what came of it before is not stored twice.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from typing import Protocol

from dicomnode.errors import RetrievalError, SourceUnavailableError
from dicomnode.retrieval.study import Pulled
from dicomnode.tracking import pulls
from dicomnode.tracking.database import Database
from dicomnode.tracking.pulls import Pull

LOGGER = logging.getLogger("dicomnode.retrieval")

# A source that is away for so many studies in a row is away: the rest stays pending.
_UNAVAILABLE_IN_A_ROW = 3


class Puller(Protocol):
    """Pulls one study; raises `RetrievalError`. `StudyPuller` is the one."""

    def pull(self, study_instance_uid: str) -> Pulled: ...


class Pace:
    """Lets studies begin at most so often; the first one at once."""

    def __init__(self, studies_per_minute: float, stop: threading.Event) -> None:
        self._seconds = 60.0 / studies_per_minute
        self._stop = stop
        self._next = time.monotonic()

    def wait(self) -> bool:
        """False when it is time to stop instead."""
        stopped = self._stop.wait(max(0.0, self._next - time.monotonic()))
        self._next = max(self._next, time.monotonic()) + self._seconds
        return not stopped


def pull_all(
    waiting: Sequence[Pull],
    puller: Puller,
    database: Database,
    pace: Pace,
    report: Callable[[str], None],
) -> None:
    """Try each study once; `report` is told of each that was tried.

    What this node itself can't store or record ends it, as does a source that is away.
    """
    unavailable = 0
    for pull in waiting:
        if not pace.wait():
            return
        try:
            _pull(pull, puller, database)
            unavailable = 0
        except SourceUnavailableError as error:
            unavailable += 1
            with database.begin() as connection:
                pulls.postpone(connection, pull.id, str(error))
        report(pull.study_instance_uid)
        if unavailable == _UNAVAILABLE_IN_A_ROW:
            return


def _pull(pull: Pull, puller: Puller, database: Database) -> None:
    with database.begin() as connection:
        pulls.begin(connection, pull.id)
    try:
        pulled = puller.pull(pull.study_instance_uid)
    except SourceUnavailableError:
        raise
    except RetrievalError as error:
        pulled = Pulled(0, 0, str(error))
    context = {"study": pull.study_instance_uid, "source": pull.source}
    with database.begin() as connection:
        if pulled.expected and pulled.is_whole:
            pulls.mark_done(connection, pull.id, pulled.expected, pulled.received)
            LOGGER.info("study pulled", extra=context | {"instances": pulled.received})
        else:
            why = _why(pulled)
            pulls.mark_failed(connection, pull.id, pulled.expected, pulled.received, why)
            LOGGER.info("study not pulled: %s", why, extra=context)


def _why(pulled: Pulled) -> str:
    if not pulled.expected:
        return pulled.sentence
    return f"{pulled.received} of {pulled.expected} instances came; {pulled.sentence}"
