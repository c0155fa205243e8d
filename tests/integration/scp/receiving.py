"""A receiving node in its own process, and the peers that send to it."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from dicomnode.config import Settings
from dicomnode.tracking.database import Database
from dicomnode.tracking.spool import Spool

STORESCU, ECHOSCU = "/usr/bin/storescu", "/usr/bin/echoscu"
_MAIN = """
import logging, signal, sys, threading
from dicomnode.config import Settings
from dicomnode.scp.server import serve

def main():
    logging.basicConfig(level=logging.INFO, stream=sys.stderr)
    settings = Settings.model_validate_json(sys.argv[1])
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    serve(settings, ready=lambda: print("ready", flush=True), stop=stop)

if __name__ == "__main__":
    main()
"""

needs_dcmtk = pytest.mark.skipif(
    not (Path(STORESCU).is_file() and Path(ECHOSCU).is_file()),
    reason="dcmtk's storescu and echoscu aren't installed (Debian: dcmtk)",
)


@dataclass
class Node:
    """A running receiver; `log` grows while it runs."""

    settings: Settings
    process: subprocess.Popen[str]
    log: Path

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
        return [self.spool.path(name) for names in self.spool.names() for name in names]

    def kill(self) -> None:
        os.kill(self.process.pid, signal.SIGKILL)
        self.process.wait(20)

    def stop(self) -> int:
        self.process.terminate()
        return self.process.wait(40)


@contextmanager
def running(settings: Settings, folder: Path) -> Iterator[Node]:
    folder.mkdir(exist_ok=True)
    script, log = folder / "receive.py", folder / "receive.log"
    script.write_text(_MAIN, encoding="utf-8")
    with log.open("a", encoding="utf-8") as errors:
        process = subprocess.Popen(
            [sys.executable, str(script), settings.model_dump_json()],
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        )
    node = Node(settings, process, log)
    try:
        assert process.stdout is not None
        assert process.stdout.readline().strip() == "ready", log.read_text()
        yield node
    finally:
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(40)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(10)
        if process.stdout is not None:
            process.stdout.close()


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


def open_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
