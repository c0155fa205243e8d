"""The examination in a process of its own: what crashes or hangs there costs one try of one series.

The process keeps its networks loaded and serves series after series. It is spawned, since CUDA
can't be forked. It tells of every step and how long the next one may take (`examining_process`);
one that is silent for longer, or ends, is killed with all that it started, and the next series
gets a new one.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import threading
from collections.abc import Callable
from contextlib import suppress
from multiprocessing import get_context
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any

from pydantic import TypeAdapter

from dicomnode.app.examining_process import Load, serve, silence_seconds
from dicomnode.config import JobSettings
from dicomnode.domain import CopyOrder, Examination, Revision, SeriesCopy
from dicomnode.errors import (
    ExaminationDiedError,
    ExaminationFailedError,
    ExaminationPostponedError,
    ModelError,
)

log = logging.getLogger("dicomnode.jobs")

LOADING_SECONDS = 900.0
_TO_DIE_SECONDS = 10.0
_EXAMINATION = TypeAdapter(Examination)
_COPY = TypeAdapter(SeriesCopy)


def nothing() -> None:
    """What there is to prepare in a child whose log needs no setting."""


def unheard(_step: str) -> None:
    """For a parent that only waits for the end."""


class _SilentError(Exception):
    """No message within the time that the one before allowed."""


class ExaminingProcess:
    """A child that examines one series at a time; `start` before, `close` last of all.

    `load` and `prepare` are called in the child, and have to be picklable for that; `told` here,
    at every sign of progress, with the step that goes on.
    """

    def __init__(
        self,
        load: Load,
        settings: JobSettings,
        prepare: Callable[[], None] = nothing,
        told: Callable[[str], None] = unheard,
    ) -> None:
        self._arguments = (load, settings, prepare)
        self._told = told
        self._settings = settings
        self._context = get_context("spawn")
        self._process: BaseProcess | None = None
        self._connection: Connection | None = None
        self._closed = False

    def start(self) -> None:
        """Blocks until the networks are loaded.

        Raises `ModelError` where the child says that they can't be, `ExaminationDiedError` where
        it died or was silent: the next start may go well.
        """
        ours, theirs = self._context.Pipe()
        process = self._context.Process(
            target=serve, args=(theirs, *self._arguments), name="dicomnode-examining"
        )
        process.start()
        theirs.close()
        self._process, self._connection = process, ours
        try:
            answer = self._answer(LOADING_SECONDS)
        except _SilentError as silent:
            reason = str(silent)
        except (OSError, EOFError):
            reason = ""
        else:
            self._loaded(answer)
            return
        raise ExaminationDiedError(f"while the networks were loaded {self._end(reason)}")

    def _loaded(self, answer: dict[str, Any]) -> None:
        if "failure" in answer:
            self._end()
            raise ModelError(str(answer["failure"]))

    def examine(self, revision: Revision) -> Examination:
        """Called by one thread at a time.

        Raises `ExaminationDiedError` where the process ended or hung, `ExaminationPostponedError`
        where there is no memory or no process now, `ExaminationFailedError` with what it said.
        """
        return _EXAMINATION.validate_python(self._work(revision, revision)["examination"])

    def copy(self, order: CopyOrder) -> SeriesCopy:
        """A copy of a series without its face; as `examine`."""
        return _COPY.validate_python(self._work(order, order.revision)["copy"])

    def _work(self, task: Revision | CopyOrder, revision: Revision) -> dict[str, Any]:
        self._start_again()
        assert self._connection is not None
        size_bytes = sum(path.stat().st_size for path in revision.paths)
        limit_seconds = silence_seconds(self._settings, size_bytes // 2)
        try:
            self._connection.send((task, log.getEffectiveLevel()))
            answer = self._answer(limit_seconds)
        except _SilentError as silent:
            reason = str(silent)
        except (OSError, EOFError):
            reason = ""
        else:
            return _done(answer)
        self._wait_if_closed()
        raise ExaminationDiedError(self._end(reason))

    def close(self) -> None:
        """Kill the child; for the end of this process, since whoever waits in `examine` stays
        there: its job is not done and has not failed, and belongs to the next worker."""
        self._closed = True
        if self._process is not None:
            _kill(self._process)

    def _start_again(self) -> None:
        """Raises `ExaminationPostponedError` where there is no process and none can be started."""
        if self._process is not None and self._process.is_alive():
            return
        self._wait_if_closed()
        if self._process is not None:
            log.error("the examining process ended between two series", extra={"how": self._end()})
        try:
            self.start()
        except (ModelError, ExaminationDiedError, OSError) as error:
            raise ExaminationPostponedError(f"nothing can be examined now: {error}") from error

    def _answer(self, limit_seconds: float) -> dict[str, Any]:
        """The last message of a series: steps in between prolong the wait."""
        assert self._connection is not None
        step = "the start"
        while True:
            if not self._connection.poll(limit_seconds):
                raise _SilentError(f"silent for {limit_seconds:.0f} s after {step}")
            message: dict[str, Any] = json.loads(self._connection.recv_bytes())
            if "step" not in message:
                return message
            step, limit_seconds = message["step"], message["limit_seconds"]
            self._told(step)

    def _end(self, reason: str = "") -> str:
        """Kill what is left of the child; says how it ended."""
        process, connection = self._process, self._connection
        assert process is not None
        assert connection is not None
        if not reason:  # it ended by itself; its exit code comes a moment after its last message
            process.join(5.0)
            reason = _how_it_ended(process.exitcode)
        _kill(process)
        connection.close()
        self._process = self._connection = None
        return f"the examining process was {reason}"

    def _wait_if_closed(self) -> None:
        while self._closed:
            threading.Event().wait()


def _done(answer: dict[str, Any]) -> dict[str, Any]:
    if "postponed" in answer:
        raise ExaminationPostponedError(str(answer["postponed"]))
    if "died" in answer:
        raise ExaminationDiedError(str(answer["died"]))
    if "failure" in answer:
        raise ExaminationFailedError(str(answer["failure"]))
    return answer


def _how_it_ended(exit_code: int | None) -> str:
    if exit_code is None:
        return "cut off"
    if exit_code >= 0:
        return f"at its end with exit code {exit_code}; see its log"
    name = signal.Signals(-exit_code).name if -exit_code in set(signal.Signals) else str(-exit_code)
    why = " (for want of memory, where nobody did it by hand)" if name == "SIGKILL" else ""
    return f"killed by {name}{why}"


def _kill(process: BaseProcess) -> None:
    """With what it started: it leads a group of its own, as soon as it runs."""
    assert process.pid is not None
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.kill()
    process.join(_TO_DIE_SECONDS)  # a driver can hold it for longer; then it is left behind
