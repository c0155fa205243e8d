"""The demo as a user runs it, on files of the user's own."""

from __future__ import annotations

import shlex
import subprocess
from pathlib import Path

import pytest

from dicomnode.app.drawn_series import STUDIES, write_series
from tests import command_line
from tests.e2e.site import dicomnode
from tests.factories import make_series

SMALL_STUDIES = 51  # one more than `dicomnode status` shows
HEADS = {series.study: series for series in STUDIES if series.modality == "MR"}

pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, subprocess.CompletedProcess[str]]:
    """Its folder, and what it said: one run with many small studies and two heads."""
    folder = tmp_path_factory.mktemp("demo")
    for number in range(SMALL_STUDIES):
        make_series(folder / "in" / str(number), study=str(number), slices=1, rows=8, columns=8)
    for study, series in HEADS.items():
        write_series(series, folder / "in" / study)
    out = folder / 'my "demo"'
    return out, dicomnode("demo", "--send", str(folder / "in"), "--out", str(out), seconds=550)


def test_a_demo_takes_more_studies_than_status_shows_and_can_be_run_again(
    demo: tuple[Path, subprocess.CompletedProcess[str]],
) -> None:
    _, done = demo
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("TOO_FEW_SLICES") >= SMALL_STUDIES
    printed = done.stdout.strip().splitlines()[-1]
    asked = subprocess.run(shlex.split(printed), capture_output=True, text=True, timeout=60)
    assert asked.returncode == 0, asked.stderr
    assert f"50 of {SMALL_STUDIES + len(HEADS)} studies" in asked.stderr


@pytest.mark.parametrize(
    ("study", "code", "outcome"), [("intact", 3, "HOLD"), ("defaced", 0, "RELEASE")]
)
def test_an_intact_head_is_held_and_a_defaced_one_released_by_default(
    demo: tuple[Path, subprocess.CompletedProcess[str]], study: str, code: int, outcome: str
) -> None:
    """Networks, rules and the default policy together."""
    config = ("--config", str(demo[0] / "node.toml"))
    decided = command_line.dicomnode("gate", "decide", HEADS[study].study_instance_uid, *config)
    assert (decided.returncode, outcome in decided.stdout) == (code, True), decided.stdout
