"""`dicomnode check` beside a node that runs, and with networks of which one is bad."""

from __future__ import annotations

import shutil
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from dicomnode.app.checkup import Finding, examine_site
from dicomnode.config import Settings
from dicomnode.inference.models import STARTER_FOLDER
from dicomnode.scp.server import serve
from dicomnode.tracking.database import Database

MakeSettings = Callable[..., Settings]


def findings(settings: Settings, subject: str) -> list[Finding]:
    return [finding for finding in examine_site(settings) if finding.subject.startswith(subject)]


@contextmanager
def receiving(settings: Settings) -> Iterator[None]:
    """The receiving role in a thread."""
    Database(settings.database_url).migrate()
    ready, stop = threading.Event(), threading.Event()
    thread = threading.Thread(
        target=serve, args=(settings,), kwargs={"ready": ready.set, "stop": stop}
    )
    thread.start()
    try:
        assert ready.wait(30)
        yield
    finally:
        stop.set()
        thread.join(30)


@pytest.mark.parametrize(
    "lists",
    [
        {},
        {"allowed_calling_ae_titles": ("ELSEWHERE",)},
        {"allowed_networks": ("192.0.2.0/24",)},
        {"host": "::1"},
    ],
    ids=["open", "AE titles", "networks", "IPv6"],
)
def test_a_running_node_is_no_problem_whatever_it_admits(
    make_settings: MakeSettings, lists: dict[str, object]
) -> None:
    settings = make_settings(scp=lists)
    with receiving(settings):
        (found,) = findings(settings, "port")
    assert found.ok, found.sentence
    assert "running" in found.sentence


def test_a_node_of_another_name_on_the_port_is_a_problem(
    make_settings: MakeSettings, tmp_path: Path
) -> None:
    other = make_settings(scp={"ae_title": "OTHER"}, node={"data_folder": tmp_path / "other"})
    with receiving(other):
        (found,) = findings(make_settings(), "port")
    assert not found.ok


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_a_free_port_is_free_on_every_kind_of_address(
    make_settings: MakeSettings, host: str
) -> None:
    (found,) = findings(make_settings(scp={"host": host}), "port")
    assert found.ok, found.sentence


def test_something_else_on_the_port_is_a_problem(
    make_settings: MakeSettings, free_port: int
) -> None:
    with socket.create_server(("127.0.0.1", free_port)) as other:
        threading.Thread(target=lambda: other.accept()[0].close(), daemon=True).start()
        (found,) = findings(make_settings(), "port")
    assert not found.ok
    assert "used by another process" in found.sentence


def test_a_bad_network_does_not_hide_the_others(
    make_settings: MakeSettings, tmp_path: Path
) -> None:
    shutil.copytree(STARTER_FOLDER, tmp_path / "models")
    first = sorted((tmp_path / "models").rglob("checkpoint_final.pth"))[0]
    first.write_bytes(first.read_bytes() + b"\0")
    found = findings(make_settings(inference={"models_folder": tmp_path / "models"}), "model")
    assert sorted(finding.ok for finding in found) == [False, True, True]


def test_a_check_makes_no_data_folder(make_settings: MakeSettings) -> None:
    settings = make_settings()
    (found,) = findings(settings, "disk")
    assert found.ok
    assert not settings.node.data_folder.exists()
