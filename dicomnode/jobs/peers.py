"""Destinations that are away are asked whether they are back, in a thread of its own.

A destination that hangs never holds up the watch, nor a slot of the deliveries.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from dicomnode.config import Settings
from dicomnode.delivery.destinations import resolve
from dicomnode.errors import DeliveryError, DeliveryRefusedError, DestinationAwayError
from dicomnode.jobs.attempts import Attempt, give_up_seconds
from dicomnode.jobs.lanes import JobQueue
from dicomnode.jobs.stages import Stages
from dicomnode.tracking import circuits, parked
from dicomnode.tracking.database import Database
from dicomnode.tracking.parked import Parked

if TYPE_CHECKING:
    from sqlalchemy import Connection

log = logging.getLogger("dicomnode.jobs")

_AT_ONCE = 100
_GRACE_SECONDS = 1.0


@dataclass
class Peers:
    """What the workers do together for destinations that are away, and for those that are back;
    `settings` may change."""

    settings: Settings
    database: Database
    queue: JobQueue
    stages: Stages

    def look(self) -> None:
        """Ask who is to be asked, and let go whoever need not wait any longer."""
        now = datetime.now(UTC)
        with self.database.read() as connection:
            found = circuits.open_ones(connection)
        due = {n: each for n, each in found.items() if each.is_due(now, self.settings.delivery)}
        for name in sorted(due, key=lambda each: (due[each].probe_at or now, each)):
            self._probe(name)  # one that hangs keeps those waiting that were asked after it
        while self._wake_some() == _AT_ONCE:
            pass

    def _probe(self, name: str) -> None:
        settings, now = self.settings.delivery, datetime.now(UTC)
        with self.database.begin() as connection:
            is_ours = circuits.claim_probe(connection, name, settings, now)
        if is_ours and self._is_back(name):
            with self.database.begin() as connection:
                self._let_one_try(connection, name)

    def _is_back(self, name: str) -> bool:
        """A destination that the configuration no longer has keeps nobody waiting: each of its
        deliveries is told so. One that answers, but not to a C-ECHO, may well store: the delivery
        on trial finds out."""
        try:
            destination = resolve(name, self.settings)
        except DeliveryRefusedError:
            return True
        try:
            self.stages.echo(destination, self.settings.scp.ae_title)
        except DestinationAwayError as error:
            log.info("a destination is still away: %s", error)
            return False
        except DeliveryError as error:
            log.info("a destination answers, but not to C-ECHO: %s", error)
        return True

    def _let_one_try(self, connection: Connection, name: str) -> None:
        first = parked.take_first(connection, name)
        if first is None:
            circuits.note_answer(connection, name)
            return
        circuits.set_trial(connection, name, first.delivery_id)
        self._go_on(connection, first)

    def _wake_some(self) -> int:
        patience = give_up_seconds(self.settings.delivery)
        with self.database.read() as connection:
            if not parked.is_any_ready(connection, patience):
                return 0
        with self.database.begin() as connection:
            ready = parked.take_ready(connection, patience, _AT_ONCE)
            for each in ready:
                self._go_on(connection, each)
        return len(ready)

    def _go_on(self, connection: Connection, waited: Parked) -> None:
        self.queue.enqueue_delivery(connection, Attempt(**vars(waited)))


@contextmanager
def again_and_again(name: str, chore: Callable[[], object], pause_seconds: float) -> Iterator[None]:
    """In a thread, inside of the block; a peer that is asked at its end is hardly waited for."""
    stop = threading.Event()

    def run() -> None:
        while not stop.wait(pause_seconds):
            try:
                chore()
            except Exception:  # the edge of the thread: a database that is away comes back
                log.exception("%s failed and is tried again", name)

    thread = threading.Thread(target=run, name=name, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(_GRACE_SECONDS)
