"""The loop that makes room, beside the jobs and never in their way: `[retention]`.

Above the first watermark people are told, and what is done with goes, oldest first. The second one
is `scp.minimum_free_bytes`: nothing more is taken in then, and nothing goes that may not.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from dicomnode.config import Settings
from dicomnode.domain import RefusalCode, VerdictKind
from dicomnode.gate import asking
from dicomnode.gate.decision import waits_for_a_person
from dicomnode.jobs import lanes
from dicomnode.jobs.lanes import JobQueue, Stage
from dicomnode.tracking import disk_alerts, mounted, retention
from dicomnode.tracking.database import Database
from dicomnode.tracking.findings import SeriesFinding, findings
from dicomnode.tracking.retention import Removable, Rules
from dicomnode.tracking.schema import series
from dicomnode.tracking.spool import Spool

log = logging.getLogger("dicomnode.retention")

# A failed examination has no verdict that counts, so it needs no mention.
_PENDING = ("ENQUEUED", "DELAYED", "PENDING", "MAX_RECOVERY_ATTEMPTS_EXCEEDED")


class SteadyClock:
    """Now, but never later than this process has lived since it began to look.

    A clock that jumps ahead makes nothing old. Until the process is started again, which a person
    does who set the clock.
    """

    def __init__(self) -> None:
        self._began, self._began_monotonic = datetime.now(UTC), time.monotonic()

    def now(self) -> datetime:
        lived = timedelta(seconds=time.monotonic() - self._began_monotonic)
        return min(datetime.now(UTC), self._began + lived)


class Retention:
    """One per working process; two of them do not get in each other's way."""

    def __init__(self, settings: Settings, database: Database, spool: Spool) -> None:
        self._settings = settings
        self._database = database
        self._spool = spool
        self._clock = SteadyClock()
        self._policies = asking.policies(settings)

    def run(self, stop: threading.Event) -> None:
        """Until `stop` is set; an error is logged, and the next round tries again."""
        pause_seconds = self._settings.retention.poll_seconds
        while not stop.wait(pause_seconds):
            began = time.monotonic()
            try:
                self.round(stop)
            except Exception:  # the edge of the loop: a disk or database that is away comes back
                log.exception("a round of the retention failed")
            # A look through a large database must not keep it busy all the time.
            took = time.monotonic() - began
            pause_seconds = max(self._settings.retention.poll_seconds, 20 * took)

    def round(self, stop: threading.Event | None = None) -> int:
        """Tell people, and remove what may go; returns of how many series."""
        self._alert()
        removed = 0
        if not self._wants_room():
            return 0
        for one in self._candidates():
            if (stop is not None and stop.is_set()) or not self._wants_room():
                break
            removed += self._remove(one)
        return removed

    def _alert(self) -> None:
        used, free = self._spool.used_percent(), self._spool.free_bytes()
        limit = self._settings.retention.used_percent
        detail = {"used_percent": round(used, 1), "limit_percent": limit, "free_bytes": free}
        with self._database.begin() as connection:
            is_new = disk_alerts.note(
                connection, is_filling=used > limit, detail=detail, now=datetime.now(UTC)
            )
        if is_new and used > limit:
            log.warning("the disk fills", extra=detail)
        elif is_new:
            log.info("the disk has room again", extra=detail)

    def _wants_room(self) -> bool:
        wanted = self._settings.retention
        is_filling = self._spool.used_percent() > wanted.used_percent
        return wanted.remove == "always" or (wanted.remove == "when_full" and is_filling)

    def _rules(self) -> Rules:
        wanted = self._settings.retention
        return Rules(
            before=self._clock.now() - timedelta(days=wanted.days),
            verdicts=tuple(
                each for each in wanted.needs_no_person if isinstance(each, VerdictKind)
            ),
            codes=tuple(each for each in wanted.needs_no_person if isinstance(each, RefusalCode)),
            persons=asking.review_filter(self._settings).persons,
            are_delivered=bool(self._settings.destinations)
            or self._settings.delivery.return_to_sender,
        )

    def _candidates(self) -> Iterator[Removable]:
        after = 0
        while True:
            with self._database.read() as connection:
                page = retention.page(connection, after)
                found = retention.removable(connection, self._rules(), page)
                ids = [one.series_id for one in found]
                known = findings(connection, series.c.id.in_(ids))
            if not page:
                return
            awaited = {each.series_instance_uid for each in known if self._is_awaited(each)}
            awaited |= self._with_jobs() if found else set()
            yield from (one for one in found if one.series_instance_uid not in awaited)
            after = page[-1]

    def _is_awaited(self, finding: SeriesFinding) -> bool:
        """By a person, by what the policies say; or by whoever names more than is here."""
        asked = any(waits_for_a_person(finding, policy) for policy in self._policies)
        return asked or bool(finding.missing)

    def _with_jobs(self) -> set[str]:
        lanes.migrate(self._database)
        queue = JobQueue(self._database)
        try:
            found = queue.client.list_workflows(
                name=Stage.EXAMINE.value,
                status=list(_PENDING),
                load_input=False,
                load_output=False,
            )
        finally:
            queue.close()
        return {job.workflow_id.split(":")[1] for job in found}

    def _remove(self, one: Removable) -> bool:
        """A few files in each transaction, so that nobody waits for it."""
        wanted, total, count = self._settings.retention, 0, 1
        why = f"{wanted.days:g} days are over"
        if wanted.remove == "when_full":
            why = f"the disk was fuller than {wanted.used_percent:g} percent, and {why}"
        while count:
            with self._database.begin() as connection:
                count = retention.remove_some(
                    connection,
                    self._rules(),
                    one,
                    self._spool,
                    self._settings.results_folder,
                    why,
                    datetime.now(UTC),
                    is_first=not total,
                )
            total += count
        if total:
            detail = {"series": one.series_instance_uid, "instances": total}
            log.info("files removed by retention", extra=detail)
        return bool(total)


def start_removing(settings: Settings, database: Database, stop: threading.Event) -> None:
    """In a thread that ends with the process. Raises `SpoolError` as `mounted.prepare`."""
    spool = Spool(settings.spool_folder, settings.scp.minimum_free_bytes)
    mounted.prepare(database, spool)
    keeper = Retention(settings, database, spool)
    threading.Thread(target=keeper.run, args=(stop,), name="retention", daemon=True).start()
