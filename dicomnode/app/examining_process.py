"""What runs in the examining process: networks loaded once, then series after series.

A task and the level of its log come in, JSON goes out: `{"step", "limit_seconds"}` at every sign
of progress, at last one of `{"examination"}`, `{"copy"}`, `{"failure"}`, `{"died"}` and
`{"postponed"}`.
What comes out is no pickle: whoever reads what strangers sent should not choose what its parent
unpickles.
"""

from __future__ import annotations

import json
import logging
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, cast

from pydantic import TypeAdapter

from dicomnode.config import JobSettings
from dicomnode.domain import CopyOrder, CopySeries, Examination, Revision, SeriesCopy
from dicomnode.errors import (
    DicomnodeError,
    ExaminationDiedError,
    ExaminationPostponedError,
    may_pass,
    sentence,
    waits_for_the_machine,
)

log = logging.getLogger("dicomnode.jobs")

_EXAMINATION = TypeAdapter(Examination)
_COPY = TypeAdapter(SeriesCopy)
_BEAT_SECONDS = 1.0
# Of those that could be killed for want of memory, the child comes before the node's other roles.
_KILLED_EARLIER = "500"


@dataclass
class Pulse:
    """Tells the parent that something goes on, and how long it may be before the next sign."""

    connection: Connection
    settings: JobSettings
    voxels: int = 0
    _step: str = ""
    _told_at: float = 0.0

    def step(self, step: str) -> None:
        """The next part of the work begins."""
        self._step = step
        self._tell()

    def beat(self) -> None:
        """The same part goes on; as often as one likes."""
        if time.monotonic() - self._told_at >= _BEAT_SECONDS:
            self._tell()

    def _tell(self) -> None:
        self._told_at = time.monotonic()
        limit_seconds = silence_seconds(self.settings, self.voxels)
        self.send({"step": self._step, "limit_seconds": limit_seconds})

    def send(self, message: dict[str, Any]) -> None:
        self.connection.send_bytes(json.dumps(message).encode("utf-8"))


Examine = Callable[[Revision], Examination]


@dataclass(frozen=True)
class Tasks:
    """What the networks are loaded for; both raise as `Stages` says."""

    examine: Examine
    copy: CopySeries


# Called once in the child: loads the networks and returns what works with them.
Load = Callable[[Pulse], Tasks]


def silence_seconds(settings: JobSettings, voxels: int) -> float:
    """How long one step on a volume of so many voxels may take."""
    return settings.silence_seconds + settings.silence_seconds_per_megavoxel * voxels / 1e6


def serve(
    connection: Connection, load: Load, settings: JobSettings, prepare: Callable[[], None]
) -> None:
    """The main function of the child; returns when its parent has closed the connection."""
    _be_a_child()
    prepare()
    pulse = Pulse(connection, settings)
    try:
        tasks = load(pulse)
    except DicomnodeError as error:
        pulse.send({"failure": str(error)})
        return
    pulse.send({"ready": True})
    with suppress(EOFError, OSError):  # the parent is gone
        while True:
            task, level = cast(tuple[Revision | CopyOrder, int], connection.recv())
            logging.getLogger("dicomnode").setLevel(level)  # a reload may have changed it
            pulse.voxels = 0
            pulse.send(_answer(tasks, task))


def _be_a_child() -> None:
    """Signals are for the parent, who decides what becomes of us; without it there is no use."""
    os.setsid()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(_KILLED_EARLIER, encoding="ascii")
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os.killpg(0, signal.SIGKILL)


def _answer(tasks: Tasks, task: Revision | CopyOrder) -> dict[str, Any]:
    try:
        return _done(tasks, task)
    except ExaminationPostponedError as error:
        return {"postponed": str(error)}
    except (ExaminationDiedError, MemoryError) as error:
        return {"died": str(error) or "the memory was used up"}
    except Exception as error:
        if may_pass(error):
            return {"postponed": waits_for_the_machine(error)}
        # The edge of the process: any failure is told, recorded and shown.
        revision = task.revision if isinstance(task, CopyOrder) else task
        log.exception("examination failed", extra={"series": revision.series_instance_uid})
        return {"failure": sentence(error)}


def _done(tasks: Tasks, task: Revision | CopyOrder) -> dict[str, Any]:
    if isinstance(task, CopyOrder):
        return {"copy": _COPY.dump_python(tasks.copy(task), mode="json")}
    return {"examination": _EXAMINATION.dump_python(tasks.examine(task), mode="json")}
