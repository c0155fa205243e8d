"""The demo as a user runs it, on files of the user's own."""

from __future__ import annotations

import shlex
import subprocess
from pathlib import Path

from tests.e2e.site import dicomnode
from tests.factories import make_series

STUDIES = 51  # one more than `dicomnode status` shows


def test_a_demo_takes_more_studies_than_status_shows_and_can_be_run_again(tmp_path: Path) -> None:
    for number in range(STUDIES):
        make_series(tmp_path / "in" / str(number), study=str(number), slices=1, rows=8, columns=8)
    arguments = ("demo", "--send", str(tmp_path / "in"), "--out", str(tmp_path / 'my "demo"'))
    done = dicomnode(*arguments)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("TOO_FEW_SLICES") >= STUDIES
    printed = done.stdout.strip().splitlines()[-1]
    asked = subprocess.run(shlex.split(printed), capture_output=True, text=True, timeout=60)
    assert asked.returncode == 0, asked.stderr
    assert f"50 of {STUDIES} studies" in asked.stderr
