"""The thread that writes rows for what a receiving process stored, many per transaction.

The spool is the truth, the queue only makes its rows quick: whatever is lost here, with the
process or because the database was away for long, comes back through `rebuild.settle`. Events keep
their order, so the end of an association is written after the rows of its objects; after events
were lost it is written as unsettled, which brings about the rebuild.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Protocol, TypeVar

from dicomnode.domain import StoredInstance
from dicomnode.errors import DatabaseError
from dicomnode.tracking import associations, audit, instances, quarantine
from dicomnode.tracking.associations import ClosedAssociation, OpenedAssociation
from dicomnode.tracking.audit import AuditEvent
from dicomnode.tracking.database import Database
from dicomnode.tracking.quarantine import QuarantinedObject

LOGGER = logging.getLogger("dicomnode.tracking")


class Undigested(Protocol):
    """An instance whose digests are still to be computed, which takes longer than to store it."""

    def digested(self) -> StoredInstance | None:
        """None: its file is not there any more. Raises `OSError`."""
        ...


Event = OpenedAssociation | ClosedAssociation | StoredInstance | QuarantinedObject | AuditEvent
_E = TypeVar("_E")
_LARGEST_BATCH = 500
_LONGEST_QUEUE = 100_000
_RETRY_SECONDS = 1.0
# A transaction costs much more than the rows in it, so instances wait for each other so long.
_GATHER_SECONDS = 0.5
_ENOUGH_FOR_A_BATCH = 64
_MOST_UNDIGESTED = 1000


class Indexer:
    """One per receiving process. `put` never blocks and never fails."""

    def __init__(self, database: Database, receiver_id: str) -> None:
        self._database = database
        self._receiver_id = receiver_id
        self._queue: queue.Queue[Event | Undigested] = queue.Queue()
        self._open: set[str] = set()
        # Associations that were open when events were lost; their ends settle nothing.
        self._incomplete: set[str] = set()
        self._stopping = threading.Event()
        self._dropped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="indexer", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def is_alive(self) -> bool:
        return self._thread.is_alive()

    def is_behind(self) -> bool:
        """Whether so much waits that an instance had better be put with its digests."""
        return self._queue.qsize() >= _MOST_UNDIGESTED

    def put(self, event: Event | Undigested) -> None:
        """The opening and the end of an association always find a place."""
        may_be_lost = not isinstance(event, OpenedAssociation | ClosedAssociation)
        if may_be_lost and self._queue.qsize() >= _LONGEST_QUEUE:
            if not self._dropped.is_set():
                LOGGER.error("the index queue is full: rows follow from the spool later")
            self._dropped.set()
        else:
            self._queue.put_nowait(event)

    def stop(self, timeout_seconds: float = 15.0) -> None:
        """Write what is queued, for as long as the time allows."""
        self._stopping.set()
        self._thread.join(timeout_seconds)
        if self._thread.is_alive() or not self._queue.empty():
            LOGGER.warning("stopped before all rows were written: they follow at the next start")

    def _run(self) -> None:
        next_heartbeat = 0.0
        while True:
            batch = self._digested(self._take())
            if not batch and self._stopping.is_set():
                return
            heartbeat = bool(self._open) and time.monotonic() >= next_heartbeat
            if (batch or heartbeat) and not self._write_until_done(batch):
                return
            if heartbeat:
                next_heartbeat = time.monotonic() + associations.HEARTBEAT_SECONDS
            if self._dropped.is_set() and self._queue.empty():
                self._incomplete |= self._open
                self._dropped.clear()

    def _digested(self, batch: Sequence[Event | Undigested]) -> list[Event]:
        """With digests; what can't be read now gets its row from the spool later."""
        events: list[Event] = []
        for event in batch:
            if isinstance(event, Event):
                events.append(event)
                continue
            try:
                found = event.digested()
            except (OSError, EOFError) as error:
                LOGGER.error("a stored object can't be read", extra={"error": str(error)})
                self._dropped.set()
            else:
                events += [found] if found is not None else []
        return events

    def _take(self) -> list[Event | Undigested]:
        """What is waiting now; waits a moment for the first event, and then for more instances."""
        batch: list[Event | Undigested] = []
        try:
            batch.append(self._queue.get(timeout=0.01 if self._stopping.is_set() else 0.5))
            is_instance = not isinstance(batch[0], Event) or isinstance(batch[0], StoredInstance)
            if is_instance and self._queue.qsize() < _ENOUGH_FOR_A_BATCH:
                # Not a wait for each event: to be woken for each costs more than it gains.
                self._stopping.wait(_GATHER_SECONDS)
            while len(batch) < _LARGEST_BATCH:
                batch.append(self._queue.get_nowait())
        except queue.Empty:
            pass
        return batch

    def _write_until_done(self, batch: Sequence[Event]) -> bool:
        """False only where the database is away and this process has to stop."""
        while True:
            try:
                self._write(batch)
                return True
            except DatabaseError as error:
                LOGGER.error("rows can't be written now", extra={"error": str(error)})
                if self._stopping.wait(_RETRY_SECONDS):
                    return False
            except Exception:  # noqa: BLE001 - the edge: the thread outlives any one event
                return self._write_one_by_one(batch)

    def _write_one_by_one(self, batch: Sequence[Event]) -> bool:
        if len(batch) <= 1:
            LOGGER.exception("a row was refused by the database")
            self._dropped.set()
            return True
        return all(self._write_until_done([event]) for event in batch)

    def _write(self, batch: Sequence[Event]) -> None:
        def of(kind: type[_E]) -> list[_E]:
            return [event for event in batch if isinstance(event, kind)]

        closed = of(ClosedAssociation)
        opened = {event.id for event in of(OpenedAssociation)}
        still_open = (self._open | opened) - {event.id for event in closed}
        with self._database.begin() as connection:
            associations.open_(connection, of(OpenedAssociation))
            instances.add(connection, of(StoredInstance))
            quarantine.add(connection, of(QuarantinedObject))
            audit.append_all(connection, of(AuditEvent))
            associations.close(connection, closed, self._unsettled(closed))
            associations.heartbeat(connection, self._receiver_id, datetime.now(UTC), still_open)
        self._open = still_open
        self._incomplete.difference_update(event.id for event in closed)

    def _unsettled(self, closed: Sequence[ClosedAssociation]) -> set[str]:
        ids = {event.id for event in closed}
        return ids if self._dropped.is_set() else ids & self._incomplete
