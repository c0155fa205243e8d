from __future__ import annotations

import json
import logging
import sys
import threading
from pathlib import Path

import pytest

from dicomnode.app.logs import JsonFormatter, TextFormatter
from dicomnode.errors import DatabaseError
from dicomnode.log_context import about


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


def formatted(record: logging.LogRecord) -> dict[str, object]:
    return dict(json.loads(JsonFormatter().format(record)))


def test_a_line_says_what_it_is_about_inside_of_the_block_and_not_after_it() -> None:
    record = logging.makeLogRecord({"msg": "slow", "series": "1.2.9"})
    with about(job="examine:1", study="1.2", series="1.2.3", association=""):
        with about(destination="pacs"):
            inside = formatted(record)
        other = formatted(logging.makeLogRecord({"msg": "other"}))
    assert (inside["job"], inside["study"], inside["destination"]) == ("examine:1", "1.2", "pacs")
    assert inside["series"] == "1.2.9", "what the line itself names counts"
    assert "association" not in inside
    assert other["series"] == "1.2.3"
    assert "destination" not in other
    assert "job" not in formatted(record)


def test_threads_do_not_share_what_they_are_about() -> None:
    found: list[dict[str, object]] = []
    record = logging.makeLogRecord({"msg": "x"})
    with about(job="one"):
        thread = threading.Thread(target=lambda: found.append(formatted(record)))
        thread.start()
        thread.join()
    assert "job" not in found[0]


def test_a_line_for_people_cannot_be_forged_either() -> None:
    with about(job="examine:1"):
        record = logging.makeLogRecord(
            {"name": "dicomnode.scp", "levelname": "INFO", "msg": "a\nb", "peer": "X\x1b[31m"}
        )
        line = TextFormatter().format(record)
    assert line.endswith("INFO dicomnode.scp: a?b job=examine:1 peer=X?[31m")


def of_an_error(formatter: logging.Formatter) -> str:
    """The line of an error of ours that came of one that quotes a header."""
    value = "^".join(("Doe", "Jane"))
    try:
        try:
            int(value)
        except ValueError as error:
            raise DatabaseError("locked\nfor long\x1b[31m") from error
    except DatabaseError:
        record = logging.makeLogRecord({"msg": "failed", "exc_info": sys.exc_info()})
    return formatter.format(record)


@pytest.mark.parametrize("formatter", [JsonFormatter(), TextFormatter()])
def test_a_traceback_quotes_no_header_and_steers_no_terminal(formatter: logging.Formatter) -> None:
    line = of_an_error(formatter)
    assert "Doe^Jane" not in line
    assert "builtins.ValueError" in line
    assert "DatabaseError: locked?for long?[31m" in line
    assert "of_an_error" in line, "where it happened"
    assert "\x1b" not in line


def test_an_error_of_the_system_says_what_it_was_and_not_where() -> None:
    path = Path("/nowhere") / "^".join(("Doe", "Jane"))
    try:
        path.read_bytes()
    except OSError:
        record = logging.makeLogRecord({"msg": "failed", "exc_info": sys.exc_info()})
    told = formatted(record)["traceback"]
    assert str(told).endswith("FileNotFoundError: No such file or directory")
    assert "Doe^Jane" not in str(told)
