"""Rows for files of the spool that have none: after a crash, or for a new, empty database."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy.exc import SQLAlchemyError

from dicomnode.domain import InstanceHeader, StoredInstance
from dicomnode.errors import SpoolError, UnreadableObjectError
from dicomnode.tracking import associations, instances, quarantine
from dicomnode.tracking.database import Database
from dicomnode.tracking.quarantine import QuarantinedObject
from dicomnode.tracking.spool import Spool

LOGGER = logging.getLogger("dicomnode.tracking")
_BATCH = 200


@dataclass(frozen=True)
class Readers:
    """`received` makes the index record of a file, `claims` finds what a damaged one says."""

    received: Callable[[str, Path], StoredInstance]
    claims: Callable[[Path], InstanceHeader]


def settle(
    database: Database,
    spool: Spool,
    read: Readers,
    *,
    living: Collection[str] = (),
    stopped: Callable[[], bool] = lambda: False,
) -> int:
    """Reconcile for the associations that have ended and may lack rows; returns how many.

    Cheap where there are none. `living` are the receivers that are at work, whatever their
    heartbeat looks like.
    """
    now = datetime.now(UTC)
    with database.read() as connection:
        ended = associations.ended_unsettled(connection, now, living)
    if not ended:
        return 0
    with database.begin() as connection:
        associations.close_lost(connection, now, living)
    # After their ends are on record: whatever they sent is in the spool by now.
    reconcile(database, spool, read, stopped)
    if stopped():
        return 0
    with database.begin() as connection:
        associations.settle(connection, ended)
    return len(ended)


def reconcile(
    database: Database,
    spool: Spool,
    read: Readers,
    stopped: Callable[[], bool] = lambda: False,
) -> int:
    """Add what is missing, folder by folder, while the receiver is at work; returns how many.

    A file that can't be read is left where it is, named in the log and in the quarantine's rows:
    it was confirmed to its sender, so it is never thrown away. Raises `SpoolError` at the end where
    the disk refused to read some, which is worth another try.
    """
    added, unread = 0, 0
    for names in spool.names():
        if stopped():
            return added
        with database.read() as connection:
            missing = instances.missing(connection, names)
        for start in range(0, len(missing), _BATCH):
            found = _Found(spool, read)
            found.read_all(missing[start : start + _BATCH])
            added += _write(database, spool, read, found)
            unread += found.unread
    _add_quarantined(database, spool, read)
    if added:
        LOGGER.info("rows rebuilt from the spool", extra={"instances": added})
    if unread:
        raise SpoolError(f"{unread} files of the spool could not be read from the disk")
    return added


class _Found:
    """What a few files of the spool hold."""

    def __init__(self, spool: Spool, read: Readers) -> None:
        self._spool = spool
        self._read = read
        self.instances: list[StoredInstance] = []
        self.damaged: list[QuarantinedObject] = []
        self.unread = 0

    def read_all(self, names: list[str]) -> None:
        for name in names:
            try:
                self._read_one(name)
            except FileNotFoundError:  # retention was quicker
                continue
            except OSError as error:
                LOGGER.error(
                    "a spool file can't be read", extra={"file": name, "error": str(error)}
                )
                self.unread += 1

    def _read_one(self, name: str) -> None:
        path = self._spool.path(name)
        try:
            self.instances.append(self._read.received(name, path))
        except UnreadableObjectError as error:
            LOGGER.error("a spool file can't be read", extra={"file": name, "error": str(error)})
            self.damaged.append(_damaged(name, path, self._read, str(error)))


def _write(database: Database, spool: Spool, read: Readers, found: _Found) -> int:
    try:
        return _write_rows(database, found.instances, found.damaged)
    except SQLAlchemyError:
        LOGGER.exception("rows were refused by the database: one by one now")
    added = _write_rows(database, [], found.damaged)
    for instance in found.instances:
        try:
            added += _write_rows(database, [instance], [])
        except SQLAlchemyError as error:
            why = f"its row was refused by the database: {type(error).__name__}"
            LOGGER.error("a spool file gets no row", extra={"file": instance.name, "error": why})
            path = spool.path(instance.name)
            _write_rows(database, [], [_damaged(instance.name, path, read, why)])
    return added


def _write_rows(
    database: Database, found: list[StoredInstance], damaged: list[QuarantinedObject]
) -> int:
    with database.begin() as connection:
        quarantine.add(connection, damaged)
        return instances.add(connection, found)


def _add_quarantined(database: Database, spool: Spool, read: Readers) -> None:
    with database.read() as connection:
        missing = quarantine.missing(connection, list(spool.quarantined_names()))
    if not missing:
        return
    with database.begin() as connection:
        quarantine.add(connection, [_quarantined(spool, read, name) for name in missing])


def _damaged(name: str, path: Path, read: Readers, why: str) -> QuarantinedObject:
    row_name = f"objects/{name}"
    return _object(row_name, quarantine.DAMAGED, f"confirmed, but unusable: {why}", path, read)


def _quarantined(spool: Spool, read: Readers, name: str) -> QuarantinedObject:
    sentence = "found in the quarantine folder after the database was lost"
    path = spool.quarantine_path(name)
    return _object(name, name.partition("/")[0], sentence, path, read)


def _object(name: str, reason: str, sentence: str, path: Path, read: Readers) -> QuarantinedObject:
    state, claims = path.stat(), read.claims(path)
    return QuarantinedObject(
        at=datetime.fromtimestamp(state.st_mtime, UTC),
        name=name,
        reason=reason,
        sentence=sentence,
        size_bytes=state.st_size,
        sop_instance_uid=claims.sop_instance_uid,
        series_instance_uid=claims.series_instance_uid,
        study_instance_uid=claims.study_instance_uid,
        modality=claims.modality,
    )
