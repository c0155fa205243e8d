"""Which instances the node has for good: in the spool, whole, and in the index."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterable

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


def report_on(
    asked: CommitmentRequest,
    database: Database,
    spool: Spool,
    stopped: Callable[[], bool] = lambda: False,
) -> Report:
    """Every instance is read anew, so committed are its bytes, not the memory of them."""
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
        with spool.path(known.name).open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError:
        return NO_SUCH_INSTANCE
    except OSError:
        return PROCESSING_FAILURE
    return None if digest == known.file_sha256 else PROCESSING_FAILURE
