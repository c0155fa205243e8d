"""Sends the audit log to the site's collector, in order, beside everything else."""

from __future__ import annotations

import logging
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from dicomnode.audit_trail.codes import APPLICATION_STARTED, APPLICATION_STOPPED
from dicomnode.audit_trail.message import audit_message
from dicomnode.audit_trail.syslog import frame, send
from dicomnode.config import Settings
from dicomnode.errors import NoticeError
from dicomnode.tracking import audit, audit_cursor
from dicomnode.tracking.database import Database

log = logging.getLogger("dicomnode.audit_trail")

BATCH = 200


class Forwarder:
    """None is lost while the collector is away: the rows stay, and so does the place.

    A batch of which it isn't known that it arrived is sent again, so a collector may get an event
    twice; its number is in it. `settings` may change.
    """

    def __init__(self, settings: Settings, database: Database) -> None:
        self.settings = settings
        self._database = database
        self._host = socket.gethostname() or "-"

    def run(self, stop: threading.Event) -> None:
        """Until `stop` is set; an error is logged, and the next round tries again."""
        while not stop.is_set():
            try:
                while self.forward() == BATCH and not stop.is_set():
                    """There may be more."""
            except NoticeError as error:
                log.warning("audit messages wait", extra={"why": str(error)})
            except Exception:  # the edge of the loop: a database that is away comes back
                log.exception("a round of the audit messages failed")
            stop.wait(self.settings.audit_messages.poll_seconds)

    def forward(self) -> int:
        """Send the next batch and write down that it was sent; how many there were."""
        with self._database.read() as connection:
            events = audit_cursor.unsent(connection, BATCH)
        if not events:
            return 0
        wanted, node = self.settings.audit_messages, self.settings.scp.ae_title
        frames = [
            frame(event.at, self._host, audit_message(event, node, wanted.site, self._host))
            for event in events
        ]
        send(wanted, frames)
        with self._database.begin() as connection:
            audit_cursor.mark_sent(connection, events[-1].number)
        return len(events)


@contextmanager
def forwarding(settings: Settings, database: Database) -> Iterator[Forwarder]:
    """In a thread, with the start and the stop of the application as events; or nothing at all."""
    forwarder, stop = Forwarder(settings, database), threading.Event()
    if not settings.audit_messages.host:
        yield forwarder
        return
    _note(settings, database, APPLICATION_STARTED)
    thread = threading.Thread(target=forwarder.run, args=(stop,), name="audit", daemon=True)
    thread.start()
    try:
        yield forwarder
    finally:
        stop.set()
        _note(settings, database, APPLICATION_STOPPED)
        thread.join(settings.audit_messages.timeout_seconds)
        try:
            forwarder.forward()
        except NoticeError as error:
            log.warning("audit messages wait", extra={"why": str(error)})


def _note(settings: Settings, database: Database, event: str) -> None:
    with database.begin() as connection:
        audit.append(connection, event, settings.scp.ae_title)
