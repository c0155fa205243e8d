"""What is counted in the database, now and then: counting looks at whole tables."""

from __future__ import annotations

import threading
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from dicomnode.config import Settings
from dicomnode.errors import ModelError
from dicomnode.inference.examiner import ExaminerInUse
from dicomnode.meters import Family
from dicomnode.tracking.database import Database
from dicomnode.tracking.flow import Flow, destinations, queues
from dicomnode.tracking.totals import Total, outdated_total, totals
from dicomnode.web.metrics import family_of

if TYPE_CHECKING:
    from sqlalchemy import Connection

# Prometheus scrapes this often.
_COUNTED_AGAIN_SECONDS = 30.0


class Counted:
    """For all who ask in one HTTP role: as it was half a minute ago at most; one counts, others
    wait for it."""

    def __init__(self, settings: Settings, database: Database, examiner: ExaminerInUse) -> None:
        self._settings = settings
        self._database = database
        self._examiner = examiner
        self._counting = threading.Lock()
        self._totals: tuple[Total, ...] = ()
        self._flow = Flow()
        self._flows: tuple[Family, ...] = ()
        self._count_again_at = 0.0

    def totals(self) -> tuple[Total, ...]:
        """Raises `DatabaseError`, as `families` does."""
        with self._counting:
            self._count()
            return self._totals

    def families(self) -> tuple[Family, ...]:
        """The totals, and how the work flows."""
        with self._counting:
            self._count()
            return (*map(family_of, self._totals), *self._flows)

    def _count(self) -> None:
        if time.monotonic() < self._count_again_at:
            return
        named = [destination.name for destination in self._settings.destinations]
        with self._database.read() as connection:
            self._totals = (*totals(connection), *self._outdated(connection))
            self._flows = (
                *queues(connection, datetime.now(UTC)),
                *destinations(connection, named),
                *self._flow.look(connection),
            )
        self._count_again_at = time.monotonic() + _COUNTED_AGAIN_SECONDS

    def _outdated(self, connection: Connection) -> tuple[Total, ...]:
        """Models may be installed while this runs. What is wrong with them the worker says."""
        try:
            wanted = self._examiner.now().wanted_digest
        except ModelError:
            return ()
        return (outdated_total(connection, wanted),)
