"""A real STOW-RS client: Orthanc with its DICOMweb plugin."""

from __future__ import annotations

import shutil
from pathlib import Path

import httpx
import pytest
from pydicom import dcmread

from tests.e2e.site import dicomweb_plugin, running_orthanc
from tests.factories import make_series
from tests.integration.scp.receiving import wait_until
from tests.integration.web.stow import running_web, url, web_settings

pytestmark = [
    pytest.mark.peer,
    pytest.mark.skipif(
        shutil.which("Orthanc") is None or not dicomweb_plugin(),
        reason="Orthanc or its DICOMweb plugin isn't installed (Debian: orthanc-dicomweb)",
    ),
]


def test_what_orthanc_sends_by_stow_is_stored(tmp_path: Path) -> None:
    images = make_series(tmp_path / "made", slices=5)
    with (
        running_web(web_settings(tmp_path), tmp_path / "node") as node,
        running_orthanc(
            tmp_path / "orthanc",
            Plugins=[dicomweb_plugin()],
            DicomWeb={"Enable": True, "Servers": {"node": [url(node, "/dicom-web/")]}},
        ) as orthanc,
    ):
        orthanc_url = f"http://127.0.0.1:{orthanc.http_port}"
        with httpx.Client(base_url=orthanc_url, timeout=60) as pacs:
            for path in images:
                pacs.post("/instances", content=path.read_bytes()).raise_for_status()
            (study,) = pacs.get("/studies").json()
            order = {"Resources": [study], "Synchronous": True}
            sent = pacs.post("/dicom-web/servers/node/stow", json=order)
        assert sent.status_code == 200, sent.text
        stored = {str(dcmread(path).SOPInstanceUID): dcmread(path) for path in node.objects()}
        for path in images:
            ds = dcmread(path)
            assert stored[str(ds.SOPInstanceUID)] == ds
        wait_until(lambda: len(node.rows()) == 5)
        assert node.quarantined() == []
