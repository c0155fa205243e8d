"""Storage SCU against real peers, willing and unwilling."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from pydicom import dcmread
from pydicom.uid import (
    CTImageStorage,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)
from pynetdicom.sop_class import Verification

from dicomnode.config import DestinationSettings
from dicomnode.delivery.store import Sent, echo, send
from dicomnode.dicom.uids import result_uid
from dicomnode.errors import DeliveryError, DeliveryRefusedError
from tests.small_node import write_seg
from tests.storage_peer import storage_peer


def _destination(port: int, timeout_seconds: float = 60.0) -> DestinationSettings:
    return DestinationSettings(
        name="pacs", ae_title="PACS", host="127.0.0.1", port=port, timeout_seconds=timeout_seconds
    )


@pytest.fixture
def segs(tmp_path: Path) -> list[Path]:
    return [
        write_seg(tmp_path / f"{kind}.dcm", result_uid("store", kind), result_uid("store"))
        for kind in ("foreground", "face")
    ]


def _uid(path: Path) -> str:
    return str(dcmread(path).SOPInstanceUID)


def test_every_file_arrives_under_the_calling_ae_title(segs: list[Path]) -> None:
    with storage_peer() as peer:
        assert send(_destination(peer.port), segs, "NODE") == Sent((), "explicit")
    assert dict(peer.received) == {_uid(path): 1 for path in segs}
    assert peer.callers == {"NODE"}
    assert peer.syntaxes == {ExplicitVRLittleEndian}


def test_a_destination_may_have_a_calling_ae_title_of_its_own(segs: list[Path]) -> None:
    with storage_peer() as peer:
        own = _destination(peer.port).model_copy(update={"calling_ae_title": "OTHER"})
        send(own, segs, "NODE")
    assert peer.callers == {"OTHER"}


def test_a_peer_that_knows_only_the_default_transfer_syntax_is_served(segs: list[Path]) -> None:
    with storage_peer(syntaxes=[ImplicitVRLittleEndian]) as peer:
        assert send(_destination(peer.port), segs, "NODE").transfer_syntax == "implicit"
    assert peer.syntaxes == {ImplicitVRLittleEndian}
    assert len(peer.received) == 2
    assert peer.associations == 2


@pytest.mark.parametrize("status", [0xA900, 0xC000])
def test_a_peer_that_refuses_objects_of_one_transfer_syntax_gets_them_in_another(
    segs: list[Path], status: int
) -> None:
    with storage_peer() as peer:
        peer.status_in[ExplicitVRLittleEndian] = status
        assert send(_destination(peer.port), segs, "NODE").transfer_syntax == "implicit"
    assert len(peer.received) == 2


def test_a_deflated_seg_is_sent_to_those_who_take_it_and_inflated_to_others(
    segs: list[Path],
) -> None:
    first = {"transfer_syntaxes": ("deflated", "explicit")}
    for syntaxes in ((DeflatedExplicitVRLittleEndian,), (ExplicitVRLittleEndian,)):
        with storage_peer(syntaxes=syntaxes) as peer:
            send(_destination(peer.port).model_copy(update=first), segs, "NODE")
        assert peer.syntaxes == set(syntaxes)
        assert len(peer.received) == 2


def test_nobody_listens(segs: list[Path], free_port: int) -> None:
    with pytest.raises(
        DeliveryError, match=rf"pacs \(PACS at 127.0.0.1:{free_port}\).*connections"
    ):
        send(_destination(free_port), segs, "NODE")


def test_a_host_that_has_no_address(segs: list[Path]) -> None:
    nowhere = _destination(104).model_copy(update={"host": "no-such-host.invalid"})
    with pytest.raises(DeliveryError, match="can't be reached"):
        send(nowhere, segs, "NODE")


def test_a_rejected_association_may_be_tried_again(segs: list[Path]) -> None:
    with (
        storage_peer(ae_title="SOMEBODY", strict=True) as peer,
        pytest.raises(DeliveryError, match="rejected the association: Called AE title not") as info,
    ):
        send(_destination(peer.port), segs, "NODE")
    assert not isinstance(info.value, DeliveryRefusedError)


def test_no_accepted_presentation_context_is_final(segs: list[Path]) -> None:
    with (
        storage_peer(sop_classes=[CTImageStorage, Verification]) as peer,
        pytest.raises(
            DeliveryRefusedError,
            match=r"no presentation context for Segmentation Stor.*from NODE.*jobs retry",
        ),
    ):
        send(_destination(peer.port), segs, "NODE")


@pytest.mark.parametrize("status", [0xA700, 0xA7FF, 0x0110, 0x0124, 0xFE00])
def test_statuses_that_may_pass(segs: list[Path], status: int) -> None:
    with (
        storage_peer(statuses=[status]) as peer,
        pytest.raises(DeliveryError, match=f"0x{status:04X}") as info,
    ):
        send(_destination(peer.port), segs, "NODE")
    assert not isinstance(info.value, DeliveryRefusedError)


@pytest.mark.parametrize("status", [0xA900, 0xA9FF, 0xC000, 0xCFFF, 0x0122, 0x0117])
def test_statuses_that_stay(segs: list[Path], status: int) -> None:
    with (
        storage_peer(statuses=[status, status]) as peer,
        pytest.raises(DeliveryRefusedError, match=f"0x{status:04X}"),
    ):
        send(_destination(peer.port), segs, "NODE")


@pytest.mark.parametrize("status", [0xB000, 0xB007, 0x0111])
def test_a_warning_counts_as_stored_and_is_told(segs: list[Path], status: int) -> None:
    with storage_peer(statuses=[0x0000, status]) as peer:
        (warning,) = send(_destination(peer.port), segs, "NODE").warnings
    assert f"0x{status:04X}" in warning
    assert _uid(segs[1]) in warning


def test_a_peer_that_aborts_may_be_tried_again(segs: list[Path]) -> None:
    with storage_peer() as peer:
        peer.aborts = 1
        with pytest.raises(DeliveryError, match="aborted"):
            send(_destination(peer.port), segs, "NODE")
        send(_destination(peer.port), segs, "NODE")
    assert len(peer.received) == 2


def test_a_silent_peer_costs_one_time_out(segs: list[Path]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        began = time.monotonic()
        with pytest.raises(DeliveryError, match="did not answer"):
            send(_destination(silent.getsockname()[1], timeout_seconds=0.5), segs, "NODE")
        assert time.monotonic() - began < 5


def test_a_file_that_is_gone_is_told_and_a_broken_one_is_final(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        send(_destination(104), [tmp_path / "none.dcm"], "NODE")
    broken = tmp_path / "broken.dcm"
    broken.write_bytes(b"no DICOM")
    with pytest.raises(DeliveryRefusedError, match="no DICOM file"):
        send(_destination(104), [broken], "NODE")


def test_echo(free_port: int) -> None:
    with storage_peer() as peer:
        echo(_destination(peer.port))
    with pytest.raises(DeliveryError, match="does not accept connections"):
        echo(_destination(free_port))


@contextmanager
def _storescp(port: int, folder: Path) -> Iterator[None]:
    folder.mkdir()
    command = ["storescp", "--output-directory", str(folder), "-aet", "PACS", str(port)]
    process = subprocess.Popen(command)
    try:
        until = time.monotonic() + 10
        while time.monotonic() < until:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.02)
        yield
    finally:
        process.kill()
        process.wait(timeout=10)


@pytest.mark.peer
def test_dcmtk_gets_the_object_and_its_repetition(
    segs: list[Path], tmp_path: Path, free_port: int
) -> None:
    if shutil.which("storescp") is None:
        pytest.skip("dcmtk's storescp isn't installed (Debian: dcmtk)")
    inbox = tmp_path / "inbox"
    with _storescp(free_port, inbox):
        echo(_destination(free_port))
        send(_destination(free_port), segs, "NODE")
        send(_destination(free_port), segs, "NODE")
    arrived = {_uid(path): dcmread(path) for path in inbox.iterdir()}
    assert {_uid(path) for path in segs} == set(arrived)
    assert all(dcmread(path) == arrived[_uid(path)] for path in segs)
