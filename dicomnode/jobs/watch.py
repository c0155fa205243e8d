"""From complete series to jobs: the revision and its job are one transaction."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import UTC, datetime

from dicomnode.config import Settings
from dicomnode.errors import DatabaseError
from dicomnode.jobs.lanes import JobQueue
from dicomnode.jobs.questions import Questions
from dicomnode.tracking import clock, series
from dicomnode.tracking.completeness import SeriesFacts, decide
from dicomnode.tracking.database import Database
from dicomnode.tracking.facts import unrevised
from dicomnode.tracking.spool import Spool

log = logging.getLogger("dicomnode.jobs")


@dataclass(frozen=True)
class Watch:
    """Looks for work in the tracking database and puts it into the lanes."""

    settings: Settings
    database: Database
    spool: Spool
    queue: JobQueue
    questions: Questions | None = None

    def enqueue_complete_series(self) -> int:
        """Give every series that is complete now a revision and a job; how many there were."""
        now = datetime.now(UTC)
        return sum(self._enqueue(facts.series_id, now) for facts in self._complete(now))

    def _complete(self, now: datetime) -> list[SeriesFacts]:
        """Those that are complete now, without those of which a sender is still being asked."""
        settings = self.settings.completeness
        with self.database.read() as connection:
            waiting = unrevised(connection, now)
            was_set_back = clock.was_set_back(connection, now)
        if was_set_back:
            with self.database.begin() as connection:
                clock.mend(connection, now)
            log.warning("the clock was set back: times in the future are taken for now")
        if self.questions is not None:
            self.questions.ask(waiting, now)
        return [
            facts
            for facts in waiting
            if decide(facts, settings, now) is not None
            and not (self.questions is not None and self.questions.is_waiting(facts))
        ]

    def _enqueue(self, series_id: int, now: datetime) -> bool:
        """Whether the series got a job; what is wrong with one never holds up the others."""
        try:
            with self.database.begin() as connection:
                settings = self.settings.completeness
                revision = series.complete(connection, series_id, self.spool, settings, now)
                if revision is None:
                    return False  # an instance came between the look and the transaction
                self.queue.enqueue_examination(connection, revision)
        except DatabaseError:
            raise
        except Exception:
            log.exception("no revision", extra={"series_row": series_id})
            return False
        log.info(
            "series complete",
            extra={
                "series": revision.series_instance_uid,
                "revision": revision.number,
                "signal": revision.completed_by,
            },
        )
        return True
