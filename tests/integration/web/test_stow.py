"""STOW-RS over a real connection: what is answered 200 is durable, and exactly what was sent."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from dicomnode.tracking import findings
from dicomnode.tracking.schema import associations
from tests.factories import make_series
from tests.hostile.raw_sender import associated, send
from tests.integration.scp.receiving import Node, data_set_bytes, running, wait_until
from tests.integration.web.shared_node import *  # noqa: F403
from tests.integration.web.stow import (
    BOUNDARY,
    FAILED,
    STORED,
    contents,
    instances,
    multipart,
    post,
    reasons,
    running_web,
    sop_uid,
    study_uid,
    url,
    web_settings,
)


@pytest.mark.parametrize(
    "content_type",
    [
        f'multipart/related; type="application/dicom"; boundary={BOUNDARY}',
        f'multipart/related; type=application/dicom; boundary="{BOUNDARY}"',
        f"Multipart/Related; boundary={BOUNDARY}",
    ],
)
def test_a_series_is_stored_as_it_was_sent(
    node: Node, images: list[Path], content_type: str
) -> None:
    answer = post(node, multipart(contents(images)), content_type=content_type)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/dicom+json")
    assert instances(answer, STORED) == [sop_uid(path) for path in images]
    assert FAILED not in answer.json()
    stored = {data_set_bytes(path) for path in node.objects()}
    assert stored == {data_set_bytes(path) for path in images}
    wait_until(lambda: len(node.rows()) == 3)


def test_the_body_may_come_in_pieces_of_any_length(node: Node, images: list[Path]) -> None:
    body = multipart(contents(images))
    pieces = (body[start : start + 997] for start in range(0, len(body), 997))
    assert post(node, pieces).status_code == 200
    assert len(node.objects()) == 3


def test_one_object_may_come_without_multipart(node: Node, images: list[Path]) -> None:
    answer = post(node, images[0].read_bytes(), content_type="application/dicom")
    assert answer.status_code == 200
    assert instances(answer, STORED) == [sop_uid(images[0])]


@pytest.mark.skipif(not Path("/usr/bin/curl").exists(), reason="curl isn't installed")
def test_curl_is_answered(node: Node, images: list[Path], tmp_path: Path) -> None:
    body = tmp_path / "body"
    body.write_bytes(multipart(contents(images)))
    content_type = f'Content-Type: multipart/related; type="application/dicom"; boundary={BOUNDARY}'
    command = ["curl", "-sS", "-w", "%{http_code}", "-o", str(tmp_path / "answer"), "-H"]
    command += [content_type, "--data-binary", f"@{body}", url(node)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "200"
    assert len(node.objects()) == 3


def test_what_came_by_c_store_before_is_the_same_object(tmp_path: Path, images: list[Path]) -> None:
    settings = web_settings(tmp_path)
    with (
        running(settings, tmp_path / "scp") as receiver,
        running_web(settings, tmp_path / "web") as node,
    ):
        with associated(receiver.settings.scp.port) as association:
            uid = sop_uid(images[0])
            assert send(association, data_set_bytes(images[0]), sop_instance_uid=uid).status == 0
        assert post(node, multipart(contents(images))).status_code == 200
        assert len(node.objects()) == 3
        assert node.quarantined() == []


def test_the_study_in_the_url_has_to_be_that_of_the_objects(
    node: Node, images: list[Path], tmp_path: Path
) -> None:
    study = f"/dicom-web/studies/{study_uid(images[0])}"
    (other,) = make_series(tmp_path / "other", slices=1, study="other", series=tmp_path.name + "o")
    answer = post(node, multipart([images[0].read_bytes(), other.read_bytes()]), path=study)
    assert answer.status_code == 202
    assert instances(answer, STORED) == [sop_uid(images[0])]
    assert (instances(answer, FAILED), reasons(answer)) == ([sop_uid(other)], [0xC409])
    assert len(node.objects()) == 1
    wait_until(lambda: [found.reason for found in node.quarantined()] == ["other_study"])
    alone = post(node, multipart([other.read_bytes()]), path=study)
    assert alone.status_code == 409


def test_a_request_counts_as_an_association(node: Node, images: list[Path]) -> None:
    body = multipart(contents(images))
    study = study_uid(images[0])
    database = node.database

    def is_being_sent() -> list[bool]:
        with database.read() as connection:
            found = findings.verdicts_of_study(connection, study)
        return [finding.is_being_sent for finding in found]

    def slow() -> Iterator[bytes]:
        yield body[:-200]
        wait_until(lambda: is_being_sent() == [True])
        yield body[-200:]

    assert post(node, slow()).status_code == 200
    wait_until(lambda: is_being_sent() == [False])
    with database.read() as connection:
        query = sa.select(associations).order_by(associations.c.opened_at.desc()).limit(1)
        row = connection.execute(query).one()
    database.close()
    assert (row.outcome, row.calling_ae_title, row.peer_address) == ("released", "", "127.0.0.1")


def test_no_space_is_said_and_to_come_again(tmp_path: Path, images: list[Path]) -> None:
    settings = web_settings(tmp_path, scp={"minimum_free_bytes": 1 << 60})
    with running_web(settings, tmp_path / "node") as node:
        answer = post(node, multipart(contents(images)))
        assert (answer.status_code, set(reasons(answer))) == (503, {0xA700})
        assert int(answer.headers["retry-after"]) > 0
        assert instances(answer, FAILED) == [sop_uid(path) for path in images]
        assert node.objects() == []
