"""New limits of connections reach the HTTP role that runs."""

from __future__ import annotations

import socket
import threading
from pathlib import Path

import httpx

from dicomnode.config import Settings
from dicomnode.reloading import Apply
from dicomnode.web.server import serve
from tests.integration.scp.receiving import wait_until
from tests.integration.web.stow import web_settings


def test_a_connection_has_the_deadline_of_the_newest_settings(tmp_path: Path) -> None:
    settings = web_settings(tmp_path, scp={"acse_timeout_seconds": 3600.0})
    scp = settings.scp.model_copy(update={"acse_timeout_seconds": 0.2})
    given: list[Settings] = [settings.model_copy(update={"scp": scp})]
    ready, stop = threading.Event(), threading.Event()

    def reload(apply: Apply) -> None:
        while given:
            apply(given[0])
            given.pop()

    node = threading.Thread(
        target=serve,
        args=(settings,),
        kwargs={"ready": ready.set, "stop": stop, "reload": reload},
    )
    node.start()
    try:
        assert ready.wait(60)
        wait_until(lambda: not given, 60)
        address = ("127.0.0.1", settings.web.port)
        with socket.create_connection(address, timeout=60) as silent:
            assert silent.recv(1) == b""
        assert httpx.get(f"http://127.0.0.1:{settings.web.port}/health").status_code == 200
    finally:
        stop.set()
        node.join(60)
