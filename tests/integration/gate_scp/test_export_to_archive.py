"""`dicomnode export --to ARCHIVE` with dcmtk's storescp, and the gate as a role of `serve`."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from dicomnode.tracking.exports import ExportState
from tests.command_line import dicomnode
from tests.e2e.site import wait_until
from tests.integration.gate_scp.door import STORESCP, Site, running_archive, site
from tests.integration.scp.receiving import data_set_bytes
from tests.unit.gate.released import Study

ECHOSCU = "/usr/bin/echoscu"
pytestmark = [
    pytest.mark.peer,
    pytest.mark.skipif(not Path(STORESCP).is_file(), reason="dcmtk isn't installed"),
]


def arguments(at: Site, *studies: Study) -> list[str]:
    listed = at.folder / "studies.txt"
    listed.write_text("".join(f"{study.uid}\n" for study in studies))
    to = ["--project", "cohort-7", "--to", "research", "--studies", str(listed), "--json"]
    return ["export", *to, "--by", "anna", "--config", str(at.config)]


def test_an_export_to_an_archive_goes_on_after_a_kill(tmp_path: Path) -> None:
    with site(tmp_path / "site") as at:
        study = at.study("killed", slices=50, rows=128, columns=128)
        away = dicomnode(*arguments(at, study))
        assert (away.returncode, "does not accept connections" in away.stdout) == (1, True)
        with running_archive(at):
            process = subprocess.Popen(
                [sys.executable, "-m", "dicomnode.cli", *arguments(at, study)],
                stdout=subprocess.DEVNULL,
            )
            wait_until("some of it left", lambda: len(at.archived()) >= 5, 60)
            process.send_signal(signal.SIGKILL)
            process.wait(20)
            (row,) = at.ledger(study)
            assert row.state is ExportState.LEAVING
            assert 4 <= row.left_count < 50
            done = dicomnode(*arguments(at, study))
            (told, summary) = map(json.loads, done.stdout.splitlines())
            assert (done.returncode, told["instances"]) == (0, 50 - row.left_count)
            assert summary["instances"] == told["instances"]
        assert {data_set_bytes(path) for path in at.archived()} == {
            data_set_bytes(path) for path in study.files
        }
        log = (at.folder / "archive.log").read_text()
        assert log.count("Received Store Request") <= 51
        (row,) = at.ledger(study)
        assert (row.state, row.left_count, row.account) == (ExportState.LEFT, 50, "anna")


def test_serve_opens_the_gate_where_it_is_enabled(tmp_path: Path) -> None:
    with site(tmp_path / "site") as at, (at.folder / "serve.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "dicomnode.cli", "serve", "--config", str(at.config)],
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        try:
            ready = lambda: b"the gate at" in (at.folder / "serve.log").read_bytes()  # noqa: E731
            wait_until("the node listens", ready, 90, at.folder / "serve.log")
            echo = [ECHOSCU, "-aet", "DESK", "-aec", "RESEARCH7", "127.0.0.1", str(at.port)]
            assert subprocess.run(echo, timeout=30).returncode == 0
        finally:
            process.terminate()
            process.wait(60)
