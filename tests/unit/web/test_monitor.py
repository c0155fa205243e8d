"""What programs that watch the node are told: alive, ready and measured."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from dicomnode.config import Settings
from dicomnode.intake.intake import Intake
from dicomnode.meters import Meters
from dicomnode.tracking.database import Database, SchemaState
from dicomnode.tracking.pulses import Pulse
from dicomnode.tracking.spool import Spool
from dicomnode.web import monitor
from dicomnode.web.application import make_application

WORKS = {"database": "ok", "spool": "ok", "disk": "ok", "worker": "ok"}


@dataclass
class Watched:
    """The HTTP role without its server, with a worker that was heard of."""

    settings: Settings
    database: Database
    worker: Pulse
    ask: Callable[[str], httpx.Response]


def watched(folder: Path, **scp: Any) -> Iterator[Watched]:
    settings = Settings.model_validate(
        {
            "node": {"data_folder": folder / "data"},
            "scp": {"minimum_free_bytes": 0} | scp,
            "destinations": [{"name": "pacs", "ae_title": "P", "host": "10.9.8.7", "port": 104}],
        }
    )
    database, spool = Database(settings.database_url), Spool(settings.spool_folder)
    database.migrate()
    spool.prepare()
    intake = Intake(settings.scp, database, spool, "monitor")
    intake.start()
    application = make_application(settings, intake, database, b"a-token")

    def ask(path: str) -> httpx.Response:
        async def get() -> httpx.Response:
            transport = httpx.ASGITransport(application)
            headers = {"Authorization": "Bearer a-token"} if path == "/metrics" else {}
            async with httpx.AsyncClient(transport=transport, base_url="http://node") as client:
                return await client.get(path, headers=headers)

        return asyncio.run(get())

    worker = Pulse(settings.pulses_folder, "work", Meters())
    worker.beat()
    yield Watched(settings, database, worker, ask)
    intake.stop()
    database.close()


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Watched]:
    yield from watched(tmp_path)


def test_a_node_that_can_work_is_ready_without_a_login(node: Watched) -> None:
    answer = node.ask("/readyz")
    assert (answer.status_code, answer.json()) == (200, {"status": "ok", "checks": WORKS})
    assert node.ask("/healthz").status_code == 200


def test_a_node_without_a_worker_lives_and_is_not_ready(node: Watched) -> None:
    node.worker.stop()
    answer = node.ask("/readyz")
    assert answer.status_code == 503
    assert answer.json()["checks"] == WORKS | {"worker": "none runs"}
    assert node.ask("/healthz").status_code == 200


def test_a_spool_that_is_gone_is_told_without_its_path(node: Watched) -> None:
    shutil.rmtree(node.settings.spool_folder)
    answer = node.ask("/readyz")
    assert answer.status_code == 503
    assert answer.json()["checks"]["spool"] == "it can't be written to"
    assert str(node.settings.node.data_folder) not in answer.text


def test_a_full_disk_is_told(tmp_path: Path) -> None:
    for node in watched(tmp_path, minimum_free_bytes=2**62):
        answer = node.ask("/readyz")
        assert answer.status_code == 503
        assert answer.json()["checks"] == WORKS | {
            "disk": "less is free than scp.minimum_free_bytes"
        }
        assert node.ask("/health").status_code == 503


def test_a_database_that_is_gone_or_not_migrated_is_told(node: Watched) -> None:
    node.database.close()
    Path(str(node.database.url.database)).unlink()
    answer = node.ask("/readyz")
    assert answer.status_code == 503
    assert answer.json()["checks"]["database"] != "ok"
    assert "sqlite" not in answer.text


def test_an_object_is_taken_in_without_a_worker_and_the_database_is_not_asked_each_time(
    node: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[SchemaState] = []
    check = Database.check

    def counted(database: Database) -> SchemaState:
        asked.append(check(database))
        return asked[-1]

    monkeypatch.setattr(Database, "check", counted)
    monkeypatch.setattr(monitor, "_READY_AGAIN_SECONDS", 3600.0)
    node.worker.stop()
    assert [node.ask("/health").status_code for _ in range(3)] == [200] * 3
    assert len(asked) == 1


def test_the_metrics_are_what_prometheus_reads_and_name_only_what_is_configured(
    node: Watched,
) -> None:
    text = node.ask("/metrics").text
    families = list(text_string_to_metric_families(text))
    assert len({family.name for family in families}) == len(families) > 20
    assert all(family.documentation for family in families)
    found = {sample.name for family in families for sample in family.samples}
    assert {
        "dicomnode_queue_depth",
        "dicomnode_queue_oldest_age_seconds",
        "dicomnode_deliveries_pending",
        "dicomnode_series_verdict_seconds_bucket",
        "dicomnode_disk_free_bytes",
        "dicomnode_disk_free_inodes",
        "dicomnode_heartbeat_age_seconds",
        "dicomnode_build_info",
    } <= found
    assert "10.9.8.7" not in text
    assert str(node.settings.node.data_folder) not in text
