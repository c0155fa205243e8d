"""What masses of bad connections cost the node: memory, threads, open files, and the others' time.

    python bench/connections.py            # from the root of the repository

Each attack comes from 127.0.0.2 against a node with the default limits, and 127.0.0.1 is served
meanwhile. Figures: docs/security.md.
"""

from __future__ import annotations

import socket
import struct
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import httpx

from dicomnode.config import DestinationSettings
from dicomnode.config_tls import TLSClientSettings
from dicomnode.delivery.store import echo
from dicomnode.tls import client_context
from tests.certificates import Authority
from tests.integration.scp.receiving import Node, running, shared_settings
from tests.integration.web.stow import running_web, web_settings
from tests.ports import free_port

GIBIBYTE = 1 << 30
COUNT = 1000
HALF_A_HELLO = b"\x16\x03\x01\x02\x00\x01"


class Meter:
    """The most that the process had while it was attacked, and how long the others waited."""

    def __init__(self, node: Node) -> None:
        self._process = Path(f"/proc/{node.process.pid}")
        self._before = self._memory_mib()
        self.threads = self.files = 0
        self.growth_mib = self.longest_seconds = 0.0

    def look(self, ask: Callable[[], None]) -> None:
        began = time.monotonic()
        ask()
        self.longest_seconds = max(self.longest_seconds, time.monotonic() - began)
        self.threads = max(self.threads, len(list((self._process / "task").iterdir())))
        self.files = max(self.files, len(list((self._process / "fd").iterdir())))
        self.growth_mib = max(self.growth_mib, self._memory_mib() - self._before)

    def _memory_mib(self) -> float:
        return int((self._process / "statm").read_text().split()[1]) * 4096 / 1024**2

    def tell(self, attack: str, seconds: float) -> None:
        print(
            f"| {attack} | {seconds:.1f} | {self.growth_mib:.0f} | {self.threads} | {self.files} "
            f"| {self.longest_seconds:.2f} |"
        )


def attack(node: Node, what: str, port: int, said: bytes, ask: Callable[[], None]) -> None:
    """`COUNT` connections that say this and stay, as long as the node lets them."""
    ask()
    meter, began = Meter(node), time.monotonic()
    with ExitStack() as held:
        for number in range(COUNT):
            peer = held.enter_context(socket.socket())
            peer.bind(("127.0.0.2", 0))
            with suppress(OSError):
                peer.connect(("127.0.0.1", port))
                peer.sendall(said)
            if number % 50 == 0:
                meter.look(ask)
        meter.look(ask)
    meter.tell(what, time.monotonic() - began)


def churn(node: Node, port: int, ask: Callable[[], None]) -> None:
    ask()
    meter, began = Meter(node), time.monotonic()
    for number in range(COUNT):
        with socket.socket() as peer, suppress(OSError):
            peer.bind(("127.0.0.2", 0))
            peer.connect(("127.0.0.1", port))
        if number % 50 == 0:
            meter.look(ask)
    meter.tell(f"{COUNT} connects, each closed at once", time.monotonic() - began)


def huge(node: Node, port: int, ask: Callable[[], None]) -> None:
    ask()
    meter, began = Meter(node), time.monotonic()
    with socket.create_connection(("127.0.0.1", port), timeout=60) as peer:
        peer.sendall(struct.pack(">BBL", 1, 0, GIBIBYTE))
        peer.recv(1)
    seconds = time.monotonic() - began
    meter.look(ask)
    meter.tell("a PDU of 1 GiB is announced", seconds)


def dimse(folder: Path, authority: Authority) -> None:
    pair = authority.issue("node")
    tls = {"certificate_file": pair.certificate, "key_file": pair.key, "port": free_port()}
    settings = shared_settings(folder, tls=tls | {"only": False})
    with running(settings, folder / "node") as node:
        scp = node.settings.scp
        assert scp.tls is not None
        us = {"name": "node", "ae_title": scp.ae_title, "host": "127.0.0.1", "timeout_seconds": 60}
        trust = {"tls": {"ca_file": authority.certificate}}
        plain = DestinationSettings.model_validate(us | {"port": scp.port})
        encrypted = DestinationSettings.model_validate(us | {"port": scp.tls.port} | trust)
        huge(node, scp.port, lambda: echo(plain))
        churn(node, scp.port, lambda: echo(plain))
        silent = f"{COUNT} connections that stay silent"
        attack(node, silent, scp.port, b"", lambda: echo(plain))
        with_tls = f"{COUNT} TLS handshakes that never end"
        time.sleep(scp.acse_timeout_seconds + 2)
        attack(node, with_tls, scp.tls.port, HALF_A_HELLO, lambda: echo(encrypted))


@contextmanager
def web(folder: Path, **more: object) -> Iterator[Node]:
    with running_web(web_settings(folder, **more), folder / "node") as node:
        yield node


def http(folder: Path, authority: Authority) -> None:
    with web(folder) as node, httpx.Client(timeout=60) as client:
        url = f"http://127.0.0.1:{node.settings.web.port}/health"
        what = f"HTTP: {COUNT} connections that stay silent"
        attack(node, what, node.settings.web.port, b"", lambda: _get(client, url))
    pair = authority.issue("web")
    tls = {"certificate_file": pair.certificate, "key_file": pair.key}
    trusted = client_context(TLSClientSettings(ca_file=authority.certificate), "bench")
    with (
        web(folder / "tls", tls=tls) as node,
        httpx.Client(timeout=60, verify=trusted) as client,
    ):
        url = f"https://127.0.0.1:{node.settings.web.port}/health"
        what = f"HTTPS: {COUNT} handshakes that never end"
        attack(node, what, node.settings.web.port, HALF_A_HELLO, lambda: _get(client, url))


def _get(client: httpx.Client, url: str) -> None:
    client.get(url).raise_for_status()


def main() -> None:
    print("| attack | seconds | memory, MiB more | threads | open files | others waited, s |")
    print("|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        authority = Authority(folder)
        (folder / "dimse").mkdir()
        (folder / "http" / "tls").mkdir(parents=True)
        dimse(folder / "dimse", authority)
        http(folder / "http", authority)


if __name__ == "__main__":
    main()
