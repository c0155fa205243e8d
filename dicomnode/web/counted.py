"""The totals of the node, counted now and then: counting looks at whole tables."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from dicomnode.errors import ModelError
from dicomnode.inference.examiner import ExaminerInUse
from dicomnode.tracking.database import Database
from dicomnode.tracking.totals import Total, outdated_total, totals

if TYPE_CHECKING:
    from sqlalchemy import Connection

# Prometheus scrapes this often.
_COUNTED_AGAIN_SECONDS = 30.0


class Counted:
    """For all who ask in one HTTP role."""

    def __init__(self, database: Database, examiner: ExaminerInUse) -> None:
        self._database = database
        self._examiner = examiner
        self._counting = threading.Lock()
        self._counted: tuple[Total, ...] = ()
        self._count_again_at = 0.0

    def totals(self) -> tuple[Total, ...]:
        """As they were half a minute ago at most; one counts, others wait for it."""
        with self._counting:
            if time.monotonic() >= self._count_again_at:
                with self._database.read() as connection:
                    self._counted = (*totals(connection), *self._outdated(connection))
                self._count_again_at = time.monotonic() + _COUNTED_AGAIN_SECONDS
            return self._counted

    def _outdated(self, connection: Connection) -> tuple[Total, ...]:
        """Models may be installed while this runs. What is wrong with them the worker says."""
        try:
            wanted = self._examiner.now().wanted_digest
        except ModelError:
            return ()
        return (outdated_total(connection, wanted),)
