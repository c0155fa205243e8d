"""Two `dicomnode` processes on 127.0.0.1 for the demo: a PACS, and the node that serves it."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from dicomnode.config import DestinationSettings, Settings, load
from dicomnode.delivery.store import echo, send
from dicomnode.errors import DeliveryError, DicomnodeError

PACS_AE_TITLE = "DEMOPACS"

_CONFIG = """\
# Made by `dicomnode demo`.
[node]
data_folder = {data}
[scp]
ae_title = "{ae}"
port = {port}
minimum_free_bytes = 0
[completeness]
quiet_seconds = 2.0
poll_seconds = 0.2
[jobs]
poll_seconds = 0.2
"""
_DESTINATION = """
[[destinations]]
name = "pacs"
ae_title = "{ae}"
host = "127.0.0.1"
port = {port}
"""


@dataclass(frozen=True)
class Process:
    """One `dicomnode` process with its configuration, folder and log."""

    settings: Settings
    config: Path
    log: Path
    command: str


def pacs_and_node(folder: Path) -> tuple[Process, Process]:
    """Their configurations in `folder`; nothing runs yet."""
    pacs_port, node_port = _free_ports(2)
    pacs_text = _CONFIG.format(data=_toml(folder / "pacs"), ae=PACS_AE_TITLE, port=pacs_port)
    node_text = _CONFIG.format(data=_toml(folder / "node"), ae="DICOMNODE", port=node_port)
    node_text += _DESTINATION.format(ae=PACS_AE_TITLE, port=pacs_port)
    return _process(folder, "pacs", pacs_text, "scp"), _process(folder, "node", node_text, "serve")


@contextmanager
def running(process: Process) -> Iterator[Callable[[], None]]:
    """Yields a function that raises `DicomnodeError` once the process has ended."""
    command = [sys.executable, "-m", "dicomnode.cli", process.command]
    with process.log.open("wb") as log:
        child = subprocess.Popen(
            [*command, "--config", str(process.config)], stdout=log, stderr=subprocess.STDOUT
        )

        def is_alive() -> None:
            if child.poll() is not None:
                last = process.log.read_text(errors="replace").strip().splitlines()[-1:]
                raise DicomnodeError(f"`{process.command}` ended: {' '.join(last)}")

        try:
            yield is_alive
        finally:
            child.send_signal(signal.SIGTERM)
            try:
                child.wait(timeout=30)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()


def send_as_a_pacs_does(node: Process, files: Sequence[Path], attempts: int = 5) -> None:
    """A PACS sends again what was not answered; the node takes the same object twice."""
    for attempt in range(1, attempts + 1):
        try:
            send(_destination(node), files, PACS_AE_TITLE)
            return
        except DeliveryError:
            if attempt == attempts:
                raise


def wait_for_echo(process: Process, is_alive: Callable[[], None], seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while True:
        is_alive()
        try:
            return echo(_destination(process), "DEMO")
        except DeliveryError as error:
            if time.monotonic() > deadline:
                raise DicomnodeError(
                    f"{process.settings.scp.ae_title} does not answer; see {process.log}"
                ) from error
            time.sleep(0.2)


def _process(folder: Path, name: str, text: str, command: str) -> Process:
    config = folder / f"{name}.toml"
    config.write_text(text, encoding="utf-8")
    return Process(load(config), config, folder / f"{name}.log", command)


def _toml(path: Path) -> str:
    """A TOML string: a JSON string is one."""
    return json.dumps(str(path), ensure_ascii=False)


def _destination(process: Process) -> DestinationSettings:
    scp = process.settings.scp
    return DestinationSettings(
        name="demo", ae_title=scp.ae_title, host=scp.host, port=scp.port, timeout_seconds=10.0
    )


def _free_ports(count: int) -> list[int]:
    probes = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [probe.getsockname()[1] for probe in probes]
    for probe in probes:
        probe.close()
    return ports
