"""Poison: jobs that took their worker down so often that the engine starts them no more.

Without this they would stand as "being examined" and "pending" for ever.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from dbos import DBOSClient, WorkflowStatus

from dicomnode.domain import CopyState
from dicomnode.jobs.lanes import Stage
from dicomnode.tracking import deliveries, examinations, study_copies
from dicomnode.tracking.database import Database
from dicomnode.tracking.findings import SeriesState, findings
from dicomnode.tracking.schema import revisions

if TYPE_CHECKING:
    from sqlalchemy import Connection

log = logging.getLogger("dicomnode.jobs")

SET_ASIDE = "MAX_RECOVERY_ATTEMPTS_EXCEEDED"
_UNDER_WAY = (SeriesState.WAITING, SeriesState.EXAMINING)


def set_aside_sentence(status: WorkflowStatus) -> str:
    """What people read of a job that the engine doesn't start any more."""
    starts = (status.recovery_attempts or 1) - 1  # the last one was counted and not made
    return (
        f"set aside: its worker died {starts} times while it ran; look into the log for the "
        "reason, then retry the job"
    )


def record_set_aside(client: DBOSClient, database: Database) -> None:
    """Say in the tracking database what the engine has given up; repeating it changes nothing."""
    for status in client.list_workflows(status=SET_ASIDE, load_output=False):
        assert status.input is not None
        key, sentence = int(status.input["args"][0]), set_aside_sentence(status)
        if status.name == Stage.EXAMINE:
            recorded = record_not_examined(database, key, sentence)
        elif status.name == Stage.DEFACE:
            recorded = _copy(database, key, status.workflow_id, sentence)
        else:
            recorded = _delivery(database, key, sentence)
        if recorded:
            log.error("job set aside", extra={"job": status.workflow_id})


def record_not_examined(database: Database, revision_id: int, sentence: str) -> bool:
    """Say why a series that waits for its examination gets none; what was examined stays.

    Asked again and again of what stays set aside, so nobody who writes has to wait for the answer.
    """
    with database.read() as connection:
        if not is_under_way(connection, revision_id):
            return False
    with database.begin() as connection:
        under_way = is_under_way(connection, revision_id)
        if under_way:
            examinations.record_failure(connection, revision_id, sentence)
    return under_way


def is_under_way(connection: Connection, revision_id: int) -> bool:
    """Whether the series still waits for the examination of this revision."""
    found = findings(connection, revisions.c.id == revision_id)
    return any(finding.state in _UNDER_WAY for finding in found)


def _copy(database: Database, copy_id: int, job_id: str, sentence: str) -> bool:
    with database.read() as connection:
        if not study_copies.waits_for(connection, copy_id, job_id):
            return False
    with database.begin() as connection:
        return study_copies.set_state(connection, copy_id, CopyState.FAILED, sentence=sentence)


def _delivery(database: Database, delivery_id: int, sentence: str) -> bool:
    with database.read() as connection:
        if not deliveries.is_open(connection, delivery_id):
            return False
    with database.begin() as connection:
        return deliveries.mark_refused(connection, delivery_id, sentence)
