"""Jobs that are done leave the engine's tables: what they found stands in the tracking database."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from dbos import DBOSClient

# SQLite has one writer: who receives must not wait for long, and the next look takes the rest.
_AT_A_TIME, _TIMES = 200, 5


def clear_done(client: DBOSClient, keep_days: float, now: datetime | None = None) -> int:
    """Those that were queued `keep_days` ago or earlier, oldest first; how many went.

    What failed, was cancelled or set aside stays: a person may retry it.
    """
    until = (now or datetime.now(UTC)) - timedelta(days=keep_days)
    cleared = 0
    for _ in range(_TIMES):
        done = client.list_workflows(
            status="SUCCESS",
            end_time=until.isoformat(),
            limit=_AT_A_TIME,
            load_input=False,
            load_output=False,
        )
        client.delete_workflows([job.workflow_id for job in done])
        cleared += len(done)
        if len(done) < _AT_A_TIME:
            break
    return cleared
