"""From complete series to jobs: the revision and its job are one transaction."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from dicomnode.config import Settings
from dicomnode.errors import DatabaseError
from dicomnode.jobs.lanes import JobQueue, Priority
from dicomnode.tracking import examinations, series
from dicomnode.tracking.database import Database
from dicomnode.tracking.spool import Spool

if TYPE_CHECKING:
    from sqlalchemy import Connection

log = logging.getLogger("dicomnode.jobs")


@dataclass(frozen=True)
class Watch:
    """Looks for work in the tracking database and puts it into the lanes."""

    settings: Settings
    database: Database
    spool: Spool
    queue: JobQueue
    examiner_digest: str

    def enqueue_complete_series(self) -> int:
        """Give every series that is complete now a revision and a job; how many there were."""
        now = datetime.now(UTC)
        with self.database.read() as connection:
            complete = self._complete(connection, now)
        return sum(self._enqueue(series_id, now) for series_id in complete)

    def enqueue_outdated(self) -> int:
        """What other networks, rules or thresholds examined is examined again, when there is time.

        The old verdict is void from this transaction on, so the gate holds meanwhile.
        """
        with self.database.begin() as connection:
            outdated = examinations.void_outdated(connection, self.examiner_digest)
            for revision_id in outdated:
                revision = series.load_revision(connection, revision_id, self.spool)
                self.queue.enqueue_examination(
                    connection, revision, self.examiner_digest, Priority.BATCH
                )
        if outdated:
            log.info("verdicts of another examiner are void", extra={"revisions": len(outdated)})
        return len(outdated)

    def _complete(self, connection: Connection, now: datetime) -> list[int]:
        quiet_seconds = self.settings.completeness.quiet_seconds
        return series.complete_series(connection, now, quiet_seconds)

    def _enqueue(self, series_id: int, now: datetime) -> bool:
        """Whether the series got a job; what is wrong with one never holds up the others."""
        try:
            with self.database.begin() as connection:
                if series_id not in self._complete(connection, now):
                    return False  # an instance came between the look and the transaction
                revision = series.add_revision(connection, series_id, self.spool, now)
                if revision is None:
                    return False  # sent again, and nothing changed
                self.queue.enqueue_examination(connection, revision, self.examiner_digest)
        except DatabaseError:
            raise
        except Exception:
            log.exception("no revision", extra={"series_row": series_id})
            return False
        log.info(
            "series complete",
            extra={"series": revision.series_instance_uid, "revision": revision.number},
        )
        return True
