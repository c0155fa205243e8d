"""The one private call into the engine: start again what a dead executor left running.

Guarded by tests/contract/test_engine.py; the engine offers this call only to its paid service.
"""

from __future__ import annotations

import logging

from dbos import DBOS

from dicomnode.jobs.liveness import Liveness

log = logging.getLogger("dicomnode.jobs")


def recover_the_dead(liveness: Liveness) -> int:
    """Put the running jobs of every dead executor back into their lanes; how many there were."""
    running = DBOS.list_workflows(status="PENDING", load_input=False, load_output=False)
    executors = {job.executor_id for job in running if job.executor_id}
    recovered = 0
    for executor_id in sorted(filter(liveness.is_dead, executors)):
        jobs = DBOS._recover_pending_workflows([executor_id])
        liveness.forget(executor_id)
        recovered += len(jobs)
        log.warning("jobs of a dead worker", extra={"executor": executor_id, "jobs": len(jobs)})
    return recovered
