from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from dicomnode.dicom import sandbox
from dicomnode.inference.models import STARTER_FOLDER

ROOT = Path(__file__).parents[2]
UNITS = sorted((ROOT / "systemd").iterdir())
SERVICES = [unit for unit in UNITS if unit.suffix == ".service"]


def drop_in_of_the_readme() -> str:
    return re.findall(r"```\n(\[Service\]\n.*?)```", (ROOT / "README.md").read_text(), re.S)[0]


def install(folder: Path) -> list[str]:
    """The units in `folder`, with the program where it is on this machine."""
    program = str(Path(sys.executable).with_name("dicomnode"))
    for unit in UNITS:
        text = unit.read_text().replace("/opt/dicomnode/.venv/bin/dicomnode", program)
        (folder / unit.name).write_text(text)
    return [str(folder / unit.name) for unit in UNITS]


@pytest.mark.peer
@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not installed")
@pytest.mark.parametrize("with_drop_in", [False, True])
def test_systemd_finds_nothing_wrong_with_the_units(tmp_path: Path, with_drop_in: bool) -> None:
    names = install(tmp_path)
    if with_drop_in:
        (tmp_path / "dicomnode-scp.service.d").mkdir()
        (tmp_path / "dicomnode-scp.service.d" / "port.conf").write_text(drop_in_of_the_readme())
    found = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *names],
        capture_output=True,
        text=True,
        timeout=60,
        env={"SYSTEMD_UNIT_PATH": f"{tmp_path}:"},
    )
    assert (found.returncode, found.stderr.strip()) == (0, "")


@pytest.mark.peer
@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not installed")
@pytest.mark.parametrize("unit", SERVICES, ids=lambda unit: unit.stem)
def test_the_exposure_of_every_unit_is_as_the_document_says_and_ok(unit: Path) -> None:
    analyze = ["systemd-analyze", "security", "--offline=true", "--no-pager", str(unit)]
    told = subprocess.run(analyze, capture_output=True, text=True, timeout=60, check=True).stdout
    found = re.search(rf"{unit.name}: ([\d.]+) (\w+)", told)
    assert found is not None
    said = re.search(rf"`{unit.stem}` ([\d.]+)", (ROOT / "docs" / "security.md").read_text())
    assert said is not None
    # Versions of systemd weigh a little differently.
    assert float(found[1]) <= float(said[1]) + 0.3
    assert found[2] == "OK"


def directives(unit: str, name: str) -> set[str]:
    lines = (ROOT / "systemd" / f"dicomnode-{unit}.service").read_text().splitlines()
    values = [line.partition("=")[2] for line in lines if line.startswith(f"{name}=")]
    return {value for line in values for value in line.split()}


def test_what_receives_sees_no_networks_no_gpu_and_no_keys() -> None:
    hidden = directives("scp", "InaccessiblePaths")
    assert {"-/var/lib/dicomnode/models", "-/var/lib/dicomnode/results"} <= hidden
    assert "-/opt/dicomnode/dicomnode/inference/starter" in hidden
    assert STARTER_FOLDER == ROOT / "dicomnode/inference/starter"
    assert "-/etc/dicomnode/gate-key" in hidden
    assert directives("scp", "PrivateDevices") == {"true"}
    assert directives("scp", "SupplementaryGroups") == set()


def test_the_drop_in_for_port_104_gives_the_capability_back_in_both_lists() -> None:
    lists = drop_in_of_the_readme().splitlines()[1:]
    assert lists == [
        f"{name}=CAP_NET_BIND_SERVICE" for name in ("CapabilityBoundingSet", "AmbientCapabilities")
    ]


@pytest.mark.parametrize("unit", SERVICES, ids=lambda unit: unit.name)
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
    assert "ExecReload=/bin/kill -HUP $MAINPID" in lines


@pytest.mark.parametrize("unit", SERVICES, ids=lambda unit: unit.name)
def test_no_unit_starts_without_its_disk_or_is_cut_off_in_a_migration(unit: Path) -> None:
    lines = set(unit.read_text().splitlines())
    assert {"RequiresMountsFor=/var/lib/dicomnode", "TimeoutStartSec=infinity"} <= lines


def calls(name: str) -> set[str]:
    """The system calls of a group of systemd's, as this version of it has them."""
    told = subprocess.run(
        ["systemd-analyze", "syscall-filter", name],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    lines = [line.strip() for line in told.stdout.splitlines()[1:]]
    names = {line for line in lines if line and not line.startswith("#")}
    groups = {each for each in names if each.startswith("@")}
    return (names - groups).union(*map(calls, groups))


@pytest.mark.peer
@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not installed")
@pytest.mark.skipif(sandbox.library() is None, reason="libseccomp2 is not installed")
def test_the_filter_of_the_unit_leaves_the_decoder_its_own() -> None:
    script = """
import sys
import pyseccomp
rules = pyseccomp.SyscallFilter(pyseccomp.ERRNO(1))
for name in sys.argv[1:]:
    try:
        rules.add_rule(pyseccomp.ALLOW, name)
    except (OSError, RuntimeError):
        pass  # of another processor
try:
    rules.load()
except OSError:
    sys.exit("no filter")
from dicomnode.dicom.decoder import Decoder
decoder = Decoder()
print(decoder.is_filtered)
decoder.close()
"""
    wanted = directives("work", "SystemCallFilter")
    assert wanted == {"@system-service", "~@privileged", "@resources"}
    allowed = calls("@system-service") - calls("@privileged") - calls("@resources")
    command = [sys.executable, "-c", script, *sorted(allowed)]
    found = subprocess.run(command, capture_output=True, text=True, timeout=60)
    if found.stderr.strip() == "no filter":
        pytest.skip("this kernel filters no system calls")
    assert (found.stdout, found.stderr) == ("True\n", "")
