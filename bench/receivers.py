"""The programs that receive, each alone on a port of the loopback interface, and stopped after."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.raw_association import echo
from dicomnode.config import Settings
from dicomnode.tracking.spool import Spool
from tests.e2e.site import free_ports

ROOT = Path(__file__).resolve().parents[1]
STORESCP = "/usr/bin/storescp"
# Nagle's algorithm against delayed acknowledgements would cost dcmtk, and Orthanc, whose DICOM it
# is, 40 ms an object.
DCMTK_ENVIRONMENT = {**os.environ, "TCP_NODELAY": "1"}


@dataclass(frozen=True)
class Receiver:
    """`stored()`: how many objects it holds."""

    name: str
    port: int
    process: subprocess.Popen[bytes]
    stored: Callable[[], int]


@contextmanager
def node(folder: Path) -> Iterator[Receiver]:
    """`dicomnode scp` with its defaults, on SQLite."""
    (port,) = free_ports(1)
    folder.mkdir(parents=True, exist_ok=True)
    data, config = folder / "data", folder / "config.toml"
    text = f'[node]\ndata_folder = "{data}"\n[scp]\nport = {port}\nminimum_free_bytes = 0\n'
    config.write_text(text, encoding="utf-8")
    spool = Spool(Settings.model_validate({"node": {"data_folder": data}}).spool_folder)
    command = [sys.executable, "-m", "dicomnode.cli", "scp", "--config", str(config)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with running(command, folder / "log", port, environment) as process:
        yield Receiver(
            "dicomnode", port, process, lambda: sum(len(names) for names in spool.names())
        )


@contextmanager
def storescp(folder: Path) -> Iterator[Receiver]:
    """dcmtk: a process an association, objects written as they came, nothing synced."""
    (port,) = free_ports(1)
    objects = folder / "objects"
    objects.mkdir(parents=True)
    command = [STORESCP, "--fork", "+B", "-pdu", "131072", "-aet", "DICOMNODE"]
    command += ["-od", str(objects), str(port)]
    with running(command, folder / "log", port, DCMTK_ENVIRONMENT) as process:
        yield Receiver("storescp", port, process, lambda: len(list(objects.iterdir())))


@contextmanager
def orthanc(folder: Path) -> Iterator[Receiver]:
    """Orthanc with SQLite and its own durability (SyncStorageArea)."""
    http, port = free_ports(2)
    folder.mkdir(parents=True)
    configuration = {
        "StorageDirectory": str(folder / "store"),
        "IndexDirectory": str(folder / "store"),
        "HttpPort": http,
        "HttpBindAddresses": ["127.0.0.1"],
        "DicomPort": port,
        "DicomAet": "DICOMNODE",
        "DicomAlwaysAllowStore": True,
        "MaximumPduLength": 131072,
        "RemoteAccessAllowed": False,
        "AuthenticationEnabled": False,
        "Plugins": [],
    }
    (folder / "orthanc.json").write_text(json.dumps(configuration), encoding="utf-8")

    def stored() -> int:
        with urllib.request.urlopen(f"http://127.0.0.1:{http}/statistics", timeout=60) as page:
            return int(json.load(page)["CountInstances"])

    command = ["Orthanc", str(folder / "orthanc.json")]
    with running(command, folder / "log", port, DCMTK_ENVIRONMENT) as process:
        yield Receiver("Orthanc", port, process, stored)


@contextmanager
def running(
    command: Sequence[str], log: Path, port: int, environment: Mapping[str, str]
) -> Iterator[subprocess.Popen[bytes]]:
    """A program from its first successful C-ECHO on."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, env=environment, cwd=log.parent, stdout=output, stderr=subprocess.STDOUT
        )
    try:
        wait_for_echo(process, port, log)
        yield process
    finally:
        process.terminate()
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(10)


def wait_for_echo(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    deadline = time.monotonic() + 60
    while True:
        try:
            return echo(port)
        except OSError as error:
            if process.poll() is not None or time.monotonic() > deadline:
                said = log.read_text(errors="replace")[-2000:]
                raise SystemExit(f"{process.args!r} answers no C-ECHO ({error}): {said}") from error
        time.sleep(0.005)
