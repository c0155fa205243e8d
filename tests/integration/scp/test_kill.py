"""kill -9 while receiving: what was confirmed is there, and its rows come back."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import sqlalchemy as sa
from pydicom import dcmread

from dicomnode.config import Settings
from dicomnode.tracking import findings
from dicomnode.tracking.schema import instances
from tests.factories import make_series
from tests.hostile.raw_sender import associated, send
from tests.integration.scp.receiving import (
    Node,
    data_set_bytes,
    dcmtk_environment,
    needs_dcmtk,
    running,
    storescu,
    storescu_command,
    wait_until,
)

pytestmark = [pytest.mark.peer, needs_dcmtk]


def confirmed(output: str) -> list[Path]:
    """The files for which storescu -v saw a success."""
    found, sending = [], None
    for line in output.splitlines():
        if match := re.search(r"Sending file: (.*)", line):
            sending = Path(match[1].strip())
        elif "Received Store Response (Success)" in line and sending is not None:
            found.append(sending)
    return found


def names(node: Node) -> set[str]:
    database = node.database
    with database.read() as connection:
        rows = set(connection.scalars(sa.select(instances.c.name)))
    database.close()
    return rows


def is_being_sent(node: Node, path: Path) -> bool:
    """What the gate holds by, for the series of this object."""
    study = str(dcmread(path, specific_tags=["StudyInstanceUID"]).StudyInstanceUID)
    database = node.database
    with database.read() as connection:
        (found,) = findings.verdicts_of_study(connection, study)
    database.close()
    return found.is_being_sent


@pytest.mark.parametrize("after", [3, 17, 40])
def test_every_confirmed_instance_is_there_and_gets_its_row(
    make_settings: Callable[..., Settings], tmp_path: Path, after: int
) -> None:
    settings = make_settings()
    sent = make_series(tmp_path / "made", slices=120, rows=128, columns=128)
    with running(settings, tmp_path / "node") as node:
        sender = subprocess.Popen(
            storescu_command(node, *sent),
            env=dcmtk_environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        wait_until(lambda: len(node.objects()) >= after)
        node.kill()
        output, _ = sender.communicate(timeout=60)
        assert is_being_sent(node, sent[0])
    told = confirmed(output)
    assert len(told) >= after - 2
    assert len(told) < len(sent), "it was killed too late to show anything"
    with running(settings, tmp_path / "node") as again:
        stored = {
            str(dcmread(p, specific_tags=["SOPInstanceUID"]).SOPInstanceUID): p
            for p in again.objects()
        }
        for path in told:
            uid = str(dcmread(path, specific_tags=["SOPInstanceUID"]).SOPInstanceUID)
            assert data_set_bytes(stored[uid]) == data_set_bytes(path)
        on_disk = {f"{path.parent.name}/{path.name}" for path in again.objects()}
        wait_until(lambda: names(again) == on_disk)
        # The sender begins again; what is there already is a duplicate and no error.
        assert storescu(again, *sent).returncode == 0
        assert {data_set_bytes(p) for p in again.objects()} == {data_set_bytes(p) for p in sent}
        wait_until(lambda: len(names(again)) == len(sent))


def test_a_receiving_process_that_dies_is_replaced(
    make_settings: Callable[..., Settings], tmp_path: Path
) -> None:
    settings = make_settings(scp={"processes": 2})
    sent = make_series(tmp_path / "made", slices=6)
    with running(settings, tmp_path / "node") as node:
        first = receivers(node)
        assert len(first) == 2
        for victim in first:
            os.kill(victim, signal.SIGKILL)
        wait_until(lambda: len(receivers(node) - first) == 2, 40)
        time.sleep(0.5)
        assert storescu(node, *sent).returncode == 0
        assert len(node.objects()) == 6
        children = receivers(node)
        assert node.stop() == 0
    wait_until(lambda: not any(alive(child) for child in children))


def test_what_a_killed_process_left_is_indexed_and_settled_while_the_node_runs(
    make_settings: Callable[..., Settings], tmp_path: Path
) -> None:
    (image,) = make_series(tmp_path / "made", slices=1)
    uid = str(dcmread(image, specific_tags=["SOPInstanceUID"]).SOPInstanceUID)
    with running(make_settings(scp={"processes": 2}), tmp_path / "node") as node:
        with associated(node.settings.scp.port) as association:
            assert send(association, data_set_bytes(image), sop_instance_uid=uid).status == 0
            wait_until(lambda: len(node.rows()) == 1)
            assert is_being_sent(node, image)
            for victim in receivers(node):
                os.kill(victim, signal.SIGKILL)
        assert is_being_sent(node, image)
        wait_until(lambda: not is_being_sent(node, image), 50)


def test_children_stop_when_their_parent_is_killed(
    make_settings: Callable[..., Settings], tmp_path: Path
) -> None:
    with running(make_settings(scp={"processes": 2}), tmp_path / "node") as node:
        children = receivers(node)
        node.kill()
        wait_until(lambda: not any(alive(child) for child in children), 30)


def receivers(node: Node) -> set[int]:
    """The spawned children that receive (not multiprocessing's resource tracker)."""
    main = node.process.pid
    threads = Path(f"/proc/{main}/task").iterdir()
    pids = {int(pid) for thread in threads for pid in (thread / "children").read_text().split()}
    return {pid for pid in pids if alive(pid) and "spawn_main" in command_line(pid)}


def command_line(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return ""


def alive(pid: int) -> bool:
    return bool(command_line(pid))
