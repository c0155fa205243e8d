from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from dicomnode.app.notify import notify


@pytest.fixture
def listener(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        channel.bind(str(tmp_path / "notify"))
        channel.settimeout(5)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        yield channel


def test_a_state_reaches_the_service_manager(listener: socket.socket) -> None:
    notify("READY=1")
    assert listener.recv(100) == b"READY=1"


def test_a_missing_service_manager_stops_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    notify("READY=1")
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "gone"))
    notify("READY=1")


def test_a_service_manager_that_does_not_read_stops_nothing(listener: socket.socket) -> None:
    for _ in range(1000):
        notify("WATCHDOG=1")
    assert listener.recv(100) == b"WATCHDOG=1"
