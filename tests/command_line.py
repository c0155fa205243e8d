"""A command as a user gives it, run in the test's own process: the libraries are loaded once.

Where the process itself matters (signals, memory, what it imports), use `tests.e2e.site.dicomnode`.
"""

from __future__ import annotations

import io
import logging
import os
import signal
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from subprocess import CompletedProcess
from unittest import mock

from dicomnode.cli import main
from dicomnode.commands import common


def dicomnode(*arguments: str) -> CompletedProcess[str]:
    """Exit code, and what was written; an error that nobody foresaw is a traceback and 1."""
    out, errors = _Stream(), _Stream()
    with _process_as_it_was(), redirect_stdout(out), redirect_stderr(errors):
        code = _code_of(arguments)
    return CompletedProcess(arguments, code, out.text(), errors.text())


def _code_of(arguments: tuple[str, ...]) -> int:
    with mock.patch.object(sys, "argv", ["dicomnode", *arguments]):
        try:
            main()
        except SystemExit as ended:
            return ended.code if isinstance(ended.code, int) else int(ended.code is not None)
        except Exception:  # noqa: BLE001 - as the interpreter does
            traceback.print_exc()
            return 1
    return 0


class _Stream(io.TextIOWrapper):
    """A standard stream that is kept; it takes bytes at `buffer`, as the real ones."""

    def __init__(self) -> None:
        super().__init__(io.BytesIO(), encoding="utf-8", write_through=True)

    def text(self) -> str:
        assert isinstance(self.buffer, io.BytesIO)
        return self.buffer.getvalue().decode("utf-8")


@contextmanager
def _process_as_it_was() -> Iterator[None]:
    """What a command sets for its whole process does not reach the next test."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    levels = {name: logging.getLogger(name).level for name in list(root.manager.loggerDict)}
    signals = {each: signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)}
    mask = os.umask(0o022)
    os.umask(mask)
    consoles = {console: console.width for console in (common.out, common.err)}
    for console in consoles:
        console.width = 160
    try:
        yield
    finally:
        os.umask(mask)
        for console, width in consoles.items():
            console.width = width
        root.handlers[:] = handlers
        root.setLevel(level)
        for name in list(root.manager.loggerDict):
            logging.getLogger(name).setLevel(levels.get(name, logging.NOTSET))
        for each, handler in signals.items():
            signal.signal(each, handler)
