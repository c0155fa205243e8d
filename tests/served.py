"""A role in a process of its own, forked from one that has loaded the libraries already."""

from __future__ import annotations

import importlib
import logging
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
from multiprocessing.context import ForkServerProcess
from multiprocessing.synchronize import Event
from pathlib import Path

from dicomnode.config import Settings

_START_SECONDS = 120
_FORKING = multiprocessing.get_context("forkserver")
_FORKING.set_forkserver_preload(["dicomnode.scp.server", "dicomnode.web.server"])


class Served:
    """`role`: the module whose `serve` runs; its standard error is added to `log`.

    Told and asked like a `subprocess.Popen`.
    """

    def __init__(self, settings: Settings, role: str, log: Path) -> None:
        self._ready = _FORKING.Event()
        arguments = (settings.model_dump_json(), role, log, self._ready)
        self._process: ForkServerProcess = _FORKING.Process(target=_serve, args=arguments)
        self._process.start()

    @property
    def pid(self) -> int:
        assert self._process.pid is not None
        return self._process.pid

    def is_ready(self) -> bool:
        """Waits until it is, or has ended."""
        for _ in range(_START_SECONDS * 10):
            if self._ready.wait(0.1) or self.poll() is not None:
                break
        return self._ready.is_set()

    def poll(self) -> int | None:
        return self._process.exitcode

    def wait(self, seconds: float) -> int:
        self._process.join(seconds)
        if self._process.exitcode is None:
            raise subprocess.TimeoutExpired("serve", seconds)
        return self._process.exitcode

    def terminate(self) -> None:
        self._process.terminate()

    def kill(self) -> None:
        self._process.kill()


def _serve(settings: str, role: str, log: Path, ready: Event) -> None:
    with log.open("a") as errors:
        os.dup2(errors.fileno(), sys.stderr.fileno())
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, force=True)
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    serve = importlib.import_module(role).serve
    serve(Settings.model_validate_json(settings), ready=ready.set, stop=stop)
