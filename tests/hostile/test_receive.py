"""What a hostile or broken peer sends: answered, recorded, and nothing written by its names."""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest
from pydicom import dcmread

from dicomnode.config import Settings
from dicomnode.tracking import findings
from tests.factories import make_series
from tests.hostile.raw_sender import associated, encoded, send
from tests.integration.scp.receiving import (
    Node,
    data_set_bytes,
    running,
    shared_settings,
    wait_until,
)

GIBIBYTE = 1 << 30


@pytest.fixture(scope="module")
def shared_node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    folder = tmp_path_factory.mktemp("hostile")
    settings = shared_settings(folder, network_timeout_seconds=3.0, acse_timeout_seconds=2.0)
    with running(settings, folder / "node") as started:
        yield started


@pytest.fixture
def node(shared_node: Node) -> Node:
    return shared_node.mark()


@pytest.fixture
def image(tmp_path: Path) -> Path:
    """An object of its own for each test."""
    change = {"PatientName": "Secret^Patient", "PatientID": "../../../secret"}
    return make_series(
        tmp_path / "made", slices=1, change=change, study=tmp_path.name, series=tmp_path.name
    )[0]


def uid_of(path: Path) -> str:
    return str(dcmread(path, stop_before_pixels=True).SOPInstanceUID)


def is_alive(node: Node, image: Path) -> bool:
    with associated(node.settings.scp.port) as association:
        return send(association, data_set_bytes(image), sop_instance_uid=uid_of(image)).status == 0


@pytest.mark.parametrize("evil", ["../evil", "/etc/passwd", "..", "1.2.3\\4", "", "x" * 64])
def test_a_uid_that_climbs_is_refused(node: Node, image: Path, evil: str) -> None:
    around = node.settings.node.data_folder.parent
    before = {path for path in around.rglob("*") if "data" not in path.parts}
    data_set, _ = encoded(image, SOPInstanceUID=evil)
    with associated(node.settings.scp.port) as association:
        answer = send(association, data_set, sop_instance_uid="1.2.3.4")
    assert answer.status in (0xC000, 0xC001)
    assert answer.comment
    assert node.objects() == []
    wait_until(lambda: node.quarantined())
    (kept,) = node.quarantined()
    assert node.spool.quarantine_path(kept.name).read_bytes().endswith(data_set)
    assert evil not in kept.name or not evil
    wait_until(lambda: node.events("object refused"))
    assert len(node.events("object refused")) == 1
    assert {path for path in around.rglob("*") if "data" not in path.parts} == before


def test_a_uid_that_climbs_in_both_places_is_refused(node: Node, image: Path) -> None:
    data_set, _ = encoded(image, SOPInstanceUID="../evil")
    with associated(node.settings.scp.port) as association:
        assert send(association, data_set, sop_instance_uid="../evil").status == 0xC001
    assert node.objects() == []


def test_a_series_uid_that_climbs_is_refused(node: Node, image: Path) -> None:
    data_set, _ = encoded(image, SeriesInstanceUID="../evil")
    with associated(node.settings.scp.port) as association:
        assert send(association, data_set, sop_instance_uid=uid_of(image)).status == 0xC001
    assert node.objects() == []


def test_command_set_and_data_set_must_agree(node: Node, image: Path) -> None:
    with associated(node.settings.scp.port) as association:
        answer = send(association, data_set_bytes(image), sop_instance_uid="1.2.3.4")
        assert answer.status == 0xA900
        other, _ = encoded(image, SOPClassUID="1.2.840.10008.5.1.4.1.1.2")
        assert send(association, other, sop_instance_uid=uid_of(image)).status == 0xA900
        # The association goes on, and the right object is welcome.
        answer = send(association, data_set_bytes(image), sop_instance_uid=uid_of(image))
        assert answer.status == 0x0000
    assert len(node.objects()) == 1


@pytest.mark.parametrize("keep", [0, 7, 100, 600, -1, -100])
def test_a_truncated_object_is_refused_and_kept_aside(node: Node, image: Path, keep: int) -> None:
    cut = data_set_bytes(image)[:keep]
    with associated(node.settings.scp.port) as association:
        answer = send(association, cut or b"\0\0", sop_instance_uid=uid_of(image))
    assert answer.status == 0xC000
    assert node.objects() == []
    wait_until(lambda: node.quarantined())
    assert node.quarantined()[0].reason == "unreadable"


def test_a_truncated_object_holds_its_series_until_it_comes_whole(node: Node, image: Path) -> None:
    study = str(dcmread(image, stop_before_pixels=True).StudyInstanceUID)

    def quarantined() -> list[int]:
        database = node.database
        with database.read() as connection:
            found = findings.verdicts_of_study(connection, study)
        database.close()
        return [finding.quarantined for finding in found]

    with associated(node.settings.scp.port) as association:
        whole = data_set_bytes(image)
        assert send(association, whole[:-100], sop_instance_uid=uid_of(image)).status == 0xC000
        wait_until(lambda: quarantined() == [1])
        assert send(association, whole, sop_instance_uid=uid_of(image)).status == 0x0000
        wait_until(lambda: quarantined() == [0])


def test_what_is_no_dicom_is_refused_and_kept_aside(node: Node, image: Path) -> None:
    junk = os.urandom(200_000)
    with associated(node.settings.scp.port) as association:
        assert send(association, junk, sop_instance_uid="1.2.3").status == 0xC000
    wait_until(lambda: node.quarantined())
    (kept,) = node.quarantined()
    assert node.spool.quarantine_path(kept.name).read_bytes().endswith(junk)
    assert is_alive(node, image)


def test_another_object_under_a_known_uid_is_kept_aside(node: Node, image: Path) -> None:
    other, _ = encoded(image, ImageComments="changed")
    with associated(node.settings.scp.port) as association:
        first = send(association, data_set_bytes(image), sop_instance_uid=uid_of(image))
        second = send(association, other, sop_instance_uid=uid_of(image))
    assert (first.status, second.status) == (0x0000, 0xC002)
    (stored,) = node.objects()
    assert data_set_bytes(stored) == data_set_bytes(image)
    wait_until(lambda: node.quarantined())
    (kept,) = node.quarantined()
    assert kept.reason == "conflict"
    assert kept.sop_instance_uid == uid_of(image)
    assert data_set_bytes(node.spool.quarantine_path(kept.name)) == other


def test_nothing_of_the_patient_reaches_logs_or_database(
    make_settings: Callable[..., Settings], tmp_path: Path, image: Path
) -> None:
    with running(make_settings(), tmp_path / "node") as node:
        with associated(node.settings.scp.port) as association:
            uid = uid_of(image)
            send(association, data_set_bytes(image), sop_instance_uid=uid)
            send(association, data_set_bytes(image)[:-50], sop_instance_uid=uid)
            send(association, encoded(image, ImageComments="x")[0], sop_instance_uid=uid)
            send(association, encoded(image, Modality="Secret^Pat")[0], sop_instance_uid="1.2")
        wait_until(lambda: len(node.quarantined()) == 3)
        assert node.stop() == 0
    kept = [node.log, *node.settings.node.data_folder.glob("tracking.sqlite*")]
    assert all(b"ecret" not in path.read_bytes() for path in kept)


def memory_mib(node: Node) -> float:
    pages = int(Path(f"/proc/{node.process.pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1024**2


def test_a_pdu_of_a_gibibyte_is_not_waited_for(node: Node, image: Path) -> None:
    before = memory_mib(node)
    with socket.create_connection(("127.0.0.1", node.settings.scp.port), timeout=60) as peer:
        peer.sendall(struct.pack(">BBL", 1, 0, GIBIBYTE))
        assert peer.recv(1) == b""
    assert memory_mib(node) - before < 50
    assert "announced a PDU" in node.log.read_text()
    assert is_alive(node, image)


def test_a_pdu_of_a_gibibyte_inside_an_association_ends_it(node: Node, image: Path) -> None:
    before = memory_mib(node)
    with associated(node.settings.scp.port) as association:
        wire = association.dul.socket
        assert wire is not None
        assert wire.socket is not None
        wire.socket.sendall(struct.pack(">BBL", 4, 0, GIBIBYTE) + bytes(100_000))
        wait_until(lambda: not association.is_established)
    assert memory_mib(node) - before < 50
    assert is_alive(node, image)


def test_silent_connections_do_not_shut_others_out(node: Node, image: Path) -> None:
    with ExitStack() as silent:
        for _ in range(40):
            peer = silent.enter_context(socket.socket())
            peer.bind(("127.0.0.2", 0))
            peer.connect(("127.0.0.1", node.settings.scp.port))
        assert is_alive(node, image)
    threads = Path(f"/proc/{node.process.pid}/task")
    wait_until(lambda: len(list(threads.iterdir())) < 15, 60)


@pytest.mark.parametrize(
    "begun",
    [b"\x01", b"\x01\x00\x00\x00\x01\x00half a request"],
    ids=["header", "body"],
)
def test_a_peer_that_stops_in_the_middle_is_dropped(node: Node, image: Path, begun: bytes) -> None:
    with socket.create_connection(("127.0.0.1", node.settings.scp.port), timeout=20) as peer:
        peer.sendall(begun)
        assert peer.recv(1) == b""
    threads = Path(f"/proc/{node.process.pid}/task")
    wait_until(lambda: len(list(threads.iterdir())) < 15, 60)
    assert is_alive(node, image)


@pytest.mark.parametrize(
    "junk",
    [b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", bytes(100), b"\xff" * 100],
    ids=["http", "zeros", "ones"],
)
def test_another_protocol_is_dropped(node: Node, image: Path, junk: bytes) -> None:
    with socket.create_connection(("127.0.0.1", node.settings.scp.port), timeout=20) as peer:
        peer.sendall(junk)
        with suppress(ConnectionResetError):  # it hung up without reading the rest
            assert peer.recv(100) == b""
    assert is_alive(node, image)


def test_an_object_beyond_the_limit_ends_the_association(
    make_settings: Callable[..., Settings], tmp_path: Path, image: Path
) -> None:
    settings = make_settings(scp={"maximum_object_bytes": 1_000_000})
    with running(settings, tmp_path / "node") as node:
        with associated(node.settings.scp.port) as association:
            answer = send(association, bytes(20_000_000), sop_instance_uid="1.2.3")
        assert answer.status is None
        assert "data set is larger than 1000000 bytes" in node.log.read_text()
        assert is_alive(node, image)


def test_one_peer_can_not_take_all_associations(
    make_settings: Callable[..., Settings], tmp_path: Path, image: Path
) -> None:
    settings = make_settings(scp={"maximum_associations_per_peer": 2})
    with running(settings, tmp_path / "node") as node, ExitStack() as stack:
        held = [stack.enter_context(associated(node.settings.scp.port)) for _ in range(3)]
        assert [association.is_established for association in held] == [True, True, False]
        assert held[2].is_rejected
        wait_until(lambda: len(node.events("association rejected")) == 1)
