"""Processor time and peak memory of a process with its children, from /proc (Linux)."""

from __future__ import annotations

import os
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")
# Of /proc/PID/stat, counted from the field behind the name: utime, stime and those of children
# that have ended.
_TIMES = slice(11, 15)


def tree(pid: int) -> Iterator[int]:
    """A process and all below it."""
    yield pid
    with suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            for child in (task / "children").read_text(encoding="ascii").split():
                yield from tree(int(child))


def cpu_seconds(pid: int) -> float:
    """Of a process and its children, those that have ended included."""
    ticks = 0
    for each in tree(pid):
        with suppress(OSError):
            told = Path(f"/proc/{each}/stat").read_text(encoding="ascii", errors="replace")
            ticks += sum(map(int, told.rpartition(")")[2].split()[_TIMES]))
    return ticks / _TICKS


def settled_cpu_seconds(pid: int, longest_seconds: float = 30.0) -> float:
    """Once the process rests: what it still does after its last answer is part of the price."""
    deadline, before = time.monotonic() + longest_seconds, cpu_seconds(pid)
    while time.monotonic() < deadline:
        time.sleep(0.3)
        now = cpu_seconds(pid)
        if now - before < 0.015:
            return now
        before = now
    return before


def peak_bytes(pid: int) -> int:
    """The most that a process had resident until now (VmHWM)."""
    return _status_bytes(pid, "VmHWM")


def resident_bytes(pid: int) -> int:
    return _status_bytes(pid, "VmRSS")


def forget_peak() -> None:
    """From here on this process's peak counts anew."""
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def maps_any(pid: int, library: str) -> bool:
    """Whether a process of the tree has a file of that package in its memory."""
    return any(
        f"/{library}/" in Path(f"/proc/{each}/maps").read_text(errors="replace")
        for each in tree(pid)
    )


def watched_peak(pid: int) -> AbstractContextManager[Callable[[], int]]:
    """The largest peak of any one process of the tree, children that soon end included."""
    return _watched(lambda: max(map(peak_bytes, tree(pid))))


def watched_memory(pid: int) -> AbstractContextManager[Callable[[], int]]:
    """The largest sum over a process and its children, pages that they share counted once."""
    return _watched(lambda: sum(map(proportional_bytes, tree(pid))))


@contextmanager
def _watched(measure: Callable[[], int]) -> Iterator[Callable[[], int]]:
    """Tells the largest value so far of what is measured ten times a second."""
    largest, stop = 0, threading.Event()

    def watch() -> None:
        nonlocal largest
        while True:
            largest = max(largest, measure())
            if stop.wait(0.1):
                return

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield lambda: largest
    finally:
        stop.set()
        thread.join()


def proportional_bytes(pid: int) -> int:
    """Resident pages, each divided by how many processes share it (PSS); 0 for one that ended."""
    try:
        rollup = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii")
    except OSError:
        return 0
    found = re.search(r"^Pss:\s+(\d+) kB", rollup, re.MULTILINE)
    return int(found[1]) * 1024 if found else 0


def _status_bytes(pid: int, key: str) -> int:
    """0 for a process that has ended."""
    try:
        status = Path(f"/proc/{pid}/status").read_text(encoding="ascii", errors="replace")
    except OSError:
        return 0
    found = re.search(rf"^{key}:\s+(\d+) kB", status, re.MULTILINE)
    return int(found[1]) * 1024 if found else 0
