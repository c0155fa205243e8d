"""The working process: finds complete series, runs the lanes, takes over from the dead."""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack

from dicomnode.config import Settings
from dicomnode.gate.asking import mark_kinds
from dicomnode.jobs import lanes
from dicomnode.jobs.automatic_copies import AutomaticCopies
from dicomnode.jobs.commitment_reports import CommitmentReports
from dicomnode.jobs.copying import enqueue_asked
from dicomnode.jobs.delays import Delays
from dicomnode.jobs.done import clear_done
from dicomnode.jobs.forget import discard_left
from dicomnode.jobs.lanes import JobQueue
from dicomnode.jobs.liveness import Liveness, liveness, new_executor_id
from dicomnode.jobs.peers import Peers, again_and_again
from dicomnode.jobs.questions import CountAtSender, asking
from dicomnode.jobs.recovery import recover_the_dead
from dicomnode.jobs.retention import start_removing
from dicomnode.jobs.set_aside import record_set_aside
from dicomnode.jobs.stranded import LOOK_SECONDS, Stranded
from dicomnode.jobs.watch import Watch
from dicomnode.jobs.workflows import Stages, Workflows
from dicomnode.meters import Meters
from dicomnode.reloading import Reload, never
from dicomnode.tracking.database import Database
from dicomnode.tracking.pulses import Pulse
from dicomnode.tracking.spool import Spool

log = logging.getLogger("dicomnode.jobs")

RECOVERY_SECONDS = 2.0


def work(
    settings: Settings,
    database: Database,
    stages: Stages,
    *,
    ready: Callable[[], None],
    stop: threading.Event,
    alive: Callable[[], None] = lambda: None,
    count_at_sender: Callable[[Settings], CountAtSender | None] = lambda _: None,
    reload: Reload = never,
    meters: Meters | None = None,
) -> None:
    """Run until `stop` is set; `alive` is called in every round, for a watchdog.

    `count_at_sender` makes what asks the PACS that sent a study how many instances its series
    have. `reload` brings new settings, for what begins from then on.

    A job that does not end in time goes on in its thread, and is taken up again by the next
    worker. So the process should end with `os._exit`: Python would wait for that thread.
    """
    database.migrate()
    lanes.migrate(database)
    keeper = start_removing(settings, database, stop)
    executor_id = new_executor_id()
    spool = Spool(settings.spool_folder, settings.scp.minimum_free_bytes)
    queue = JobQueue(database)
    lock = liveness(database, settings.node.data_folder / "executors", executor_id)
    lock.hold()
    once = lanes.configure(database, executor_id)
    workflows = Workflows(settings, database, spool, queue, once, stages)
    workflows.register()
    peers = Peers(settings, database, queue, stages)
    reports = CommitmentReports(settings, database, spool)
    pulse = Pulse(settings.pulses_folder, "work", meters or Meters())
    try:
        with (
            ExitStack() as questions,
            lanes.running(settings),
            again_and_again("peers", peers.look, settings.jobs.poll_seconds),
            again_and_again("commitment", reports.send_due, settings.jobs.poll_seconds),
        ):

            def watch(now: Settings) -> Watch:
                asked = asking(database, now.completeness, count_at_sender(now))
                return Watch(now, database, spool, queue, questions.enter_context(asked))

            def use(now: Settings) -> None:
                questions.close()
                workflows.settings = peers.settings = reports.settings = keeper.settings = now
                rounds.watch = watch(now)
                rounds.guarded(lambda: lanes.share_slots(settings.jobs, now))

            log.info("working", extra={"executor": executor_id})
            rounds = _Rounds(watch(settings), lock)
            rounds.recover()
            ready()
            while not stop.wait(rounds.watch.settings.completeness.poll_seconds):
                reload(use)
                rounds.run()
                alive()
                pulse.beat()
    finally:
        queue.close()
    pulse.stop()
    if workflows.is_busy:
        log.warning("stopped with a job running; the next worker takes it up again")
        return  # and the lock stays until the process ends
    lock.release()


class _Rounds:
    """What the working process does again and again besides its jobs."""

    def __init__(self, watch: Watch, lock: Liveness) -> None:
        self.watch = watch
        self._lock = lock
        self._recovered_at = time.monotonic()
        self._delays = Delays(watch.queue.client)
        self._stranded = Stranded(watch.queue.client, watch.database)
        self._looked_at = -math.inf
        self._copies = AutomaticCopies(watch.database)

    def run(self) -> None:
        """One round; an error in it is logged, and the next round tries again."""
        self.guarded(self.watch.enqueue_complete_series)
        self.guarded(lambda: self._copies.look(self.watch.settings))
        self.guarded(lambda: enqueue_asked(self.watch.database, self.watch.queue))
        self.guarded(lambda: mark_kinds(self.watch.database, self.watch.settings))
        if time.monotonic() - self._recovered_at >= RECOVERY_SECONDS:
            self.guarded(self.recover)
        if time.monotonic() - self._looked_at >= LOOK_SECONDS:
            self._looked_at = time.monotonic()
            self.guarded(self._stranded.look)
            self.guarded(lambda: discard_left(self.watch.settings, self.watch.database))
            keep_days = self.watch.settings.jobs.keep_done_days
            self.guarded(lambda: clear_done(self.watch.queue.client, keep_days))

    def guarded(self, chore: Callable[[], object]) -> None:
        try:
            chore()
        except Exception:  # the edge of the loop: a database that is away comes back
            log.exception("a round of the worker failed")

    def recover(self) -> None:
        self._lock.hold()
        recover_the_dead(self._lock)
        self._delays.look(self.watch.settings.delivery)
        record_set_aside(self.watch.queue.client, self.watch.database)
        self._recovered_at = time.monotonic()
