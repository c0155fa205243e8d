"""A job as people see it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from dicomnode.jobs.lanes import Stage


class JobState(StrEnum):
    """Where a job stands, in words for people."""

    WAITING = "waiting"
    RUNNING = "running"
    WAITING_TO_RETRY = "waiting to try again"
    WAITING_FOR_PEER = "waiting for its destination"
    DONE = "done"
    FAILED = "failed"
    SET_ASIDE = "set aside"
    CANCELLED = "cancelled"


@dataclass(frozen=True)
class Job:
    """One examination, one copy without faces, or one delivery with all its attempts."""

    id: str
    stage: Stage
    subject: str
    state: JobState
    attempts: int
    created_at: datetime
    next_attempt_at: datetime | None = None
    error: str = ""
