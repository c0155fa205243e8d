"""Which instances the node has for good: in the spool, whole, and in the index."""

from __future__ import annotations

import hashlib
import math
import os
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable
from pathlib import Path

from dicomnode.dicom.storage_commitment import (
    CLASS_CONFLICT,
    NO_SUCH_INSTANCE,
    PROCESSING_FAILURE,
    Reference,
    Report,
    Request,
    report_of,
)
from dicomnode.tracking.commitment_requests import CommitmentRequest
from dicomnode.tracking.database import Database
from dicomnode.tracking.instances import KnownFile, known_files
from dicomnode.tracking.spool import Spool, object_name

# Rows follow the files: an object that has just come may be without one for a moment.
_ROWS_FOLLOW_SECONDS = 10.0
_LOOK_AGAIN_SECONDS = 0.1
_TIMES_TELL_AFTER_SECONDS = 2.0


class Digests:
    """SHA-256 of files as they are on disk. One that was read within `seconds`, and neither written
    to nor replaced since (its inode and times tell), is not read again. Safe between threads."""

    def __init__(
        self,
        seconds: float = 3600.0,
        most: int = 100_000,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._seconds, self._most, self._clock = seconds, most, clock
        self._lock = threading.Lock()
        self._read: OrderedDict[tuple[int, ...], tuple[float, str]] = OrderedDict()

    def of(self, path: Path) -> str:
        """Raises `OSError`."""
        with path.open("rb") as file:
            state = os.fstat(file.fileno())
            key = (state.st_dev, state.st_ino, state.st_size, state.st_mtime_ns, state.st_ctime_ns)
            with self._lock:
                read_at, digest = self._read.get(key, (-math.inf, ""))
            if self._clock() - read_at < self._seconds:
                return digest
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        # What was written to just now may be written to again without a change of its times.
        if time.time() - state.st_ctime > _TIMES_TELL_AFTER_SECONDS:
            self._remember(key, digest)
        return digest

    def _remember(self, key: tuple[int, ...], digest: str) -> None:
        with self._lock:
            self._read[key] = self._clock(), digest
            self._read.move_to_end(key)
            if len(self._read) > self._most:
                self._read.popitem(last=False)


_DIGESTS = Digests()


def report_on(
    asked: CommitmentRequest,
    database: Database,
    spool: Spool,
    stopped: Callable[[], bool] = lambda: False,
) -> Report:
    """Instances are read, so committed are their bytes, not the memory of them; but a file that
    nobody has changed once in an hour at most, however often one asks."""
    references = tuple(Reference(*each) for each in asked.instances)
    known = _known(references, database, spool, stopped)
    reasons = {}
    for reference in references:
        reason = _reason(reference, known.get(reference.sop_instance_uid), spool)
        if reason is not None:
            reasons[reference] = reason
    return report_of(Request(asked.transaction_uid, references), reasons)


def _known(
    references: Iterable[Reference], database: Database, spool: Spool, stopped: Callable[[], bool]
) -> dict[str, KnownFile]:
    uids = [each.sop_instance_uid for each in references]
    deadline = time.monotonic() + _ROWS_FOLLOW_SECONDS
    while True:
        with database.read() as connection:
            known = dict(known_files(connection, uids))
        missing = [uid for uid in uids if uid not in known]
        is_on_its_way = any(spool.path(object_name(uid)).exists() for uid in missing)
        if not is_on_its_way or time.monotonic() > deadline or stopped():
            return known
        time.sleep(_LOOK_AGAIN_SECONDS)


def _reason(reference: Reference, known: KnownFile | None, spool: Spool) -> int | None:
    """Why it is not committed (PS3.4 J.3.3.1.3); None where it is."""
    if known is None:
        return NO_SUCH_INSTANCE
    if known.sop_class_uid != reference.sop_class_uid:
        return CLASS_CONFLICT
    try:
        digest = _DIGESTS.of(spool.path(known.name))
    except FileNotFoundError:
        return NO_SUCH_INSTANCE
    except OSError:
        return PROCESSING_FAILURE
    return None if digest == known.file_sha256 else PROCESSING_FAILURE
