"""Images over devices: one process for each device, fed by one thread for each process.

A process that dies (killed for memory, a crash in a driver) costs the image that it had, and is
started again; after `DEATHS` in a row its device is given up. Processes are spawned, since CUDA
can't be forked.
"""

from __future__ import annotations

import os
import queue
import signal
import threading
from collections.abc import Callable, Generator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from multiprocessing.connection import Connection

from dicomnode.config import InferenceSettings
from dicomnode.errors import ModelError
from dicomnode.inference.assessment import Segmenter
from dicomnode.inference.models import Model
from dicomnode.inference.nnunet import device_name, load_networks
from dicomnode.masks.find import Item
from dicomnode.masks.make import Job, Outcome, make

DEATHS = 3
SECONDS_TO_END = 10.0
_GIVEN_UP = "no process was left to make it: those on every device died again and again"


@dataclass(frozen=True)
class Device:
    """`load` is called in the process of the device, and has to be picklable for that."""

    name: str
    load: Callable[[], Sequence[Segmenter]]


class Worker:
    """A process with the networks loaded on one device."""

    def __init__(self, device: Device, job: Job) -> None:
        self._setup = (device, job)
        self.device = device.name
        self._lock = threading.Lock()
        self._stopped = False
        self._start()

    def _start(self) -> None:
        context = get_context("spawn")
        self._connection, theirs = context.Pipe()
        self._process = context.Process(
            target=_serve, args=(theirs, *self._setup), name=f"masks {self.device}", daemon=True
        )
        self._process.start()
        theirs.close()

    def wait_until_ready(self) -> None:
        """Raises `ModelError` where the networks can't be loaded on its device."""
        try:
            problem = self._connection.recv()
        except (EOFError, OSError):
            problem = f"the process on {self.device} ended while it loaded the networks"
        if problem is not None:
            raise ModelError(str(problem))

    def do(self, item: Item) -> Outcome | None:
        """None where the process died."""
        try:
            self._connection.send(item)
            outcome: Outcome = self._connection.recv()
        except (EOFError, OSError):
            return None
        return outcome

    def finish(self) -> None:
        """Lets an idle process end in its own time, so that it gives back what it holds."""
        with suppress(OSError):
            self._connection.send(None)
        self._process.join(SECONDS_TO_END)

    def restart(self) -> None:
        """Raises `ModelError`, also where it was told to stop meanwhile."""
        with self._lock:
            if self._stopped:
                raise ModelError(f"the process on {self.device} was stopped")
            self._end()
            self._start()
        self.wait_until_ready()

    def stop(self) -> None:
        """At once: masks are written beside their place, so nothing half-made is left."""
        with self._lock:
            self._stopped = True
            self._end()

    def _end(self) -> None:
        self._process.terminate()  # first, so that whoever waits for an answer gets an end of file
        self._process.join()
        self._connection.close()


def run(
    items: Sequence[Item], devices: Sequence[Device], job: Job
) -> Generator[Outcome, None, None]:
    """Outcomes as they come, in any order, one for each item.

    Raises `ModelError` where the networks can't be loaded. Closing the iterator ends the processes.
    """
    waiting: queue.SimpleQueue[Item] = queue.SimpleQueue()
    done: queue.SimpleQueue[Outcome | None] = queue.SimpleQueue()  # None: a feeder ended
    for item in items:
        waiting.put(item)
    workers = [Worker(device, job) for device in devices]
    try:
        for worker in workers:
            worker.wait_until_ready()
        for worker in workers:
            threading.Thread(target=_feed, args=(worker, waiting, done), daemon=True).start()
        running = len(workers)
        while running:
            outcome = done.get()
            if outcome is None:
                running -= 1
            else:
                yield outcome
        while not waiting.empty():
            yield Outcome(waiting.get().key, "failed", reasons=(_GIVEN_UP,))
    finally:
        for worker in workers:
            worker.stop()


def _feed(
    worker: Worker,
    waiting: queue.SimpleQueue[Item],
    done: queue.SimpleQueue[Outcome | None],
) -> None:
    deaths = 0
    try:
        while deaths < DEATHS:
            try:
                item = waiting.get_nowait()
            except queue.Empty:
                worker.finish()
                return
            outcome = worker.do(item)
            if outcome is None:
                deaths += 1
                reason = "its process died: out of memory, or a fault in a driver"
                done.put(Outcome(item.key, "failed", reasons=(reason,), device=worker.device))
                worker.restart()
            else:
                deaths = 0
                done.put(outcome)
    except (ModelError, OSError):
        pass  # the device doesn't come back: the others go on
    finally:
        done.put(None)


def _serve(connection: Connection, device: Device, job: Job) -> None:
    """What runs in the process of a device."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl+C is for the parent, which ends us
    try:
        networks = device.load()
    except ModelError as error:
        connection.send(str(error))
        return
    connection.send(None)
    with suppress(EOFError, OSError):  # the parent is gone
        while (item := connection.recv()) is not None:
            connection.send(make(item, networks, job, device.name))


def require_devices(devices: Sequence[Device]) -> None:
    """Raises `ModelError` where one is a GPU that isn't there."""
    for name in dict.fromkeys(device.name for device in devices):
        if name.startswith("cuda"):  # the others are always there, and torch is slow to import
            device_name(name)


def spread(
    models: Sequence[Model], settings: InferenceSettings, names: Sequence[str], processes: int
) -> list[Device]:
    """So many processes on each device; those that share the CPU share its cores."""
    names = list(names or [settings.device]) * processes
    threads = settings.cpu_threads
    if len(names) > 1 and not threads:
        threads = max(1, (os.cpu_count() or 1) // len(names))
    own = [settings.model_copy(update={"device": n, "cpu_threads": threads}) for n in names]
    return [Device(s.device, partial(load_networks, tuple(models), s)) for s in own]
