"""A process that takes in objects: its database, its spool, and rows that follow the files."""

from __future__ import annotations

import logging
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager

from dicomnode.config import Settings
from dicomnode.dicom.file_format import read_claims, read_received
from dicomnode.intake.intake import Intake
from dicomnode.tracking import mounted
from dicomnode.tracking.associations import HEARTBEAT_STALE_SECONDS
from dicomnode.tracking.database import Database
from dicomnode.tracking.rebuild import Readers, reconcile, settle
from dicomnode.tracking.spool import Spool

LOGGER = logging.getLogger("dicomnode.intake")

READERS = Readers(read_received, read_claims)
_SETTLE_SECONDS = 5.0
_GRACE_SECONDS = 5.0


@contextmanager
def running_intake(settings: Settings) -> Iterator[Intake]:
    """An intake of this process alone; at the end it writes the rows of what it took in.

    Where it can't, the next look for missing rows does, by any process that takes in objects.
    Raises `DatabaseError` where the database can't be reached at the start, and `SpoolError` where
    the spool is not mounted.
    """
    database, spool = open_(settings)
    living: set[str] = set()
    intake = Intake(settings.scp, database, spool, new_receiver(living))
    intake.start()
    try:
        with keeping_rows(database, spool, living, is_receiver=False):
            yield intake
    finally:
        intake.stop()
        database.close()


def open_(settings: Settings) -> tuple[Database, Spool]:
    """The tables and folders are made where they are missing; raises as `mounted.prepare`."""
    database = Database(settings.database_url)
    database.migrate()
    spool = Spool(settings.spool_folder, settings.scp.minimum_free_bytes)
    mounted.prepare(database, spool)
    return database, spool


def new_receiver(living: set[str]) -> str:
    """The id of a receiving process, noted among those that live."""
    receiver_id = uuid.uuid4().hex
    living.add(receiver_id)
    return receiver_id


@contextmanager
def keeping_rows(
    database: Database, spool: Spool, living: set[str], *, is_receiver: bool
) -> Iterator[None]:
    """Meanwhile a thread adds the rows that a receiver lost when it died, or dropped.

    The receiver itself first looks through the whole spool, as for a new, empty database.
    """
    stop = threading.Event()
    arguments = (database, spool, living, stop, is_receiver)
    thread = threading.Thread(target=_keep_rows, args=arguments, name="rebuild", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(_GRACE_SECONDS)


def _keep_rows(
    database: Database, spool: Spool, living: set[str], stop: threading.Event, is_receiver: bool
) -> None:
    # Others don't know which receivers live: after an outage these get time for a heartbeat.
    after_failure_seconds = _SETTLE_SECONDS if is_receiver else HEARTBEAT_STALE_SECONDS
    look_through_all = is_receiver
    stop.wait(0.0 if is_receiver else after_failure_seconds)
    while not stop.is_set():
        began, pause_seconds = time.monotonic(), _SETTLE_SECONDS
        try:
            if look_through_all:
                reconcile(database, spool, READERS, stop.is_set)
                look_through_all = False
            settle(database, spool, READERS, living=living.copy(), stopped=stop.is_set)
        except Exception:
            LOGGER.exception("rows can't be rebuilt now")
            pause_seconds = after_failure_seconds
        # A long search that fails must not keep the disk busy all the time.
        stop.wait(max(pause_seconds, 5 * (time.monotonic() - began)))
