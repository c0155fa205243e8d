"""Storage Commitment with Orthanc, in both directions, each over an association of its own."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from pydicom import dcmread

from dicomnode.config import DestinationSettings
from dicomnode.delivery.proof import ask_commitment, has_instance
from dicomnode.delivery.store import send
from dicomnode.dicom.storage_commitment import Reference, Request
from dicomnode.jobs.commitment_reports import CommitmentReports
from dicomnode.tracking import commitments
from dicomnode.tracking.schema import commitments as table
from tests.e2e.site import Orthanc, missing_peers, running_orthanc
from tests.factories import make_series
from tests.integration.scp.receiving import (
    Node,
    queue_delivery,
    running,
    shared_settings,
    wait_until,
)

pytestmark = [
    pytest.mark.peer,
    pytest.mark.skipif(bool(missing_peers()), reason=missing_peers()),
]


@dataclass(frozen=True)
class Pair:
    """A receiver and an Orthanc that know each other, and what was sent from one to the other."""

    node: Node
    orthanc: Orthanc
    files: list[Path]

    @property
    def destination(self) -> DestinationSettings:
        return DestinationSettings(
            name="pacs", ae_title="ORTHANC", host="127.0.0.1", port=self.orthanc.dicom_port
        )

    def orthanc_does(self, path: str, body: Any = None) -> Any:
        url = f"http://127.0.0.1:{self.orthanc.http_port}{path}"
        data = None if body is None else json.dumps(body).encode()
        with urllib.request.urlopen(urllib.request.Request(url, data), timeout=30) as answer:
            return json.load(answer)


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    folder = tmp_path_factory.mktemp("orthanc-commitment")
    with running(shared_settings(folder), folder) as node:
        port = node.settings.scp.port
        modality = {"AET": "DICOMNODE", "Host": "127.0.0.1", "Port": port}
        modality |= {"AllowStorageCommitment": True, "AllowFind": True}
        with running_orthanc(folder / "orthanc", DicomModalities={"node": modality}) as orthanc:
            files = make_series(folder / "sent", study="orthanc", series="a", slices=2)
            pair = Pair(node, orthanc, files)
            send(pair.destination, files, "DICOMNODE")
            yield pair


def test_orthanc_tells_the_receiver_what_it_has_kept(pair: Pair) -> None:
    database, now = pair.node.database, datetime.now(UTC)
    here = dcmread(pair.files[0])
    asked = {here.SOPInstanceUID: "committed", "1.2.826.0.77": "failed"}
    with database.begin() as c:
        delivery_id = queue_delivery(c, pair.node.spool)
    for uid in asked:
        with database.begin() as c:
            transaction = commitments.ask(c, delivery_id, uid, now)
        request = Request(transaction, (Reference(here.SOPClassUID, uid),))
        ask_commitment(pair.destination, "DICOMNODE", request)

    def outcomes() -> dict[str, str]:
        with database.read() as c:
            rows = c.execute(sa.select(table.c.sop_instance_uid, table.c.outcome)).all()
        return {row.sop_instance_uid: row.outcome for row in rows}

    wait_until(lambda: outcomes() == asked, 60)
    database.close()


def test_orthanc_is_asked_for_the_instance(pair: Pair) -> None:
    here = dcmread(pair.files[0])
    of_series = (here.StudyInstanceUID, here.SeriesInstanceUID)
    found = [
        has_instance(pair.destination, "DICOMNODE", *of_series, uid)
        for uid in (here.SOPInstanceUID, "1.2.826.0.77")
    ]
    assert found == [True, False]


def test_orthanc_asks_the_node_and_is_told_by_the_worker(pair: Pair) -> None:
    ids = [each["ID"] for each in map(pair.orthanc_does, _paths(pair))]
    pair.orthanc_does("/modalities/node/store", ids)
    asked = pair.orthanc_does("/modalities/node/storage-commitment", {"Resources": ids})
    delivery = pair.node.settings.delivery.model_copy(
        update={"return_port": pair.orthanc.dicom_port}
    )
    settings = pair.node.settings.model_copy(update={"delivery": delivery})
    database = pair.node.database
    reports = CommitmentReports(settings, database, pair.node.spool)

    def told() -> bool:
        reports.send_due()
        return bool(pair.orthanc_does(asked["Path"])["Status"] != "Pending")

    wait_until(told, 60)
    database.close()
    report = pair.orthanc_does(asked["Path"])
    assert report["Status"] == "Success"
    assert len(report["Success"]) == len(pair.files)


def _paths(pair: Pair) -> list[str]:
    return [f"/instances/{each}" for each in pair.orthanc_does("/instances")]
