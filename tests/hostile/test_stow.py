"""What a hostile or broken HTTP client sends: answered, recorded, and nothing lost."""

from __future__ import annotations

import gzip
import os
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import httpx
import pytest
import sqlalchemy as sa
from pydicom import dcmread

from dicomnode.tracking.schema import associations
from tests.factories import make_series
from tests.integration.scp.receiving import Node, data_set_bytes, wait_until
from tests.integration.web.shared_node import *  # noqa: F403
from tests.integration.web.stow import (
    BOUNDARY,
    FAILED,
    OTHER,
    STORED,
    contents,
    instances,
    multipart,
    post,
    reasons,
    running_web,
    sop_uid,
    url,
    web_settings,
)


@pytest.mark.parametrize("study", ["..", "1.2%2F3", "1.a", "%2e%2e%2fetc", "1" * 65])
def test_a_study_in_the_url_that_is_no_uid_reaches_nothing(
    node: Node, images: list[Path], study: str
) -> None:
    answer = post(node, multipart(contents(images)), path=f"/dicom-web/studies/{study}")
    assert answer.status_code in (400, 404, 405)
    assert node.objects() == []


def test_another_object_under_a_known_uid_is_kept_aside(node: Node, images: list[Path]) -> None:
    whole = images[0].read_bytes()
    changed = whole[:-1] + bytes([whole[-1] ^ 1])
    answer = post(node, multipart([whole, changed]))
    assert answer.status_code == 202
    assert instances(answer, STORED) == instances(answer, FAILED) == [sop_uid(images[0])]
    assert reasons(answer) == [0xC002]
    (stored,) = node.objects()
    assert data_set_bytes(stored) == data_set_bytes(images[0])
    wait_until(lambda: [found.reason for found in node.quarantined()] == ["conflict"])


def test_the_file_meta_must_be_that_of_the_object(node: Node, images: list[Path]) -> None:
    ds = dcmread(images[0])
    uid = str(ds.SOPInstanceUID)
    wrong = images[0].read_bytes().replace(uid.encode(), uid[:-1].encode() + b"9", 1)
    if uid.endswith("9"):
        wrong = images[0].read_bytes().replace(uid.encode(), uid[:-1].encode() + b"8", 1)
    answer = post(node, multipart([wrong]))
    assert (answer.status_code, reasons(answer)) == (409, [0xA900])


def test_what_is_no_dicom_is_refused_and_kept_aside(node: Node, images: list[Path]) -> None:
    junk = b"<html>" * 1000
    answer = post(node, multipart([images[0].read_bytes(), junk, images[1].read_bytes()]))
    assert answer.status_code == 202
    assert instances(answer, STORED) == [sop_uid(images[0]), sop_uid(images[1])]
    assert reasons(answer, OTHER) == [0xC000]
    assert FAILED not in answer.json()
    wait_until(lambda: node.quarantined())
    (kept,) = node.quarantined()
    assert node.spool.quarantine_path(kept.name).read_bytes().endswith(junk)


def test_a_truncated_object_names_itself_where_it_can(node: Node, images: list[Path]) -> None:
    answer = post(node, multipart([images[0].read_bytes()[:-100]]))
    assert (answer.status_code, reasons(answer)) == (409, [0xC000])
    assert instances(answer, FAILED) == [sop_uid(images[0])]
    assert node.objects() == []


def test_a_body_that_ends_too_early_keeps_what_was_whole_and_is_no_success(
    node: Node, images: list[Path]
) -> None:
    body = multipart(contents(images))
    answer = post(node, body[: len(body) - 500])
    assert answer.status_code == 400
    assert instances(answer, STORED) == [sop_uid(path) for path in images[:2]]
    assert len(node.objects()) == 2
    wait_until(lambda: len(node.events("request refused")) == 1)
    # Sent again, the whole of it is welcome.
    assert post(node, body).status_code == 200
    assert len(node.objects()) == 3


@pytest.mark.parametrize(
    ("content_type", "body", "status"),
    [
        ("multipart/related; type=application/dicom", b"", 400),
        (f"multipart/related; boundary={'x' * 300}", b"", 400),
        (f"multipart/related; boundary={BOUNDARY}", b"", 400),
        (f"multipart/related; boundary={BOUNDARY}", b"not the boundary\r\n", 400),
        (f"multipart/related; boundary={BOUNDARY}", f"--{BOUNDARY}--\r\n".encode(), 400),
        (
            f"multipart/related; boundary={BOUNDARY}",
            multipart([b"x"], header="A: " + "x" * 9000),
            400,
        ),
        (
            f"multipart/related; boundary={BOUNDARY}",
            multipart([b"x"], header="\r\n".join(["A: b"] * 1000)),
            400,
        ),
        ("application/dicom", b"", 400),
        (f'multipart/related; type="application/dicom+xml"; boundary={BOUNDARY}', b"", 415),
        ("multipart/form-data; boundary=x", b"", 415),
        ("application/json", b"{}", 415),
        ("", b"", 415),
    ],
)
def test_a_request_that_is_none_is_answered_and_recorded(
    node: Node, content_type: str, body: bytes, status: int
) -> None:
    answer = post(node, body, content_type=content_type)
    assert answer.status_code == status
    assert 0 < len(answer.text) < 200
    assert "Traceback" not in answer.text + node.log.read_text()
    assert node.objects() == []
    wait_until(lambda: len(node.events("request refused")) == 1)


def test_header_lines_without_end_are_refused(node: Node, images: list[Path]) -> None:
    try:
        refused = post(node, b"", headers={"X-Long": "x" * 200_000}).status_code == 400
    except httpx.TransportError:  # it hung up without reading the rest
        refused = True
    assert refused
    assert "Traceback" not in node.log.read_text()
    assert post(node, multipart(contents(images))).status_code == 200


def test_too_much_is_refused(tmp_path: Path, images: list[Path]) -> None:
    size = images[0].stat().st_size
    settings = web_settings(
        tmp_path, scp={"maximum_object_bytes": 2 * size}, maximum_request_bytes=4 * size
    )
    body = multipart(contents(images))
    with running_web(settings, tmp_path / "node") as node:
        for too_much in (multipart([bytes(3 * size)]), multipart(contents(images) * 2)):
            pieces = (too_much[at : at + 4096] for at in range(0, len(too_much), 4096))
            assert post(node, too_much).status_code == 413
            assert post(node, pieces).status_code == 413
        assert post(node, bytes(3 * size), content_type="application/dicom").status_code == 413
        assert post(node, body).status_code == 200


def test_a_client_that_falls_silent_is_not_waited_for(node: Node, images: list[Path]) -> None:
    body = multipart(contents(images))

    def halting() -> Iterator[bytes]:
        yield body[:-200]
        wait_until(lambda: node.events("request refused"))
        yield body[-200:]

    answer = post(node, halting())
    assert answer.status_code == 408
    assert len(instances(answer, STORED)) == 2


def test_a_client_that_crawls_is_not_waited_for(node: Node, images: list[Path]) -> None:
    """A byte now and then is never silence, and much less than a body in time."""

    def crawling() -> Iterator[bytes]:
        body = multipart(contents(images))
        for place in range(1000):
            if node.events("request refused"):
                return
            yield body[place : place + 1]
            time.sleep(0.1)

    with suppress(httpx.TransportError):  # it may hang up while the client still sends
        assert post(node, crawling()).status_code == 408
    (refused,) = node.events("request refused")
    assert "less than 10000 bytes in a second" in refused.detail["sentence"]


def test_a_client_that_hangs_up_leaves_no_open_association(node: Node, images: list[Path]) -> None:
    body = multipart(contents(images))

    def breaking() -> Iterator[bytes]:
        yield body[:-200]
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        post(node, breaking())
    wait_until(lambda: len(node.objects()) == 2)
    database = node.database
    still_open = sa.select(sa.func.count()).where(associations.c.closed_at.is_(None))

    def open_associations() -> int:
        with database.read() as connection:
            return int(connection.scalar(still_open) or 0)

    wait_until(lambda: open_associations() == 0)
    database.close()


def test_nothing_of_the_patient_is_logged_or_answered(tmp_path: Path) -> None:
    made = make_series(tmp_path / "made", slices=1, change={"PatientName": "Secret^Patient"})
    with running_web(web_settings(tmp_path), tmp_path / "node") as node:
        whole = made[0].read_bytes()
        answers = [post(node, multipart([whole])), post(node, multipart([whole[:-10]]))]
        answers.append(httpx.get(url(node, "/metrics")))
        wait_until(lambda: node.quarantined())
        assert node.stop() == 0
    kept = [node.log, *node.settings.node.data_folder.glob("tracking.sqlite*")]
    assert all(b"ecret" not in path.read_bytes() for path in kept)
    assert all("ecret" not in answer.text for answer in answers)


def memory_mib(node: Node) -> float:
    pages = int(Path(f"/proc/{node.process.pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1024**2


def test_a_long_request_is_never_in_memory_as_a_whole(node: Node, tmp_path: Path) -> None:
    """100 MiB in one request: one object, again and again."""
    (image,) = make_series(tmp_path / "made", slices=1, rows=724, columns=724, series="large")
    part = image.read_bytes()
    assert len(part) > 1 << 20
    assert post(node, multipart([part])).status_code == 200
    before = memory_mib(node)
    assert post(node, multipart([part] * 100)).status_code == 200
    assert memory_mib(node) - before < 30
    assert len(node.objects()) == 1


def test_a_request_of_junk_is_ended_and_what_was_stored_is_named(
    node: Node, images: list[Path]
) -> None:
    junk = [b"junk %d" % number for number in range(150)]
    answer = post(node, multipart([images[0].read_bytes(), *junk, images[1].read_bytes()]))
    assert answer.status_code == 400
    assert instances(answer, STORED) == [sop_uid(images[0])]
    assert len(reasons(answer, OTHER)) == 100
    assert len(node.objects()) == 1


def test_a_compressed_request_is_not_taken(node: Node, images: list[Path]) -> None:
    body = gzip.compress(multipart(contents(images)))
    answer = post(node, body, headers={"Content-Encoding": "gzip"})
    assert answer.status_code == 415
    assert "Content-Encoding" in answer.text
    assert node.objects() == []
