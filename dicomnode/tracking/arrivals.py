"""Which associations send to which series, on record before the first object is stored.

Rows follow the files, so a verdict could be read while a confirmed instance has no row yet, and a
file that is there already could be removed while its sender is told so. The first object of each
pair of series and association therefore waits for one small commit: from then on the gate holds the
series, and retention leaves it alone, until the association is settled (`associations`). Later
objects of the pair cost nothing.
"""

from __future__ import annotations

import threading
from datetime import UTC, datetime

from sqlalchemy.exc import SQLAlchemyError

from dicomnode.domain import InstanceHeader
from dicomnode.errors import DatabaseError
from dicomnode.tracking import associations, instances
from dicomnode.tracking.associations import OpenedAssociation
from dicomnode.tracking.database import Database


class Arrivals:
    """One per receiving process; called from the threads of its associations."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._open: dict[str, OpenedAssociation] = {}
        self._recorded: dict[str, set[tuple[str, str]]] = {}
        self._lock = threading.Lock()

    def opened(self, association: OpenedAssociation) -> None:
        with self._lock:
            self._open[association.id] = association
            self._recorded[association.id] = set()

    def ended(self, association_id: str) -> None:
        with self._lock:
            self._open.pop(association_id, None)
            self._recorded.pop(association_id, None)

    def record(self, association_id: str, header: InstanceHeader) -> None:
        """Returns when the pair is on record. Raises `DatabaseError`.

        An association that has ended is none to answer a success to, so it needs no record.
        """
        pair = (header.study_instance_uid, header.series_instance_uid)
        with self._lock:
            association = self._open.get(association_id)
            recorded = self._recorded.get(association_id, set())
        if association is None or pair in recorded:
            return
        try:
            with self._database.begin() as connection:
                associations.open_(connection, [association])
                associations.reopen(connection, [association_id])
                instances.expect(connection, header, datetime.now(UTC), association_id)
        except SQLAlchemyError as error:
            raise DatabaseError(f"an arrival was not recorded: {type(error).__name__}") from error
        recorded.add(pair)
