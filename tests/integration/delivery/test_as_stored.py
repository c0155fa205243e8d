"""What is sent as it is stored arrives byte for byte, in its own transfer syntax."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    MRImageStorage,
)
from pynetdicom import AE, evt

from dicomnode.config import DestinationSettings
from dicomnode.delivery.as_stored import Archive
from dicomnode.dicom.file_format import encode_file_meta
from dicomnode.errors import DeliveryError, DeliveryRefusedError

UID = "1.2.3.4"


@dataclass
class Peer:
    port: int = 0
    status: int = 0x0000
    abort: int = 0
    associations: int = 0
    got: list[tuple[str, bytes]] = field(default_factory=list)

    def store(self, event: evt.Event) -> int:
        if self.abort:
            self.abort -= 1
            event.assoc.abort()
            return 0xC000
        data = event.request.DataSet.getvalue()
        self.got.append((str(event.context.transfer_syntax), data))
        return self.status

    def accepted(self, _event: evt.Event) -> None:
        self.associations += 1


@contextmanager
def peer(*syntaxes: str) -> Iterator[Peer]:
    entity, found = AE("ARCHIVE"), Peer()
    entity.add_supported_context(MRImageStorage, list(syntaxes))
    handlers = [(evt.EVT_C_STORE, found.store), (evt.EVT_ACCEPTED, found.accepted)]
    server = entity.start_server(("127.0.0.1", 0), block=False, evt_handlers=handlers)
    assert server is not None
    found.port = server.server_address[1]
    try:
        yield found
    finally:
        server.shutdown()


def archive(at: Peer, *syntaxes: str) -> Archive:
    settings = DestinationSettings(
        name="research", ae_title="ARCHIVE", host="127.0.0.1", port=at.port, timeout_seconds=5
    )
    return Archive(settings, "NODE", [(MRImageStorage, syntax) for syntax in syntaxes])


def file(syntax: str, data_set: bytes) -> bytes:
    meta = encode_file_meta(
        sop_class_uid=MRImageStorage,
        sop_instance_uid=UID,
        transfer_syntax_uid=syntax,
        calling_ae_title="A",
        called_ae_title="B",
        peer_address="192.0.2.1",
    )
    return meta + data_set


# An encoded data set that pydicom would write anew in another way: a private element with an
# odd length, which no writer makes.
ODD = struct.pack("<HH2sHL", 0x0029, 0x1010, b"OB", 0, 3) + b"abc"


@pytest.mark.parametrize(
    "syntax",
    [
        ImplicitVRLittleEndian,
        ExplicitVRLittleEndian,
        ExplicitVRBigEndian,
        DeflatedExplicitVRLittleEndian,
        JPEG2000Lossless,
    ],
)
@pytest.mark.parametrize("size", [0, 1, 300_000])
def test_every_byte_arrives_in_every_transfer_syntax(syntax: str, size: int) -> None:
    data_set = ODD + bytes(range(256)) * (size // 256) + b"x" * (size % 256)
    with peer(syntax) as at, archive(at, syntax) as to:
        to.send(UID, file(syntax, data_set))
    assert at.got == [(syntax, data_set)]


def test_nothing_is_converted_for_a_peer_that_takes_another_syntax() -> None:
    with (
        peer(ImplicitVRLittleEndian) as at,
        archive(at, ExplicitVRLittleEndian, ImplicitVRLittleEndian) as to,
    ):
        with pytest.raises(DeliveryRefusedError, match="nothing is converted"):
            to.send(UID, file(ExplicitVRLittleEndian, ODD))
        to.send(UID, file(ImplicitVRLittleEndian, ODD))
    assert at.got == [(ImplicitVRLittleEndian, ODD)]


def test_all_objects_go_over_one_association_until_the_peer_ends_it() -> None:
    with peer(ExplicitVRLittleEndian) as at, archive(at, ExplicitVRLittleEndian) as to:
        for _ in range(3):
            to.send(UID, file(ExplicitVRLittleEndian, ODD))
        assert at.associations == 1
        at.abort = 1
        to.send(UID, file(ExplicitVRLittleEndian, ODD))
    assert (at.associations, len(at.got)) == (2, 4)


def test_a_peer_that_aborts_at_once_again_does_not_take_it_now() -> None:
    with peer(ExplicitVRLittleEndian) as at, archive(at, ExplicitVRLittleEndian) as to:
        at.abort = 1
        with pytest.raises(DeliveryError, match="did not answer"):
            to.send(UID, file(ExplicitVRLittleEndian, ODD))


@pytest.mark.parametrize(
    ("status", "error"), [(0xA700, DeliveryError), (0xC000, DeliveryRefusedError)]
)
def test_a_failure_of_the_peer_is_none_that_left(status: int, error: type[DeliveryError]) -> None:
    with peer(ExplicitVRLittleEndian) as at, archive(at, ExplicitVRLittleEndian) as to:
        at.status = status
        with pytest.raises(error):
            to.send(UID, file(ExplicitVRLittleEndian, ODD))


def test_a_file_that_changes_on_the_disk_is_not_what_is_sent(tmp_path: Path) -> None:
    """The bytes that were checked are sent from memory: no path of the disk is read again."""
    on_disk = tmp_path / "it.dcm"
    on_disk.write_bytes(file(ExplicitVRLittleEndian, ODD))
    checked = on_disk.read_bytes()
    on_disk.write_bytes(b"another")
    with peer(ExplicitVRLittleEndian) as at, archive(at, ExplicitVRLittleEndian) as to:
        to.send(UID, checked)
    assert at.got == [(ExplicitVRLittleEndian, ODD)]
