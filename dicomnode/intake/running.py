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
from dicomnode.tracking.database import Database
from dicomnode.tracking.rebuild import Readers, reconcile, settle
from dicomnode.tracking.spool import Spool

LOGGER = logging.getLogger("dicomnode.intake")

READERS = Readers(read_received, read_claims)
_SETTLE_SECONDS = 5.0
_GRACE_SECONDS = 5.0


@contextmanager
def running_intake(settings: Settings) -> Iterator[Intake]:
    """An intake of this process alone; at the end what it took in has its rows, if it can be.

    Raises `DatabaseError` where the database can't be reached at the start.
    """
    database, spool = open_(settings)
    living: set[str] = set()
    intake = Intake(settings.scp, database, spool, new_receiver(living))
    intake.start()
    try:
        with keeping_rows(database, spool, living, from_the_start=False):
            yield intake
    finally:
        intake.stop()
        database.close()


def open_(settings: Settings) -> tuple[Database, Spool]:
    """The tables and folders are made where they are missing."""
    database = Database(settings.database_url)
    database.migrate()
    spool = Spool(settings.spool_folder, settings.scp.minimum_free_bytes)
    spool.prepare()
    return database, spool


def new_receiver(living: set[str]) -> str:
    """The id of a receiving process, noted among those that live."""
    receiver_id = uuid.uuid4().hex
    living.add(receiver_id)
    return receiver_id


@contextmanager
def keeping_rows(
    database: Database, spool: Spool, living: set[str], *, from_the_start: bool
) -> Iterator[None]:
    """Meanwhile a thread adds the rows that a receiver lost when it died, or dropped.

    `from_the_start` it looks through the whole spool once, as for a new, empty database.
    """
    stop = threading.Event()
    arguments = (database, spool, living, stop, from_the_start)
    thread = threading.Thread(target=_keep_rows, args=arguments, name="rebuild", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(_GRACE_SECONDS)


def _keep_rows(
    database: Database,
    spool: Spool,
    living: set[str],
    stop: threading.Event,
    from_the_start: bool,
) -> None:
    while not stop.is_set():
        began = time.monotonic()
        try:
            if from_the_start:
                reconcile(database, spool, READERS, stop.is_set)
                from_the_start = False
            settle(database, spool, READERS, living=living.copy(), stopped=stop.is_set)
        except Exception:
            LOGGER.exception("rows can't be rebuilt now")
        # A long search that fails must not keep the disk busy all the time.
        stop.wait(max(_SETTLE_SECONDS, 5 * (time.monotonic() - began)))
