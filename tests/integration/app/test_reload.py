"""SIGHUP: a running role takes a new configuration, and no association is lost over it."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydicom import dcmread

from dicomnode.config import load
from dicomnode.tracking.spool import Spool
from tests.e2e.site import wait_until
from tests.factories import make_series
from tests.hostile.raw_sender import Answer, associated, send
from tests.integration.scp.receiving import (
    ECHOSCU,
    STORESCU,
    data_set_bytes,
    dcmtk_environment,
    needs_dcmtk,
)
from tests.ports import free_ports


@dataclass
class Role:
    """One command that runs until it is stopped, its configuration, and its log."""

    config: Path
    log: Path
    process: subprocess.Popen[bytes]
    base: str
    port: int

    def events(self, event: str) -> list[dict[str, Any]]:
        lines = self.log.read_text(errors="replace").splitlines()
        logged = [json.loads(line) for line in lines if line.startswith("{")]
        return [one for one in logged if one["event"].startswith(event)]

    def reload(self, extra: str, *, expect: str = "configuration reloaded") -> dict[str, Any]:
        """With `extra` in the file; returns the event that says what became of it."""
        before = len(self.events(expect))
        self.config.write_text(self.base + extra)
        self.process.send_signal(signal.SIGHUP)
        wait_until(expect, lambda: len(self.events(expect)) > before, 30, self.log)
        return self.events(expect)[-1]


@contextmanager
def running(folder: Path, role: str, section: str, extra: str = "") -> Iterator[Role]:
    """`section` is the last one of the file, and `extra` its further lines."""
    port, web_port = free_ports(2)
    base = (
        f'[node]\ndata_folder = "{folder / "data"}"\n'
        f"[web]\nport = {web_port}\n@web@\n"
        f"[scp]\nport = {port}\nminimum_free_bytes = 0\n@scp@\n"
    )
    base = base.replace(f"@{section}@", "@here@").replace("@web@", "").replace("@scp@", "")
    config, log = folder / "config.toml", folder / "role.log"
    head, _, tail = base.partition("@here@")
    made = Role(config, log, None, head, web_port if section == "web" else port)  # type: ignore[arg-type]
    if section == "web":  # so that what is added stands at the end of the file
        made.base = tail + head
    config.write_text(made.base + extra)
    with log.open("ab") as output:
        command = [sys.executable, "-m", "dicomnode.cli", role, "--config", str(config)]
        made.process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)
    begun = {"scp": "receiving", "web": "answering"}[role]
    try:
        wait_until(f"{role} runs", lambda: made.events(begun), 60, log)
        yield made
    finally:
        made.process.terminate()
        assert made.process.wait(40) == 0


def answer(association: Any, path: Path) -> Answer:
    uid = str(dcmread(path, stop_before_pixels=True).SOPInstanceUID)
    return send(association, data_set_bytes(path), sop_instance_uid=uid)


@pytest.mark.parametrize("processes", [1, 2])
def test_an_open_association_goes_on_and_the_next_one_meets_the_new_rules(
    tmp_path: Path, processes: int
) -> None:
    first, second = make_series(tmp_path / "made", slices=2)
    several = f"processes = {processes}\n"
    with running(tmp_path, "scp", "scp", several) as role:
        with associated(role.port) as association:
            assert answer(association, first).status == 0x0000
            told = role.reload(f'{several}allowed_calling_ae_titles = ["CT1"]\n')
            assert told["changed"] == ["scp.allowed_calling_ae_titles"]

            def is_closed_to_others() -> bool:
                with associated(role.port) as another:
                    return not another.is_established

            wait_until("the new rules hold", is_closed_to_others, 20, role.log)
            assert answer(association, second).status == 0x0000
            assert association.is_established
        role.reload(f'{several}allowed_calling_ae_titles = ["HOSTILE"]\n')

        def is_open_again() -> bool:
            with associated(role.port) as another:
                return bool(another.is_established)

        wait_until("it is let in again", is_open_again, 20, role.log)


def test_a_wrong_file_changes_nothing_and_says_why_and_what_needs_a_restart_is_named(
    tmp_path: Path,
) -> None:
    with running(tmp_path, "scp", "scp") as role:
        told = role.reload("prot = 104\n", expect="configuration not reloaded")
        assert "scp.prot: unknown key" in told["event"]
        with associated(role.port) as association:
            assert association.is_established
        told = role.reload("processes = 4\nmaximum_associations = 9\n")
        assert told["needs_restart"] == ["scp.processes"]
        assert told["changed"] == ["scp.maximum_associations"]
        with associated(role.port) as association:
            assert association.is_established


@pytest.mark.peer
@needs_dcmtk
def test_dcmtk_sends_while_the_configuration_is_read_again_and_again(tmp_path: Path) -> None:
    images = make_series(tmp_path / "made", slices=150)
    with running(tmp_path, "scp", "scp") as role:
        where = ["-aec", "DICOMNODE", "127.0.0.1", str(role.port)]

        def sending() -> list[subprocess.Popen[bytes]]:
            # +v would stop at the first failure, so the exit code tells of every object.
            return [
                subprocess.Popen(
                    [STORESCU, *where, *map(str, images[start::3])],
                    env=dcmtk_environment(),
                    stderr=subprocess.DEVNULL,
                )
                for start in range(3)
            ]

        senders, rounds, meanwhile = sending(), 0, 0
        while meanwhile < 3:
            rounds += 1
            role.reload(f"maximum_associations = {10 + rounds}\n")
            if any(sender.poll() is None for sender in senders):
                meanwhile += 1
            else:  # they were quicker: what they send again is there already
                assert [sender.returncode for sender in senders] == [0, 0, 0]
                senders = sending()
            echo = subprocess.run([ECHOSCU, *where], timeout=30, check=False)
            assert echo.returncode == 0
        assert [sender.wait(60) for sender in senders] == [0, 0, 0]
        spool = Spool(load(role.config).spool_folder)
        stored = {data_set_bytes(spool.path(name)) for names in spool.names() for name in names}
        assert stored == {data_set_bytes(path) for path in images}


def test_the_http_role_takes_a_new_token(tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("old-token")
    token.chmod(0o600)
    line = f'token_file = "{token}"\n'

    def status(given: str) -> int:
        headers = {"Authorization": f"Bearer {given}"}
        return httpx.get(f"http://127.0.0.1:{role.port}/metrics", headers=headers).status_code

    with running(tmp_path, "web", "web", line) as role:
        assert (status("old-token"), status("new-token")) == (200, 401)
        token.write_text("new-token")
        role.reload(line + "maximum_request_bytes = 1000000\n")
        assert (status("old-token"), status("new-token")) == (401, 200)
        token.unlink()
        told = role.reload(line, expect="configuration not reloaded")
        assert "web.token_file" in told["event"]
        assert status("new-token") == 200
