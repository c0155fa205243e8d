"""Jobs that failed although nothing is recorded of it: the database was away for longer than a step
is patient, or its disk was full as the end of a job was to be written.

What they were to do still waits, so they are begun again, as for a person who retries them. A look
is seldom, and takes each up once: one that fails every time keeps nothing busy.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from dbos import DBOSClient, WorkflowStatus

from dicomnode.jobs.attempts import attempt_order
from dicomnode.jobs.lanes import WORKFLOW_VERSION, Lane, Stage, share_of
from dicomnode.jobs.set_aside import is_under_way
from dicomnode.tracking import deliveries, parked, study_copies
from dicomnode.tracking.database import Database

if TYPE_CHECKING:
    from sqlalchemy import Connection

log = logging.getLogger("dicomnode.jobs")

LOOK_SECONDS = 600.0
_ACTIVE = ("ENQUEUED", "DELAYED", "PENDING")


class Stranded:
    """One per worker; it remembers which failed jobs need nothing."""

    def __init__(self, client: DBOSClient, database: Database) -> None:
        self._client = client
        self._database = database
        self._settled: set[str] = set()

    def look(self) -> int:
        """How many were begun again."""
        failed = self._client.list_workflows(status="ERROR", load_output=False)
        taken_up = 0
        for job in failed:
            if job.workflow_id in self._settled:
                continue
            if self._take_up(job):
                taken_up += 1
            else:
                self._settled.add(job.workflow_id)
        return taken_up

    def _take_up(self, job: WorkflowStatus) -> bool:
        with self._database.read() as connection:
            if not _waits(connection, job):
                return False
        if self._has_other(job):
            return False
        log.warning("a job whose end was not recorded begins again", extra={"job": job.workflow_id})
        begin_again(self._client, self._database, job.workflow_id)
        return True

    def _has_other(self, job: WorkflowStatus) -> bool:
        """Another job of the same subject goes on, or waits."""
        subject = ":".join(job.workflow_id.split(":")[:2]) + ":"
        others = self._client.list_workflows(
            workflow_id_prefix=subject,
            status=list(_ACTIVE),
            limit=1,
            load_input=False,
            load_output=False,
        )
        return bool(others)


def begin_again(client: DBOSClient, database: Database, job_id: str) -> None:
    """A job that has ended, in the lane of its stage, from its first step."""
    lane, share = Lane.GPU, None
    if job_id.startswith(f"{Stage.DELIVER}:"):
        with database.read() as connection:
            destination = deliveries.destination_of(connection, attempt_order(job_id)[0])
        lane, share = Lane.DELIVER, share_of(destination)
    client.rewind_workflow(
        job_id,
        application_version=WORKFLOW_VERSION,
        queue_name=lane.value,
        queue_partition_key=share,
    )


def _waits(connection: Connection, job: WorkflowStatus) -> bool:
    """Whether what the job is about waits for it."""
    if job.name == Stage.EXAMINE and job.input is not None:
        return is_under_way(connection, int(job.input["args"][0]))
    if job.name == Stage.DELIVER:
        key = attempt_order(job.workflow_id)[0]
        return deliveries.is_open(connection, key) and not parked.is_parked(connection, key)
    if job.name == Stage.DEFACE and job.input is not None:
        return study_copies.waits_for(connection, int(job.input["args"][0]), job.workflow_id)
    return False
