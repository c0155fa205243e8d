"""What a request is answered when the node can't keep objects now."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydicom import dcmread

from dicomnode.config import Settings
from dicomnode.errors import DatabaseError, OutOfSpaceError, SpoolError
from dicomnode.intake.intake import Intake
from dicomnode.tracking.database import Database
from dicomnode.tracking.spool import Spool
from dicomnode.web import counted as counting
from dicomnode.web.application import make_application
from tests.factories import make_series


class BrokenIntake(Intake):
    """Nothing can be made durable, for this reason."""

    def __init__(self, settings: Settings, database: Database, error: Exception) -> None:
        super().__init__(settings.scp, database, Spool(settings.spool_folder), "broken")
        self._error = error

    def store_file(self, *_: Any, **__: Any) -> Any:
        raise self._error


def test_a_scrape_does_not_count_what_was_just_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted: list[int] = []
    monkeypatch.setattr(counting, "totals", lambda _connection: counted.append(1) or ())
    settings = Settings(node={"data_folder": tmp_path / "data"})  # type: ignore[arg-type]
    database = Database(settings.database_url)
    database.migrate()
    intake = Intake(settings.scp, database, Spool(settings.spool_folder), "metrics")
    application = make_application(settings, intake, database, b"")

    async def scrape_often() -> list[int]:
        transport = httpx.ASGITransport(application)
        async with httpx.AsyncClient(transport=transport, base_url="http://node") as client:
            return [(await client.get("/metrics")).status_code for _ in range(5)]

    assert asyncio.run(scrape_often()) == [200] * 5
    assert len(counted) == 1
    database.close()


@pytest.mark.parametrize("models_folder", [None, "nowhere"])
def test_what_another_version_examined_is_counted_where_the_models_can_be_read(
    tmp_path: Path, models_folder: str | None
) -> None:
    settings = Settings.model_validate(
        {
            "node": {"data_folder": tmp_path / "data"},
            "inference": {"models_folder": models_folder},
        }
    )
    database = Database(settings.database_url)
    database.migrate()
    intake = Intake(settings.scp, database, Spool(settings.spool_folder), "metrics")
    application = make_application(settings, intake, database, b"")

    async def scrape() -> str:
        transport = httpx.ASGITransport(application)
        async with httpx.AsyncClient(transport=transport, base_url="http://node") as client:
            return (await client.get("/metrics")).text

    told = asyncio.run(scrape())
    assert "dicomnode_verdicts" in told
    assert ("dicomnode_series_outdated 0\n" in told) == (models_folder is None)
    database.close()


@pytest.mark.parametrize(
    ("error", "failure_reason"),
    [
        (DatabaseError("away"), 0xA700),
        (OutOfSpaceError("full"), 0xA700),
        (SpoolError("a disk error"), 0x0110),
    ],
)
def test_it_is_told_to_send_every_object_again(
    tmp_path: Path, error: Exception, failure_reason: int
) -> None:
    settings = Settings(node={"data_folder": tmp_path / "data"})  # type: ignore[arg-type]
    database = Database(settings.database_url)
    application = make_application(settings, BrokenIntake(settings, database, error), database, b"")
    (image,) = make_series(tmp_path / "made", slices=1)

    async def post() -> httpx.Response:
        transport = httpx.ASGITransport(application)
        async with httpx.AsyncClient(transport=transport, base_url="http://node") as client:
            return await client.post(
                "/dicom-web/studies",
                content=image.read_bytes(),
                headers={"Content-Type": "application/dicom"},
            )

    answer = asyncio.run(post())
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "60")
    (item,) = answer.json()["00081198"]["Value"]
    assert item["00081197"]["Value"] == [failure_reason]
    assert item["00081155"]["Value"] == [dcmread(image).SOPInstanceUID]


def test_health_says_when_the_database_is_away(tmp_path: Path) -> None:
    settings = Settings(node={"data_folder": tmp_path / "data"})  # type: ignore[arg-type]
    database = Database(settings.database_url)  # its file was never made
    broken = BrokenIntake(settings, database, DatabaseError("away"))
    application = make_application(settings, broken, database, b"")

    async def get(path: str) -> httpx.Response:
        transport = httpx.ASGITransport(application)
        async with httpx.AsyncClient(transport=transport, base_url="http://node") as client:
            return await client.get(path)

    broken.start()
    health, metrics = asyncio.run(get("/health")), asyncio.run(get("/metrics"))
    broken.stop()
    assert (health.status_code, health.json()["status"]) == (503, "unavailable")
    assert metrics.status_code == 503
