from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

UNITS = sorted((Path(__file__).parents[2] / "systemd").iterdir())


@pytest.mark.peer
@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not installed")
def test_systemd_finds_nothing_wrong_with_the_units(tmp_path: Path) -> None:
    installed = Path(sys.executable).with_name("dicomnode")
    for unit in UNITS:
        text = unit.read_text().replace("/opt/dicomnode/.venv/bin/dicomnode", str(installed))
        (tmp_path / unit.name).write_text(text)
    names = [str(tmp_path / unit.name) for unit in UNITS]
    found = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *names],
        capture_output=True,
        text=True,
        timeout=60,
        env={"SYSTEMD_UNIT_PATH": f"{tmp_path}:"},
    )
    assert (found.returncode, found.stderr.strip()) == (0, "")


@pytest.mark.parametrize("unit", [u for u in UNITS if u.suffix == ".service"], ids=lambda u: u.name)
def test_every_role_is_hardened_and_watched(unit: Path) -> None:
    lines = set(unit.read_text().splitlines())
    assert {
        "Type=notify",
        "NoNewPrivileges=true",
        "ProtectSystem=strict",
        "ProtectHome=true",
        "CapabilityBoundingSet=",
        "User=dicomnode",
    } <= lines
    assert any(line.startswith("WatchdogSec=") for line in lines)
