"""Rows for files of the spool that have none: after a crash, or for a new, empty database."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from dicomnode.domain import StoredInstance
from dicomnode.errors import UnreadableObjectError
from dicomnode.tracking import instances, quarantine
from dicomnode.tracking.database import Database
from dicomnode.tracking.quarantine import QuarantinedObject
from dicomnode.tracking.spool import Spool

LOGGER = logging.getLogger("dicomnode.tracking")
ReadReceived = Callable[[str, Path], StoredInstance]
_BATCH = 200


def reconcile(
    database: Database,
    spool: Spool,
    read: ReadReceived,
    stopped: Callable[[], bool] = lambda: False,
) -> int:
    """Add what is missing, folder by folder, while the receiver is at work; returns how many.

    `read` makes the index record of a file. A file that it can't read is left where it is and
    named in the log: it was confirmed to its sender, so it is never thrown away.
    """
    added = 0
    for names in spool.names():
        if stopped():
            return added
        with database.read() as connection:
            missing = instances.missing(connection, names)
        for start in range(0, len(missing), _BATCH):
            added += _add(database, spool, read, missing[start : start + _BATCH])
    _add_quarantined(database, spool)
    if added:
        LOGGER.info("rows rebuilt from the spool", extra={"instances": added})
    return added


def _add(database: Database, spool: Spool, read: ReadReceived, names: list[str]) -> int:
    found: list[StoredInstance] = []
    for name in names:
        try:
            found.append(read(name, spool.path(name)))
        except (UnreadableObjectError, OSError) as error:
            LOGGER.error("a spool file can't be read", extra={"file": name, "error": str(error)})
    with database.begin() as connection:
        return instances.add(connection, found)


def _add_quarantined(database: Database, spool: Spool) -> None:
    with database.read() as connection:
        missing = quarantine.missing(connection, list(spool.quarantined_names()))
    if not missing:
        return
    with database.begin() as connection:
        quarantine.add(connection, [_quarantined(spool, name) for name in missing])


def _quarantined(spool: Spool, name: str) -> QuarantinedObject:
    state = spool.quarantine_path(name).stat()
    return QuarantinedObject(
        at=datetime.fromtimestamp(state.st_mtime, UTC),
        name=name,
        reason=name.partition("/")[0],
        sentence="found in the quarantine folder after the database was lost",
        size_bytes=state.st_size,
    )
