"""Lines on standard error, as JSON or for people: an event, its level, its context; never a patient
attribute.
"""

from __future__ import annotations

import json
import logging
import sys
import traceback
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, Literal

import pydicom.config

from dicomnode import log_context
from dicomnode.errors import known_message

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


class _Formatter(logging.Formatter):
    def formatException(self, ei: Any) -> str:  # noqa: N802  logging's name
        """Where it happened, and of what type: the messages of other libraries may quote what a
        scanner wrote into a header, so only ours are told."""
        return "\n".join(_told(ei[1])) if ei[1] is not None else ""


class JsonFormatter(_Formatter):
    """One line per event; what it is about, and what was given as `extra`, become keys of it."""

    def format(self, record: logging.LogRecord) -> str:
        event: dict[str, object] = {
            "at": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "event": record.getMessage(),
        }
        event |= _context(record)
        if record.exc_info:
            event["traceback"] = self.formatException(record.exc_info)
        return json.dumps(event, default=str, ensure_ascii=True)


class TextFormatter(_Formatter):
    """The same for a terminal: a line per event, and a traceback; nothing in it steers it."""

    def format(self, record: logging.LogRecord) -> str:
        at = datetime.fromtimestamp(record.created).astimezone().strftime("%H:%M:%S")
        context = " ".join(f"{key}={value}" for key, value in _context(record).items())
        line = f"{at} {record.levelname} {record.name}: {record.getMessage()} {context}".rstrip()
        line = _printable(line)
        if record.exc_info:
            line += "\n" + self.formatException(record.exc_info)
        return line


def _told(error: BaseException) -> Iterator[str]:
    """The frames of an error and, before them, those of the errors that led to it."""
    before = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    if before is not None:
        yield from _told(before)
        yield "which led to:"
    frames = "".join(traceback.format_tb(error.__traceback__)).rstrip("\n")
    yield from map(_printable, frames.splitlines())
    name = f"{type(error).__module__}.{type(error).__qualname__}"
    yield _printable(f"{name}: {known_message(error)}".removesuffix(": "))


def _printable(line: str) -> str:
    return "".join(c if c.isprintable() else "?" for c in line)


def _context(record: logging.LogRecord) -> dict[str, object]:
    given = {k: v for k, v in vars(record).items() if k not in _STANDARD}
    return {**log_context.current(), **given}


def configure(level: str, form: Literal["json", "text"] = "json") -> None:
    """Send every log of this process to standard error; other libraries only from WARNING on.

    pydicom would quote invalid values, which may be patients' names: it reads them as they are.
    """
    pydicom.config.settings.reading_validation_mode = pydicom.config.IGNORE
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if form == "json" else TextFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger("dicomnode").setLevel(level)
    # What it logs as an error we raise or record as a sentence of our own.
    logging.getLogger("pynetdicom").setLevel(logging.CRITICAL)
