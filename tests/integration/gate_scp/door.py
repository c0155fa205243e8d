"""The gate as `dicomnode gate serve` runs it, with dcmtk's storescp as the research archive."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dicomnode.config import Settings, load
from dicomnode.gate import keys
from dicomnode.inference.examiner import installed_examiner
from dicomnode.tracking import decisions, exports, held
from dicomnode.tracking.database import Database
from dicomnode.tracking.decisions import DecisionKind
from dicomnode.tracking.exports import ExportedStudy
from dicomnode.tracking.held import HeldObject, HeldState
from dicomnode.tracking.spool import Spool
from tests.e2e.site import wait_until
from tests.ports import free_ports
from tests.unit.gate.released import Study, received_study
from tests.unit.tracking.rows import EVIDENCE

STORESCU, STORESCP, FINDSCU = (f"/usr/bin/{name}" for name in ("storescu", "storescp", "findscu"))
EVERY = (HeldState.WAITING, HeldState.CHANGED, HeldState.FORWARDED, HeldState.DISCARDED)


@dataclass
class Site:
    """A node's folder, the gate's port, and what the archive got."""

    folder: Path
    settings: Settings
    database: Database
    archive_port: int

    @property
    def config(self) -> Path:
        return self.folder / "config.toml"

    @property
    def port(self) -> int:
        return self.settings.gate_ae.port

    @property
    def spool(self) -> Spool:
        return Spool(self.settings.spool_folder)

    @property
    def log(self) -> Path:
        return self.folder / "gate.log"

    @property
    def digest(self) -> str:
        return installed_examiner(self.settings).wanted_digest([EVIDENCE.subject])

    def study(self, name: str, **options: Any) -> Study:
        made = self.folder / "made"
        return received_study(self.database, self.spool, made, name, self.digest, **options)

    def archived(self) -> list[Path]:
        return sorted((self.folder / "archive").iterdir())

    def ledger(self, study: Study) -> list[ExportedStudy]:
        with self.database.read() as connection:
            return exports.newest(connection, study_instance_uid=study.uid)

    def held(self, study: Study) -> list[HeldObject]:
        with self.database.read() as connection:
            found = held.newest(connection, 1000, states=EVERY)
        return [one for one in found if one.file.study_instance_uid == study.uid]

    def say(self, series_uid: str, kind: DecisionKind) -> None:
        with self.database.begin() as connection:
            decisions.record(connection, series_uid, kind, account="anna", note="looked")


@contextmanager
def site(folder: Path, look_again_seconds: float = 0.5, database_url: str = "") -> Iterator[Site]:
    gate_port, archive_port, scp_port = free_ports(3)
    folder.mkdir(exist_ok=True)
    keys.generate(folder / "key")
    (folder / "config.toml").write_text(
        f"""
[node]
data_folder = "{folder / "data"}"
[database]
url = "{database_url}"
[scp]
port = {scp_port}
minimum_free_bytes = 0
[gate]
key_file = "{folder / "key"}"
[projects.cohort-7]
[gate_ae]
enabled = true
port = {gate_port}
allowed_calling_ae_titles = ["DESK"]
maximum_answers = 3
look_again_seconds = {look_again_seconds}
[[gate_ae.titles]]
ae_title = "RESEARCH7"
project = "cohort-7"
archive = "research"
[[archives]]
name = "research"
ae_title = "RESEARCH"
host = "127.0.0.1"
port = {archive_port}
timeout_seconds = 5.0
"""
    )
    settings = load(folder / "config.toml")
    database = Database(settings.database_url)
    database.migrate()
    Spool(settings.spool_folder).prepare()
    (folder / "archive").mkdir()
    yield Site(folder, settings, database, archive_port)
    database.close()


@contextmanager
def running_gate(at: Site) -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, "-m", "dicomnode.cli", "gate", "serve", "--config", str(at.config)]
    with at.log.open("ab") as output:
        began = at.log.stat().st_size
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)
    is_open = lambda: b"the gate is open" in at.log.read_bytes()[began:]  # noqa: E731
    try:
        wait_until("the gate is open", is_open, 60, at.log)
        yield process
    finally:
        if process.poll() is None:
            process.terminate()
            process.wait(40)


@contextmanager
def running_archive(at: Site) -> Iterator[None]:
    """Writes what it gets byte for byte."""
    command = [STORESCP, "-v", "-B", "-aet", "RESEARCH", "-od", str(at.folder / "archive")]
    log = at.folder / "archive.log"
    with log.open("ab") as output:
        process = subprocess.Popen(
            [*command, str(at.archive_port)], stdout=output, stderr=subprocess.STDOUT
        )
    try:
        wait_until("the archive listens", lambda: listens(at.archive_port), 20, log)
        yield
    finally:
        process.terminate()
        process.wait(20)


def listens(port: int) -> bool:
    return f":{port:04X} " in Path("/proc/net/tcp").read_text()


def send(
    at: Site, files: Sequence[Path], called: str = "RESEARCH7", calling: str = "DESK"
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [STORESCU, "-v", "-aet", calling, "-aec", called, "-R", "127.0.0.1", str(at.port),
         *map(str, files)],
        capture_output=True,
        text=True,
        timeout=120,
        env=os.environ | {"TCP_NODELAY": "1"},
    )  # fmt: skip


def find(at: Site, *keys: str) -> subprocess.CompletedProcess[str]:
    command = [FINDSCU, "-S", "-v", "-aet", "DESK", "-aec", "RESEARCH7"]
    options = [option for key in keys for option in ("-k", key)]
    return subprocess.run(
        [*command, *options, "127.0.0.1", str(at.port)], capture_output=True, text=True, timeout=60
    )


def statuses(sent: subprocess.CompletedProcess[str]) -> list[str]:
    """What storescu says of each response."""
    lines = (sent.stdout + sent.stderr).splitlines()
    return [line.partition("Store Response ")[2] for line in lines if "Store Response" in line]


Happened = Callable[[], Any]
