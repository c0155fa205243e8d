"""The terminal view: everything that matters within 80 columns and 24 lines."""

from __future__ import annotations

import io
import os
import pty
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from rich.console import Console

from dicomnode.app.watch_view import Seen, look, screen, watch
from dicomnode.config import Settings
from dicomnode.errors import DatabaseError
from dicomnode.meters import Meters
from dicomnode.tracking import instances
from dicomnode.tracking.database import Database
from dicomnode.tracking.pulses import STALE_SECONDS, Beat, Pulse
from dicomnode.tracking.study_list import StudyRow
from tests.unit.tracking.rows import STUDY, instance

NOW = datetime(2026, 3, 1, tzinfo=UTC)


def study(number: int) -> StudyRow:
    uid = f"{number}." + "1" * 62
    return StudyRow(uid, NOW, NOW, 3, 900, ("CT",), "NO_FACE_IN_VIEW", {}, 0)


SEEN = Seen(
    at=NOW,
    beats=[Beat("scp", "0", 1.0, ()), Beat("work", "0", 5000.0, ()), Beat("web", "0", 2.0, ())],
    depth={"receive": 3, "examine": 12345, "deliver": 2},
    oldest_seconds={"receive": 61.0, "examine": 9000.0, "deliver": 400_000.0},
    pending={"a-destination-of-a-long-name-12": 2.0, "pacs": 0.0, "x": 0.0, "y": 0.0, "z": 0.0},
    failing={"a-destination-of-a-long-name-12": 1.0, "pacs": 0.0},
    away={"a-destination-of-a-long-name-12": 0.0, "pacs": 0.0},
    studies=[study(number) for number in range(5)],
    free_bytes=10**12,
    minimum_free_bytes=10**9,
)


def drawn(seen: Seen) -> str:
    console = Console(file=io.StringIO(), width=80, height=24, force_terminal=False)
    console.print(screen(seen))
    return str(console.file.getvalue())  # type: ignore[attr-defined]


def test_a_busy_node_fits_on_the_smallest_screen() -> None:
    lines = drawn(SEEN).splitlines()
    assert len(lines) <= 24
    assert max(map(len, lines)) <= 80


def test_it_says_who_is_silent_what_waits_and_who_fails() -> None:
    text = drawn(SEEN)
    assert "scp: 1 alive" in text
    assert "work: silent for 83 min" in text
    assert "gate: none" in text
    assert "12345" in text
    assert "failed" in text
    assert "1000.0 GB free" in text
    assert text.count("NO_FACE_IN_VIEW") == 5


def test_a_destination_that_is_away_is_told() -> None:
    assert "away" not in drawn(SEEN)
    assert "away" in drawn(replace(SEEN, away={"pacs": 1.0}))


def test_a_full_disk_is_told() -> None:
    assert "nothing more is taken in" in drawn(replace(SEEN, free_bytes=5))
    assert "the spool is not there" in drawn(replace(SEEN, free_bytes=None))


def test_it_looks_at_the_real_node(make_settings: Callable[..., Settings]) -> None:
    settings = make_settings()
    database = Database(settings.database_url)
    database.migrate()
    with database.begin() as connection:
        instances.add(connection, [instance(1)])
    Pulse(settings.pulses_folder, "work", Meters()).beat()
    seen = look(settings, database)
    database.close()
    assert seen.depth["receive"] == 1
    assert [row.study_instance_uid for row in seen.studies] == [STUDY]
    assert seen.beats[0].age_seconds < STALE_SECONDS
    assert seen.free_bytes is None, "nothing was ever stored"


def test_without_a_terminal_it_is_shown_once() -> None:
    console = Console(file=io.StringIO(), width=80)
    watch(console, lambda: SEEN, lambda _: pytest.fail("it waits"))
    assert "work: silent" in console.file.getvalue()  # type: ignore[attr-defined]


def test_a_database_that_is_away_does_not_end_it() -> None:
    looks: list[int] = []

    def ask() -> Seen:
        looks.append(1)
        if len(looks) == 1:
            raise DatabaseError("the database is away")
        return SEEN

    def pause(_seconds: float) -> None:
        if len(looks) == 2:
            raise KeyboardInterrupt

    console = Console(file=io.StringIO(), width=80, height=24, force_terminal=True)
    watch(console, ask, pause)
    shown = console.file.getvalue()  # type: ignore[attr-defined]
    assert "the database is away" in shown
    assert "work: silent" in shown


def test_ctrl_c_ends_the_command_in_order_and_gives_the_screen_back(
    make_settings: Callable[..., Settings], tmp_path: Path
) -> None:
    settings = make_settings()
    Database(settings.database_url).migrate()
    config = tmp_path / "config.toml"
    config.write_text(f'[node]\ndata_folder = "{settings.node.data_folder}"\n')
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "dicomnode.cli", "status", "--watch", "-c", str(config)]
    environment = os.environ | {"TERM": "xterm", "COLUMNS": "80", "LINES": "24"}
    process = subprocess.Popen(command, stdin=theirs, stdout=theirs, env=environment)
    os.close(theirs)
    shown, deadline = b"", time.monotonic() + 60
    while b"nothing received yet" not in shown and time.monotonic() < deadline:
        shown += os.read(ours, 4096)
    process.send_signal(signal.SIGINT)
    with suppress(OSError):  # the other side of a terminal that nobody holds any more
        while True:
            shown += os.read(ours, 4096)
    os.close(ours)
    assert process.wait(20) == 0
    assert b"\x1b[?1049l" in shown, "the screen that was there before"
