"""Jobs that wait to be tried again, after the clock was set back: the engine tells the end of a
pause by the clock, and would let them wait for as long as it was set back."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable

from dbos import DBOSClient

from dicomnode.config import DeliverySettings
from dicomnode.jobs.attempts import LONGEST_SHARE
from dicomnode.jobs.lanes import LONGEST_PAUSE_SECONDS

log = logging.getLogger("dicomnode.jobs")

# Hosts whose clocks differ by less are no clock that was set back.
_TOLERANCE_SECONDS = 60.0


class Delays:
    """Looks once as the process starts, since nobody knows what was before, and then whenever the
    clock was set back."""

    def __init__(
        self,
        client: DBOSClient,
        now: Callable[[], float] = time.time,
        steady: Callable[[], float] = time.monotonic,
    ) -> None:
        self._client, self._now, self._steady = client, now, steady
        self._ahead = math.inf  # of the steady clock

    def look(self, settings: DeliverySettings) -> None:
        ahead = self._now() - self._steady()
        if ahead < self._ahead - _TOLERANCE_SECONDS:
            self._end_impossible(settings)
        self._ahead = ahead

    def _end_impossible(self, settings: DeliverySettings) -> None:
        """Let go whoever would wait for longer than any pause is."""
        longest = max(LONGEST_PAUSE_SECONDS, settings.longest_retry_seconds * LONGEST_SHARE)
        latest_ms = (self._now() + longest + _TOLERANCE_SECONDS) * 1000
        waiting = self._client.list_workflows(status="DELAYED", load_input=False, load_output=False)
        beyond = [job for job in waiting if (job.delay_until_epoch_ms or 0) > latest_ms]
        for job in beyond:
            self._client.set_workflow_delay(job.workflow_id, delay_until_epoch_ms=0)
        if beyond:
            log.warning("the clock was set back: jobs go on at once", extra={"jobs": len(beyond)})
