"""JSON lines on standard error: an event, its level, its context; never a patient attribute."""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime

import pydicom.config

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


class JsonFormatter(logging.Formatter):
    """One line per event; what was given as `extra` becomes keys of it."""

    def format(self, record: logging.LogRecord) -> str:
        event = {
            "at": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "event": record.getMessage(),
        }
        event |= {k: v for k, v in vars(record).items() if k not in _STANDARD}
        if record.exc_info:
            event["traceback"] = self.formatException(record.exc_info)
        return json.dumps(event, default=str, ensure_ascii=True)


def configure(level: str) -> None:
    """Send every log of this process to standard error; other libraries only from WARNING on.

    pydicom would quote invalid values, which may be patients' names: it reads them as they are.
    """
    pydicom.config.settings.reading_validation_mode = pydicom.config.IGNORE
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger("dicomnode").setLevel(level)
    # What it logs as an error we raise or record as a sentence of our own.
    logging.getLogger("pynetdicom").setLevel(logging.CRITICAL)
