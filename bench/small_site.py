"""A site on loopback for `kill.py` and `leak.py`: a PACS, a scanner that never tires, the node."""

from __future__ import annotations

import hashlib
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydicom import dcmread
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, MRImageStorage, SegmentationStorage
from pynetdicom import AE, evt

from tests.factories import make_series
from tests.ports import free_ports

SMALL_ROLES = (sys.executable, str(Path(__file__).with_name("small_roles.py")))
SLICES = 8
CONFIG = """
node.data_folder = "{data}"
node.log_level = "WARNING"
database.url = "{url}"
scp.port = {port}
scp.minimum_free_bytes = 0
web.enabled = true
web.port = {web_port}
completeness = {{ quiet_seconds = 20.0, shortest_quiet_seconds = 20.0, poll_seconds = 0.3 }}
jobs = {{ poll_seconds = 0.2, maximum_attempts = 1000, examination_attempts = 1000, \
examination_pause_seconds = 1.0 }}
delivery = {{ first_retry_seconds = 0.5, longest_retry_seconds = 2.0 }}
[[destinations]]
name = "pacs"
ae_title = "PACS"
host = "127.0.0.1"
port = {pacs_port}
"""


@dataclass(frozen=True)
class Site:
    """Where everything lies, and the ports of receiver and PACS."""

    config: Path
    data: Path
    log: Path
    port: int
    pacs_port: int


def make_site(folder: Path, url: str = "") -> Site:
    """Writes the node's configuration."""
    port, web_port, pacs_port = free_ports(3)
    data, config = folder / "data", folder / "config.toml"
    ports = {"port": port, "web_port": web_port, "pacs_port": pacs_port}
    config.write_text(CONFIG.format(data=data, url=url, **ports))
    return Site(config, data, folder / "log", port, pacs_port)


@dataclass
class Pacs:
    """Keeps what it got: by SOP Instance UID the digests of all that came under it."""

    got: dict[str, Counter[str]] = field(default_factory=dict)

    def store(self, event: evt.Event) -> int:
        request: Any = event.request
        digest = hashlib.sha256(request.DataSet.getvalue()).hexdigest()
        uid = str(request.AffectedSOPInstanceUID)
        self.got.setdefault(uid, Counter())[digest] += 1
        return 0x0000


@contextmanager
def running_pacs(port: int) -> Iterator[Pacs]:
    pacs, entity = Pacs(), AE(ae_title="PACS")
    entity.add_supported_context(SegmentationStorage, ExplicitVRLittleEndian)
    server = entity.start_server(
        ("127.0.0.1", port), block=False, evt_handlers=[(evt.EVT_C_STORE, pacs.store)]
    )
    assert server is not None
    try:
        yield pacs
    finally:
        server.shutdown()


@dataclass
class Sender:
    """Sends series until it is told to end; a series that was begun is brought to its end."""

    folder: Path
    port: int
    acknowledged: dict[str, Path] = field(default_factory=dict)
    series: int = 0
    stop: threading.Event = field(default_factory=threading.Event)

    def run(self, pause_seconds: Callable[[], float]) -> None:
        while not self.stop.is_set():
            name = f"series{self.series}"
            files = make_series(
                self.folder / name, slices=SLICES, series=name, study=name, modality="MR"
            )
            self.series += 1
            left = list(files)
            while left:
                left = self._send(left)
                if left:
                    time.sleep(0.3)
            self.stop.wait(pause_seconds())

    def _send(self, files: Sequence[Path]) -> list[Path]:
        """Those that were not acknowledged with 0x0000."""
        entity = AE(ae_title="SCANNER")
        entity.acse_timeout = entity.dimse_timeout = entity.network_timeout = 10
        for sop_class in (CTImageStorage, MRImageStorage):
            entity.add_requested_context(sop_class, ExplicitVRLittleEndian)
        association = entity.associate("127.0.0.1", self.port, ae_title="DICOMNODE")
        left = list(files)
        for path in files:
            if not association.is_established:
                break
            data_set = dcmread(path)
            try:
                status = association.send_c_store(data_set)
            except (RuntimeError, ValueError):
                break
            if status and status.Status == 0x0000:
                self.acknowledged[str(data_set.SOPInstanceUID)] = path
                left.remove(path)
        if association.is_established:
            association.release()
        return left


@contextmanager
def running_node(
    config: Path, log: Path, program: Sequence[str] = SMALL_ROLES
) -> Iterator[Callable[[], int]]:
    """`serve`, started again when it dies; yields what gives its process id."""
    stop, process = threading.Event(), [_serve(config, log, program)]

    def keep() -> None:
        while not stop.wait(0.2):
            if process[0].poll() is not None:
                process[0] = _serve(config, log, program)

    keeper = threading.Thread(target=keep)
    keeper.start()
    try:
        yield lambda: process[0].pid
    finally:
        stop.set()
        keeper.join()
        process[0].send_signal(signal.SIGTERM)
        process[0].wait(timeout=60)


def _serve(config: Path, log: Path, program: Sequence[str]) -> subprocess.Popen[bytes]:
    with log.open("ab") as output:
        return subprocess.Popen(
            [*program, "serve", "--config", str(config)],
            stdout=output,
            stderr=subprocess.STDOUT,
        )
