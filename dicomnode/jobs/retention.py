"""The loop that makes room, beside the jobs and never in their way: `[retention]`.

Above the first watermark people are told, and what is done with goes, oldest first. The second one
is `scp.minimum_free_bytes`: nothing more is taken in then, and nothing goes that may not.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from datetime import UTC, datetime, timedelta

from dicomnode.config import Settings
from dicomnode.domain import RefusalCode, VerdictKind
from dicomnode.gate import asking
from dicomnode.gate.decision import waits_for_a_person
from dicomnode.gate.policy import Policy
from dicomnode.jobs import lanes
from dicomnode.jobs.lanes import JobQueue, Stage
from dicomnode.tracking import disk_alerts, mounted, retention
from dicomnode.tracking.database import Database
from dicomnode.tracking.findings import SeriesFinding, findings
from dicomnode.tracking.retention import Removable, Rules
from dicomnode.tracking.schema import series
from dicomnode.tracking.spool import Spool

log = logging.getLogger("dicomnode.retention")

_LONGEST_PAUSE_SECONDS = 900.0
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
    """One per working process; two of them do not get in each other's way. `settings` may change:
    each question is asked of those of its moment."""

    def __init__(self, settings: Settings, database: Database, spool: Spool) -> None:
        self.settings = settings
        self._database = database
        self._spool = spool
        self._clock = SteadyClock()
        self._look_seconds = 0.0
        self._is_migrated = False

    def run(self, stop: threading.Event) -> None:
        """Until `stop` is set; an error is logged, and the next round tries again."""
        while not stop.wait(self._pause_seconds()):
            try:
                self.round(stop)
            except Exception:  # the edge of the loop: a disk or database that is away comes back
                log.exception("a round of the retention failed")

    def _pause_seconds(self) -> float:
        """A look through a large database must not keep it busy all the time; what removing took
        doesn't count, since then there is need."""
        after_look = min(20 * self._look_seconds, _LONGEST_PAUSE_SECONDS)
        return max(self.settings.retention.poll_seconds, after_look)

    def round(self, stop: threading.Event | None = None) -> int:
        """Tell people, and remove what may go; returns of how many series."""
        self._look_seconds = 0.0
        self._alert()
        removed = 0
        if not self._wants_room():
            return 0
        mounted.require(self._database, self._spool)
        with closing(self._queue()) as queue:
            for one in self._candidates():
                if (stop is not None and stop.is_set()) or not self._wants_room():
                    break
                removed += not _has_job(queue, one) and self._remove(one)
        return removed

    def _queue(self) -> JobQueue:
        if not self._is_migrated:
            lanes.migrate(self._database)
            self._is_migrated = True
        return JobQueue(self._database)

    def _alert(self) -> None:
        used, free = self._spool.used_percent(), self._spool.free_bytes()
        limit = self.settings.retention.used_percent
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
        wanted = self.settings.retention
        is_filling = self._spool.used_percent() > wanted.used_percent
        return wanted.remove == "always" or (wanted.remove == "when_full" and is_filling)

    def _rules(self) -> Rules:
        wanted = self.settings.retention
        return Rules(
            before=self._clock.now() - timedelta(days=wanted.days),
            verdicts=tuple(
                each for each in wanted.needs_no_person if isinstance(each, VerdictKind)
            ),
            codes=tuple(each for each in wanted.needs_no_person if isinstance(each, RefusalCode)),
            persons=asking.review_filter(self.settings).persons,
            are_delivered=bool(self.settings.destinations)
            or self.settings.delivery.return_to_sender,
        )

    def _candidates(self) -> Iterator[Removable]:
        after = 0
        while True:
            began = time.monotonic()
            page, found = self._page(after)
            self._look_seconds += time.monotonic() - began
            if not page:
                return
            yield from found
            after = page[-1]

    def _page(self, after: int) -> tuple[Sequence[int], list[Removable]]:
        """Which series were looked at, and which of them nobody waits for."""
        with self._database.read() as connection:
            page = retention.page(connection, after)
            found = retention.removable(connection, self._rules(), page)
            known = findings(connection, series.c.id.in_([one.series_id for one in found]))
        policies = asking.policies(self.settings)
        awaited = {each.series_instance_uid for each in known if _is_awaited(each, policies)}
        return page, [one for one in found if one.series_instance_uid not in awaited]

    def _remove(self, one: Removable) -> bool:
        """A few files in each transaction, read before it, so that nobody waits for it."""
        wanted, total, count = self.settings.retention, 0, 1
        why = f"{wanted.days:g} days are over"
        if wanted.remove == "when_full":
            why = f"the disk was fuller than {wanted.used_percent:g} percent, and {why}"
        while count:
            with self._database.read() as connection:
                names = retention.next_files(connection, one)
            digests = {name: self._spool.digest(name) for name in names}
            with self._database.begin() as connection:
                count = retention.remove_some(
                    connection,
                    self._rules(),
                    one,
                    digests,
                    self._spool,
                    self.settings.results_folder,
                    why,
                    datetime.now(UTC),
                    is_first=not total,
                )
            total += count
        if total:
            detail = {"series": one.series_instance_uid, "instances": total}
            log.info("files removed by retention", extra=detail)
        return bool(total)


def _has_job(queue: JobQueue, one: Removable) -> bool:
    """Asked just before it goes: somebody may have wished for an examination since the look."""
    jobs = queue.client.list_workflows(
        workflow_id_prefix=f"{Stage.EXAMINE}:{one.series_instance_uid}:",
        status=list(_PENDING),
        limit=1,
        load_input=False,
        load_output=False,
    )
    return bool(jobs)


def _is_awaited(finding: SeriesFinding, policies: Iterable[Policy]) -> bool:
    """By a person, by what the policies say; or by whoever names more than is here."""
    asked = any(waits_for_a_person(finding, policy) for policy in policies)
    return asked or bool(finding.missing)


def start_removing(settings: Settings, database: Database, stop: threading.Event) -> Retention:
    """In a thread that ends with the process. Raises `SpoolError` as `mounted.prepare`."""
    spool = Spool(settings.spool_folder, settings.scp.minimum_free_bytes)
    mounted.prepare(database, spool)
    keeper = Retention(settings, database, spool)
    threading.Thread(target=keeper.run, args=(stop,), name="retention", daemon=True).start()
    return keeper
