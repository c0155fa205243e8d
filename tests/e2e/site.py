"""A whole site on loopback: Orthanc as the PACS, and the node as `dicomnode serve` runs it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dicomnode.domain import OPEN_DELIVERIES
from tests import command_line
from tests.ports import free_ports

# By its whole path: pynetdicom puts a program of the same name into the virtual environment.
STORESCU = "/usr/bin/storescu"


def wait_until(what: str, happened: Any, seconds: float, log: Path | None = None) -> Any:
    """Poll until `happened()` is true and return it; fails with the end of the log."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if result := happened():
            return result
        time.sleep(0.3)
    tail = log.read_text(errors="replace")[-3000:] if log is not None and log.exists() else ""
    raise AssertionError(f"not within {seconds:.0f} s: {what}\n{tail}")


@dataclass(frozen=True)
class Orthanc:
    """A real PACS with an empty store."""

    http_port: int
    dicom_port: int

    def get(self, path: str) -> bytes:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.http_port}{path}", timeout=20) as page:
            return bytes(page.read())

    def answers(self) -> bool:
        try:
            return bool(self.get("/system"))
        except OSError:
            return False

    def seg_series(self) -> list[dict[str, Any]]:
        every = json.loads(self.get("/series?expand"))
        return [item for item in every if item["MainDicomTags"]["Modality"] == "SEG"]

    def file(self, instance: str) -> bytes:
        return self.get(f"/instances/{instance}/file")


@contextmanager
def running_orthanc(folder: Path, **options: Any) -> Iterator[Orthanc]:
    """`options` are keys of Orthanc's configuration: DicomModalities, Plugins ..."""
    http_port, dicom_port = free_ports(2)
    folder.mkdir(parents=True, exist_ok=True)
    configuration = {
        "Name": "test",
        "StorageDirectory": str(folder / "store"),
        "IndexDirectory": str(folder / "store"),
        "HttpPort": http_port,
        "HttpBindAddresses": ["127.0.0.1"],
        "DicomPort": dicom_port,
        "DicomAet": "ORTHANC",
        "DicomAlwaysAllowStore": True,
        "RemoteAccessAllowed": False,
        "AuthenticationEnabled": False,
        "Plugins": [],
    } | options
    (folder / "orthanc.json").write_text(json.dumps(configuration))
    log = folder / "orthanc.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            ["Orthanc", str(folder / "orthanc.json")], stdout=output, stderr=subprocess.STDOUT
        )
    orthanc = Orthanc(http_port, dicom_port)
    try:
        wait_until("Orthanc answers", orthanc.answers, 40, log)
        yield orthanc
    finally:
        process.terminate()
        process.wait(timeout=20)


@dataclass(frozen=True)
class Node:
    """A running node and how to ask it."""

    config: Path
    port: int
    log: Path
    process: subprocess.Popen[bytes]

    def command(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return command_line.dicomnode(*arguments, "--config", str(self.config))

    def status(self) -> list[dict[str, Any]]:
        found = self.command("status", "--json")
        assert found.returncode == 0, found.stderr
        return [item for study in json.loads(found.stdout) for item in study["series"]]

    def settled(self, expected: int) -> list[dict[str, Any]]:
        """The series, once each of them is examined or refused and its SEGs are delivered."""
        found = self.status()
        ended = [
            item
            for item in found
            if item["state"] in ("examined", "refused", "failed")
            and all(delivery["state"] not in OPEN_DELIVERIES for delivery in item["deliveries"])
        ]
        return found if len(ended) == len(found) >= expected else []


def dicomnode(*arguments: str, seconds: float = 250) -> subprocess.CompletedProcess[str]:
    """Run one command of the installed package, as a user would; `seconds` is the longest."""
    return subprocess.run(
        [sys.executable, "-m", "dicomnode.cli", *arguments],
        capture_output=True,
        text=True,
        timeout=seconds,
        env=os.environ | {"COLUMNS": "160"},
    )


@contextmanager
def running_node(
    folder: Path,
    pacs: Orthanc,
    extra: str = "",
    program: Sequence[str] = (sys.executable, "-m", "dicomnode.cli"),
) -> Iterator[Node]:
    (port,) = free_ports(1)
    folder.mkdir(parents=True, exist_ok=True)
    config = folder / "config.toml"
    config.write_text(
        f"""
[node]
data_folder = "{folder / "data"}"
[scp]
port = {port}
minimum_free_bytes = 0
[completeness]
quiet_seconds = 2.0
poll_seconds = 0.3
[jobs]
poll_seconds = 0.2
[[destinations]]
name = "pacs"
ae_title = "ORTHANC"
host = "127.0.0.1"
port = {pacs.dicom_port}
{extra}
"""
    )
    log = folder / "node.log"
    with log.open("ab") as output:
        process = subprocess.Popen(
            [*program, "serve", "--config", str(config)],
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    node = Node(config, port, log, process)
    try:
        wait_until("the node listens", lambda: b"listens as" in log.read_bytes(), 90, log)
        yield node
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(timeout=40)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            raise


def processes(root: int) -> dict[int, str]:
    """The living processes below and with `root`, each with what it is."""
    found, todo = {root: "serve"}, [root]
    while todo:
        pid = todo.pop()
        for child in _children(pid):
            found[child] = _what(child, found[pid])
            todo.append(child)
    return {pid: what for pid, what in found.items() if what}


def _children(pid: int) -> list[int]:
    """Of each of its threads; none where it has ended meanwhile."""
    try:
        tasks = list(Path(f"/proc/{pid}/task").iterdir())
        return [int(child) for task in tasks for child in (task / "children").read_text().split()]
    except OSError:
        return []


def _what(pid: int, parent: str) -> str:
    try:
        words = Path(f"/proc/{pid}/cmdline").read_text().split("\0")
    except OSError:
        return ""
    for role in ("scp", "web", "work"):
        if role in words[1:4]:
            return role
    if any("resource_tracker" in word for word in words):
        return ""
    return f"child of {parent}"


def storescu(port: int, files: Sequence[Path]) -> subprocess.CompletedProcess[str]:
    """dcmtk's sender, for files in uncompressed transfer syntaxes."""
    command = [STORESCU, "-aet", "SCANNER", "-aec", "DICOMNODE", "-R", "127.0.0.1", str(port)]
    return subprocess.run(
        [*command, *map(str, files)],
        capture_output=True,
        text=True,
        timeout=120,
        env=os.environ | {"TCP_NODELAY": "1"},
    )


def dicomweb_plugin() -> str:
    """Orthanc's DICOMweb plugin; empty where Debian's orthanc-dicomweb is not installed."""
    found = sorted(Path("/usr/lib/orthanc").glob("libOrthancDicomWeb.so*"))
    return str(found[0]) if found else ""


def missing_peers() -> str:
    """Why this can't run here, as a sentence; empty when it can."""
    absent = [name for name in ("Orthanc", STORESCU) if shutil.which(name) is None]
    return f"not installed: {', '.join(absent)} (Debian: orthanc, dcmtk)" if absent else ""
