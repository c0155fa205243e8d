"""Start and stop receiving: one process, or several (`children`); rows follow the spool."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from dicomnode.config import Settings
from dicomnode.dicom.file_format import (
    read_claims,
    read_received,
)
from dicomnode.scp.children import Supervisor
from dicomnode.scp.listener import listen
from dicomnode.scp.process import new_receiver, receive
from dicomnode.tracking.database import Database
from dicomnode.tracking.rebuild import Readers, reconcile, settle
from dicomnode.tracking.spool import Spool

LOGGER = logging.getLogger("dicomnode.scp")

_GRACE_SECONDS = 5.0
_SETTLE_SECONDS = 5.0


READERS = Readers(read_received, read_claims)


def _nothing() -> None:
    return


def serve(
    settings: Settings,
    *,
    ready: Callable[[], None],
    stop: threading.Event,
    prepare_child: Callable[[], None] = _nothing,
    alive: Callable[[], None] = _nothing,
) -> None:
    """Receive until `stop` is set; returns when open associations have ended or were aborted.

    `ready` is called once associations are accepted, and then `alive` again and again while every
    thread and process that receiving needs is at work. `prepare_child` runs first in each child
    process (logging); it must be importable by name. Raises `PortInUseError`, `DatabaseError`, and
    `DicomnodeError` when a thread died.
    """
    listener = listen(settings.scp.host, settings.scp.port)
    with listener:
        database, spool = _open(settings)
        spool.remove_abandoned()
        living: set[str] = set()
        rebuilding = threading.Thread(
            target=_rebuild, args=(database, spool, living, stop), name="rebuild", daemon=True
        )
        rebuilding.start()
        if settings.scp.processes == 1:
            receiver_id = new_receiver(living)
            receive(settings, listener, receiver_id, ready=ready, alive=alive, stop=stop)
        else:
            Supervisor(settings, listener, prepare_child, living).run(ready, alive, stop)
        rebuilding.join(_GRACE_SECONDS)
        database.close()


def _open(settings: Settings) -> tuple[Database, Spool]:
    database = Database(settings.database_url)
    database.migrate()
    spool = Spool(settings.spool_folder, settings.scp.minimum_free_bytes)
    spool.prepare()
    return database, spool


def _rebuild(database: Database, spool: Spool, living: set[str], stop: threading.Event) -> None:
    """At the start, and whenever a receiver died or lost rows, add the rows that are missing."""
    at_start = True
    while not stop.is_set():
        began = time.monotonic()
        try:
            if at_start:
                reconcile(database, spool, READERS, stop.is_set)
                at_start = False
            settle(database, spool, READERS, living=living.copy(), stopped=stop.is_set)
        except Exception:
            LOGGER.exception("rows can't be rebuilt now")
        # A long search that fails must not keep the disk busy all the time.
        stop.wait(max(_SETTLE_SECONDS, 5 * (time.monotonic() - began)))
