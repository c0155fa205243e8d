"""From complete series to jobs: the revision and its job are one transaction."""

from __future__ import annotations

import logging
from datetime import UTC, datetime

from dicomnode.config import Settings
from dicomnode.errors import DatabaseError
from dicomnode.jobs.lanes import JobQueue
from dicomnode.tracking import series
from dicomnode.tracking.database import Database
from dicomnode.tracking.spool import Spool

log = logging.getLogger("dicomnode.jobs")


def enqueue_complete_series(
    settings: Settings, database: Database, spool: Spool, queue: JobQueue, models_digest: str
) -> int:
    """Give every series that is complete now a revision and a job; how many there were."""
    now = datetime.now(UTC)
    quiet_seconds = settings.completeness.quiet_seconds
    with database.read() as connection:
        complete = series.complete_series(connection, now, quiet_seconds)
    return sum(
        _enqueue(item, now, quiet_seconds, database, spool, queue, models_digest)
        for item in complete
    )


def _enqueue(
    series_id: int,
    now: datetime,
    quiet_seconds: float,
    database: Database,
    spool: Spool,
    queue: JobQueue,
    models_digest: str,
) -> bool:
    """Whether the series got a job; what is wrong with one series never holds up the others."""
    try:
        with database.begin() as connection:
            if series_id not in series.complete_series(connection, now, quiet_seconds):
                return False  # an instance came between the look and the transaction
            revision = series.add_revision(connection, series_id, spool, now)
            if revision is None:
                return False  # sent again, and nothing changed
            queue.enqueue_examination(connection, revision, models_digest)
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
