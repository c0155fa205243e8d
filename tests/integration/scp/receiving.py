"""A receiving node in its own process, and the peers that send to it."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from pynetdicom.ae import ApplicationEntity

from dicomnode.config import Settings
from dicomnode.errors import ConfigurationError
from dicomnode.scp import process as receiving_process
from dicomnode.tracking import audit, deliveries, examinations, quarantine, series
from dicomnode.tracking import instances as rows
from dicomnode.tracking.audit import AuditEvent
from dicomnode.tracking.database import Database
from dicomnode.tracking.quarantine import QuarantinedObject
from dicomnode.tracking.schema import instances
from dicomnode.tracking.spool import Spool
from tests.served import Served
from tests.unit.tracking.rows import examined, instance

STORESCU, ECHOSCU = "/usr/bin/storescu", "/usr/bin/echoscu"
needs_dcmtk = pytest.mark.skipif(
    not (Path(STORESCU).is_file() and Path(ECHOSCU).is_file()),
    reason="dcmtk's storescu and echoscu aren't installed (Debian: dcmtk)",
)


UNUSABLE_TITLE = "UNUSABLE"


def refuse_a_title() -> None:
    """For a child that can't use new settings: those with that title."""
    make = receiving_process._entity

    def refusing(settings: Settings) -> ApplicationEntity:
        if settings.scp.ae_title == UNUSABLE_TITLE:
            raise ConfigurationError("a title that can't be used")
        return make(settings)

    receiving_process._entity = refusing


@dataclass
class Node:
    """A running receiver; `log` grows while it runs."""

    settings: Settings
    process: Served
    log: Path
    earlier: frozenset[Path] = frozenset()
    earlier_quarantined: frozenset[str] = frozenset()
    earlier_events: int = 0

    def mark(self) -> Node:
        """The same node, which tells only what came since now.

        Rows follow answers: those of the test before may still be on their way.
        """
        before = -1
        while before != (now := len(self._all_events()) + len(self._quarantine_names())):
            before = now
            time.sleep(0.1)
        return replace(
            self,
            earlier=frozenset(self.objects()) | self.earlier,
            earlier_quarantined=frozenset(self._quarantine_names()),
            earlier_events=len(self._all_events()),
        )

    @property
    def address(self) -> tuple[str, str]:
        return "127.0.0.1", str(self.settings.scp.port)

    @property
    def spool(self) -> Spool:
        return Spool(self.settings.spool_folder)

    @property
    def database(self) -> Database:
        return Database(self.settings.database_url)

    def objects(self) -> list[Path]:
        paths = (self.spool.path(name) for names in self.spool.names() for name in names)
        return [path for path in paths if path not in self.earlier]

    def quarantined(self) -> list[QuarantinedObject]:
        """The rows, newest first."""
        with self._reading() as connection:
            found = quarantine.newest(connection)
        return [one for one in found if one.name not in self.earlier_quarantined]

    def events(self, event: str) -> list[AuditEvent]:
        """The audit events of this name, newest first."""
        found = self._all_events()
        return [one for one in found[: len(found) - self.earlier_events] if one.event == event]

    def rows(self) -> set[Path]:
        """The objects that have a row."""
        with self._reading() as connection:
            names = connection.scalars(sa.select(instances.c.name)).all()
        return {self.spool.path(name) for name in names} - self.earlier

    def _all_events(self) -> list[AuditEvent]:
        with self._reading() as connection:
            return audit.newest(connection, limit=100_000)

    def _quarantine_names(self) -> list[str]:
        with self._reading() as connection:
            return [one.name for one in quarantine.newest(connection, limit=100_000)]

    @contextmanager
    def _reading(self) -> Iterator[sa.Connection]:
        database = self.database
        with database.read() as connection:
            yield connection
        database.close()

    def kill(self) -> None:
        os.kill(self.process.pid, signal.SIGKILL)
        self.process.wait(20)

    def stop(self) -> int:
        self.process.terminate()
        return self.process.wait(40)


@contextmanager
def running(settings: Settings, folder: Path, role: str = "dicomnode.scp.server") -> Iterator[Node]:
    """`role`: the module whose `serve` runs."""
    folder.mkdir(exist_ok=True)
    log = folder / "receive.log"
    process = Served(settings, role, log)
    try:
        assert process.is_ready(), log.read_text()
        yield Node(settings, process, log)
    finally:
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(40)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(10)


def storescu(
    node: Node, *paths: Path, options: tuple[str, ...] = (), timeout_seconds: float = 60
) -> subprocess.CompletedProcess[str]:
    """Send with dcmtk, exactly as the files are encoded, and tell every response."""
    return subprocess.run(
        storescu_command(node, *paths, options=options),
        env=dcmtk_environment(),
        capture_output=True,
        text=True,
        timeout=timeout_seconds,
        check=False,
    )


def storescu_command(node: Node, *paths: Path, options: tuple[str, ...] = ()) -> list[str]:
    title = ("-aec", node.settings.scp.ae_title)
    return [STORESCU, "-v", *title, *options, *node.address, *(str(path) for path in paths)]


def dcmtk_environment() -> Mapping[str, str]:
    return {**os.environ, "TCP_NODELAY": "1"}


def data_set_bytes(path: Path) -> bytes:
    """What follows the file meta information."""
    content = path.read_bytes()
    return content[144 + int.from_bytes(content[140:144], "little") :]


def queue_delivery(c: sa.Connection, spool: Spool) -> int:
    """A delivery of a SEG to "pacs", of a series that is not like any other here."""
    rows.add(c, [instance(1)])
    series_id = c.scalar(sa.text("SELECT max(id) FROM series"))
    revision = series.add_revision(c, series_id, spool, datetime.now(UTC))
    assert revision is not None
    examination_id = examinations.record(c, revision.id, examined(revision))
    (delivery_id,) = deliveries.add(c, examination_id, "pacs")
    return delivery_id


def wait_until(done: Callable[[], Any], seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.05)


def dcmtk(program: str) -> str:
    found = shutil.which(program, path="/usr/bin")
    if found is None:
        pytest.skip(f"{program} isn't installed (Debian: dcmtk)")
    return found


def shared_settings(folder: Path, **scp: Any) -> Settings:
    """For a node that several tests share."""
    scp = {"port": open_port(), "minimum_free_bytes": 0} | scp
    return Settings(node={"data_folder": folder / "data"}, scp=scp)  # type: ignore[arg-type]


def open_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
