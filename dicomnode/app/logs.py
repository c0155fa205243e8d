"""Lines on standard error, as JSON or for people: an event, its level, its context; never a patient
attribute.
"""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime
from typing import Literal

import pydicom.config

from dicomnode import log_context

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


class JsonFormatter(logging.Formatter):
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


class TextFormatter(logging.Formatter):
    """The same for a terminal: a line per event, and a traceback; nothing in it steers it."""

    def format(self, record: logging.LogRecord) -> str:
        at = datetime.fromtimestamp(record.created).astimezone().strftime("%H:%M:%S")
        context = " ".join(f"{key}={value}" for key, value in _context(record).items())
        line = f"{at} {record.levelname} {record.name}: {record.getMessage()} {context}".rstrip()
        line = "".join(c if c.isprintable() else "?" for c in line)
        if record.exc_info:
            line += "\n" + self.formatException(record.exc_info)
        return line


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
