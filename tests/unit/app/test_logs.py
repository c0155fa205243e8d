from __future__ import annotations

import json
import logging

from dicomnode.app.logs import JsonFormatter


def test_an_event_is_one_json_line_with_its_context() -> None:
    record = logging.makeLogRecord(
        {"name": "dicomnode.scp", "levelname": "INFO", "msg": "instance stored", "series": "1.2"}
    )
    event = json.loads(JsonFormatter().format(record))
    assert event["event"] == "instance stored"
    assert event["series"] == "1.2"
    assert event["at"].endswith("+00:00")


def test_control_characters_cannot_forge_a_line() -> None:
    record = logging.makeLogRecord({"msg": "refused", "peer": 'X\n{"event": "released"}\x1b[31m'})
    line = JsonFormatter().format(record)
    assert "\n" not in line
    assert "\x1b" not in line
