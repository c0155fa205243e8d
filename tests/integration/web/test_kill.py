"""kill -9 while a request is open: what was durable gets its rows, and is held until then."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import httpx
from pydicom import dcmread

from dicomnode.tracking import findings
from tests.factories import make_series
from tests.integration.scp.receiving import Node, wait_until
from tests.integration.web.stow import multipart, post, running_web, web_settings


def test_what_a_killed_process_stored_is_indexed_and_settled_by_the_next(tmp_path: Path) -> None:
    images = make_series(tmp_path / "made", slices=3)
    study = str(dcmread(images[0], specific_tags=["StudyInstanceUID"]).StudyInstanceUID)
    body = multipart([path.read_bytes() for path in images])
    settings = web_settings(tmp_path)
    with running_web(settings, tmp_path / "node") as node:

        def killing() -> Iterator[bytes]:
            yield body[:-200]
            wait_until(lambda: len(node.objects()) == 2)
            wait_until(lambda: is_being_sent(node, study))
            node.kill()
            yield body[-200:]

        with suppress(httpx.TransportError):
            post(node, killing())
    with running_web(settings, tmp_path / "node") as again:
        assert is_being_sent(again, study)
        assert post(again, body).status_code == 200
        wait_until(lambda: len(again.rows()) == 3)
        wait_until(lambda: not is_being_sent(again, study), 60)


def is_being_sent(node: Node, study: str) -> bool:
    database = node.database
    with database.read() as connection:
        found = findings.verdicts_of_study(connection, study)
    database.close()
    return any(finding.is_being_sent for finding in found)
