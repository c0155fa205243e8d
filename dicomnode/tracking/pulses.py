"""The pulse of each process: a small file that says it lives, and carries what it measured.

Each process of a role has a number, the lowest that is free, so that a monitor sees the same few
processes whenever they start again. A file that was not written for `STALE_SECONDS` is that of a
process that died or hangs.
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
import re
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from dicomnode.meters import METERS, Distribution, Family, Labels, Meters, Value

log = logging.getLogger("dicomnode.tracking")

BEAT_SECONDS = 2.0
STALE_SECONDS = 30.0
_MOST_PROCESSES = 256
_NAME = re.compile(r"([a-z]+)-(\d{1,3})\.json")
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True)
class Beat:
    """One process of the node: how long ago it was heard of, and what it measured."""

    role: str
    process: str
    age_seconds: float
    families: tuple[Family, ...]

    @property
    def is_alive(self) -> bool:
        return self.age_seconds < STALE_SECONDS


class Pulse:
    """Of this process. A disk that is full costs the file, never the role."""

    def __init__(self, folder: Path, role: str, meters: Meters) -> None:
        self._folder, self._role, self._meters = folder, role, meters
        self._next_at = 0.0
        self._number: int | None = None
        self._lock: TextIO | None = None

    def beat(self) -> None:
        """Called again and again by the loop that has to live; writes now and then."""
        if time.monotonic() < self._next_at:
            return
        self._next_at = time.monotonic() + BEAT_SECONDS
        self._meters.set("resident_memory_bytes", _resident_bytes())
        try:
            if self._number is None:
                self._number = self._take_number()
            _replace(self._path("json"), json.dumps(_as_json(self._meters.families())))
        except OSError as error:
            log.warning("the pulse can't be written", extra={"error": error.strerror})

    def stop(self) -> None:
        """A process that ends in order is not missed."""
        if self._lock is not None:
            with suppress(OSError):
                self._path("json").unlink(missing_ok=True)
            self._lock.close()
            self._lock, self._number = None, None

    def _path(self, suffix: str) -> Path:
        return self._folder / f"{self._role}-{self._number}.{suffix}"

    def _take_number(self) -> int:
        """Raises `OSError` where there is none."""
        self._folder.mkdir(parents=True, exist_ok=True)
        for number in range(_MOST_PROCESSES):
            lock = (self._folder / f"{self._role}-{number}.lock").open("w", encoding="ascii")
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                lock.close()
                continue
            self._lock = lock
            return number
        raise BlockingIOError(0, "too many processes of one role")


def beats(folder: Path) -> tuple[Beat, ...]:
    """Of every process that did not end in order, alive or not."""
    if not folder.is_dir():
        return ()
    return tuple(found for path in sorted(folder.iterdir()) if (found := _read(path)))


def _read(path: Path) -> Beat | None:
    name = _NAME.fullmatch(path.name)
    if name is None:
        return None
    try:
        age = time.time() - path.stat().st_mtime
        families = tuple(_families(json.loads(path.read_text(encoding="ascii"))))
    except (OSError, ValueError, LookupError, TypeError):  # gone meanwhile, or of another version
        return None
    return Beat(name[1], name[2], max(age, 0.0), families)


def _as_json(families: tuple[Family, ...]) -> dict[str, list[Any]]:
    return {
        family.name: [[list(labels), _plain(value)] for labels, value in family.values.items()]
        for family in families
    }


def _plain(value: Value) -> Any:
    return [list(value.counts), value.sum] if isinstance(value, Distribution) else value


def _families(document: Any) -> Iterator[Family]:
    """Raises `ValueError`, `LookupError` or `TypeError` for what this version did not write."""
    if not isinstance(document, dict):
        raise TypeError("not the values of meters")
    for name, rows in document.items():
        values: dict[Labels, Value] = {tuple(labels): _value(plain) for labels, plain in rows}
        yield Family(name, METERS[name], values)


def _value(plain: Any) -> Value:
    return Distribution(tuple(plain[0]), plain[1]) if isinstance(plain, list) else float(plain)


def _replace(path: Path, text: str) -> None:
    temporary = path.with_suffix(".new")
    temporary.write_text(text, encoding="ascii")
    temporary.replace(path)


def _resident_bytes() -> float:
    pages = Path("/proc/self/statm").read_text(encoding="ascii").split()[1]
    return int(pages) * _PAGE_BYTES
