"""`dicomnode serve` with its HTTP role: a series in by STOW-RS, its end in the counters, reload."""

from __future__ import annotations

import signal
from pathlib import Path

import httpx

from tests.e2e.site import Orthanc, running_node, wait_until
from tests.factories import make_series
from tests.integration.web.stow import RELATED, multipart
from tests.ports import free_ports


def test_a_series_that_came_over_http_is_looked_at_and_counted(tmp_path: Path) -> None:
    pacs_port, web_port = free_ports(2)
    body = multipart([path.read_bytes() for path in make_series(tmp_path / "made", slices=3)])
    nobody = Orthanc(0, pacs_port)
    with (
        running_node(tmp_path, nobody, f"[web]\nenabled = true\nport = {web_port}") as node,
        httpx.Client(base_url=f"http://127.0.0.1:{web_port}", timeout=30) as client,
    ):
        assert client.get("/health").json()["status"] == "ok"
        headers = {"Content-Type": RELATED}
        stored = client.post("/dicom-web/studies", content=body, headers=headers)
        assert stored.status_code == 200
        (series,) = wait_until("the series is refused", lambda: node.settled(1), 60, node.log)
        assert (series["state"], series["refusal_code"]) == ("refused", "TOO_FEW_SLICES")
        stage = 'dicomnode_examination_stage_seconds_count{role="work",process="0",stage="sort"} 1'
        is_told = lambda: stage in client.get("/metrics").text.splitlines()  # noqa: E731
        wait_until("the worker tells of it", is_told, 60, node.log)
        told = client.get("/metrics").text.splitlines()
        assert client.get("/readyz").json()["status"] == "ok"
        node.process.send_signal(signal.SIGHUP)
        reloaded = lambda: node.log.read_bytes().count(b"configuration reloaded") == 3  # noqa: E731
        wait_until("every role has read its configuration again", reloaded, 60, node.log)
        assert client.get("/readyz").json()["status"] == "ok"
    assert node.process.returncode == 0, "it stops in order"
    assert 'dicomnode_refusals_total{code="TOO_FEW_SLICES"} 1' in told
    assert 'dicomnode_series{state="refused"} 1' in told
    assert "dicomnode_instances_stored_total 3" in told
    assert "dicomnode_associations_open 0" in told
    for role in ("scp", "web", "work"):
        name = f'dicomnode_heartbeat_age_seconds{{role="{role}",process="0"}}'
        (age,) = (float(line.split()[-1]) for line in told if line.startswith(name))
        assert age < 30
    received = 'objects_received_total{role="web",process="0",way="stow",outcome="stored"} 3'
    assert f"dicomnode_{received}" in told
