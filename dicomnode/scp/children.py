"""Several receiving processes that accept from one listening socket.

They share the parent's socket (pre-fork) rather than each binding its own (SO_REUSEPORT): no
connection is lost in the queue of a process that died, the port stays open while it is replaced,
and a second node on the port is found out.
"""

from __future__ import annotations

import logging
import multiprocessing
import signal
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess

from dicomnode.config import Settings
from dicomnode.dimse.listener import Door
from dicomnode.errors import DicomnodeError
from dicomnode.intake.running import new_receiver
from dicomnode.meters import Meters
from dicomnode.reloading import Apply, Reload, follow, log_as, never
from dicomnode.scp.process import receive
from dicomnode.tls import ServerTLS
from dicomnode.tracking.pulses import Pulse

LOGGER = logging.getLogger("dicomnode.scp")

_RESTART_SECONDS = 1.0
_STOP_SECONDS = 30.0
_START_SECONDS = 60.0


@dataclass(frozen=True)
class _ReceivingProcess:
    """A child; its end of `channel` tells one byte when it accepts associations, and then gets
    new settings."""

    receiver_id: str
    process: BaseProcess
    channel: Connection


class Supervisor:
    """Keeps `scp.processes` receiving children alive; a child that died is replaced."""

    def __init__(
        self,
        settings: Settings,
        doors: Sequence[Door],
        prepare_child: Callable[[], None],
        living: set[str],
        meters: Meters,
    ) -> None:
        self._pulse = Pulse(settings.pulses_folder, "scp", meters)
        self._settings = settings
        self._doors = doors
        self._prepare_child = prepare_child
        self._living = living
        self._context = multiprocessing.get_context("spawn")
        self._children: list[_ReceivingProcess] = []
        self._comes_back = True  # whether the last one that was to be replaced was

    def run(
        self,
        ready: Callable[[], None],
        alive: Callable[[], None],
        stop: threading.Event,
        reload: Reload = never,
    ) -> None:
        try:
            for _ in range(self._settings.scp.processes):
                self._start()
            for child in self._children:
                _await_ready(child, stop)
            if not stop.is_set():
                ready()
            while not stop.is_set():
                wait([child.process.sentinel for child in self._children], timeout=0.5)
                reload(self._use)
                self._pulse.beat()
                if all(child.process.is_alive() for child in self._children):
                    self._comes_back = True
                    alive()
                else:
                    self._replace_dead(alive, stop)
            self._pulse.stop()
        finally:
            self._stop()

    def _use(self, settings: Settings) -> None:
        """Also for children that are started later. Raises `ConfigurationError` as they would."""
        for door in self._doors:
            if door.tls is not None:
                ServerTLS(door.tls, f"{door.section}.tls")
        self._settings = settings
        for child in self._children:
            with suppress(OSError):  # it died; the one that replaces it has them
                child.channel.send(settings)

    def _start(self) -> _ReceivingProcess:
        ours, theirs = self._context.Pipe()
        receiver_id = new_receiver(self._living)
        process = self._context.Process(
            target=_child,
            args=(self._settings, self._doors, receiver_id, theirs, self._prepare_child),
            name="dicomnode-receiver",
        )
        process.start()
        theirs.close()
        child = _ReceivingProcess(receiver_id, process, ours)
        self._children.append(child)
        return child

    def _replace_dead(self, alive: Callable[[], None], stop: threading.Event) -> None:
        """One that doesn't start is found dead again; `alive` isn't called then until all are back.

        While the first is waited for it is: that may be longer than a watchdog waits.
        """
        for child in [child for child in self._children if not child.process.is_alive()]:
            LOGGER.error("a receiving process died", extra={"exit_code": child.process.exitcode})
            self._children.remove(child)
            self._living.discard(child.receiver_id)
            child.channel.close()
            if not stop.wait(_RESTART_SECONDS):
                self._start_again(alive, stop)

    def _start_again(self, alive: Callable[[], None], stop: threading.Event) -> None:
        child = self._start()
        try:
            _await_ready(child, stop, alive if self._comes_back else _nothing)
        except DicomnodeError as error:
            self._comes_back = False
            LOGGER.error("a receiving process was not replaced", extra={"error": str(error)})
            child.process.kill()
            child.process.join()

    def _stop(self) -> None:
        processes = [child.process for child in self._children]
        for process in processes:
            process.terminate()
        deadline = time.monotonic() + _STOP_SECONDS
        for process in processes:
            process.join(max(deadline - time.monotonic(), 0.1))
            if process.is_alive():
                process.kill()
                process.join()


def _nothing() -> None:
    return


def _await_ready(
    child: _ReceivingProcess, stop: threading.Event, waiting: Callable[[], None] = _nothing
) -> None:
    """Raises `DicomnodeError` where the child died, or isn't ready in time."""
    deadline = time.monotonic() + _START_SECONDS
    while not stop.is_set() and not child.channel.poll(0.2):
        waiting()
        if time.monotonic() > deadline:
            raise DicomnodeError("a receiving process did not start in time; see its log")
    try:
        if not stop.is_set():
            child.channel.recv_bytes()
    except EOFError:
        raise DicomnodeError("a receiving process did not start; see its log") from None


def _child(
    settings: Settings,
    doors: Sequence[Door],
    receiver_id: str,
    channel: Connection,
    prepare_child: Callable[[], None],
) -> None:
    """The main function of a child: stops at SIGTERM, and when its parent is gone."""
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    for number in (signal.SIGINT, signal.SIGHUP):  # the parent's business
        signal.signal(number, signal.SIG_IGN)
    prepare_child()
    log_as(settings)  # those of a reload, where there was one
    threading.Thread(target=_stop_with_parent, args=(stop,), daemon=True).start()

    def ready() -> None:
        channel.send_bytes(b"1")

    def reload(apply: Apply) -> None:
        try:
            if not channel.poll():
                return
            newer: Settings = channel.recv()
        except EOFError:
            stop.set()  # the parent is gone
            return
        follow(apply, newer)

    receive(settings, doors, receiver_id, ready=ready, alive=lambda: None, stop=stop, reload=reload)


def _stop_with_parent(stop: threading.Event) -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        stop.set()
