"""Reading C-STORE requests past pynetdicom: what it takes for granted there, and what each kind of
message becomes. Run for each version of pynetdicom."""

from __future__ import annotations

import inspect
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import closing
from io import BytesIO

import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ImplicitVRLittleEndian
from pynetdicom import AE, evt
from pynetdicom.association import Association
from pynetdicom.dul import DULServiceProvider
from pynetdicom.presentation import build_context
from pynetdicom.sop_class import CTImageStorage, Verification  # type: ignore[attr-defined]

from bench.raw_association import C_STORE_RQ, RawAssociation, command_set, message
from dicomnode.delivery.guard import Limits, guard
from dicomnode.dimse import direct
from dicomnode.dimse.command_set import StoreRequest

CT = str(CTImageStorage)
LONGEST_OBJECT = 3_000_000


class Receiving:
    """A server that reads directly; `stored` has come that way, `by_event` by pynetdicom."""

    def __init__(self, pdu_seconds: float = 20.0) -> None:
        self.stored: list[tuple[StoreRequest, direct.Context, bytes]] = []
        self.by_event: list[bytes] = []
        self.ended: list[str] = []
        self.done = threading.Event()
        self.raises: Exception | None = None
        self._limits = Limits(pdu_seconds, LONGEST_OBJECT)
        entity = AE("DICOMNODE")
        entity.maximum_pdu_size = 131_072
        entity.add_supported_context(CTImageStorage)
        entity.add_supported_context(Verification)
        handlers: list[evt.EventHandlerType] = [
            (evt.EVT_CONN_OPEN, self._on_open),
            (evt.EVT_C_STORE, self._on_store),
            (evt.EVT_RELEASED, lambda _: self._end("released")),
            (evt.EVT_ABORTED, lambda _: self._end("aborted")),
            (evt.EVT_CONN_CLOSE, lambda _: self._end("closed")),
        ]
        self.entity = entity
        self.server = entity.start_server(("127.0.0.1", 0), block=False, evt_handlers=handlers)
        assert self.server is not None
        self.port = int(self.server.server_address[1])

    def _on_open(self, event: evt.Event) -> None:
        reader = guard(event.assoc, self._limits)
        assert reader is not None
        direct.read_directly(event.assoc, reader, self._store)

    def _on_store(self, event: evt.Event) -> int:
        assert event.request is not None
        data_set = event.request.DataSet  # type: ignore[union-attr]
        assert isinstance(data_set, BytesIO)
        self.by_event.append(data_set.getvalue())
        return 0x0000

    def _store(
        self, _: Association, request: StoreRequest, context: direct.Context, data: memoryview
    ) -> tuple[int, str]:
        if self.raises is not None:
            raise self.raises
        self.stored.append((request, context, bytes(data)))
        return (0x0000, "") if len(data) < 1_000_000 else (0xB000, "long")

    def _end(self, how: str) -> None:
        self.ended.append(how)
        self.done.set()


@pytest.fixture
def receiving() -> Iterator[Receiving]:
    made = Receiving()
    yield made
    assert made.server is not None
    made.server.shutdown()


def request(data: bytes, uid: str = "1.2.3", longest: int = 131_072) -> bytearray:
    return message(command_set(C_STORE_RQ, CT, uid), data, longest)


def pdu(*values: tuple[bytes, int]) -> bytes:
    """One P-DATA-TF of several presentation data values: fragment and control header."""
    body = b"".join(struct.pack(">LBB", len(part) + 2, 1, how) + part for part, how in values)
    return struct.pack(">BxL", 4, len(body)) + body


def smallest() -> Dataset:
    data_set = Dataset()
    data_set.file_meta = FileMetaDataset()
    data_set.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
    data_set.SOPClassUID, data_set.SOPInstanceUID = CT, "1.2.3"
    return data_set


def test_the_private_parts_are_as_expected() -> None:
    association = Association(AE("A"), "acceptor")
    assert all(hasattr(association.dul, name) for name in direct._PRIVATE)
    assert association.dul.state_machine.current_state == "Sta1"
    assert "self._read_pdu_data()" in inspect.getsource(DULServiceProvider._is_transport_event)
    assert str(inspect.signature(DULServiceProvider._read_pdu_data)) == "(self) -> None"
    assert association.dul.event_queue.empty()
    assert association.dul._recv_pdu.empty()


def test_objects_of_any_length_and_number_are_read_and_answered(receiving: Receiving) -> None:
    sent = [bytes([number]) * size for number, size in enumerate((2, 131_000, 700_001, 2_500_000))]
    with RawAssociation(receiving.port, CT) as association:
        answers = [association.exchange(request(data, f"1.2.{n}")) for n, data in enumerate(sent)]
    assert answers == [0x0000, 0x0000, 0x0000, 0xB000]
    assert [data for _, _, data in receiving.stored] == sent
    assert [one.sop_instance_uid for one, _, _ in receiving.stored] == [
        f"1.2.{n}" for n in range(4)
    ]
    assert {context for _, context, _ in receiving.stored} == {(CT, "1.2.840.10008.1.2.1")}
    assert receiving.by_event == []
    assert receiving.done.wait(20)
    assert receiving.ended[0] == "released"


def test_a_message_may_lie_in_one_pdu_and_two_in_one(receiving: Receiving) -> None:
    command = command_set(C_STORE_RQ, CT, "1.2.3")
    first = pdu((command, 3), (b"one", 0), (b"more", 2))
    both = pdu((command, 3), (b"two", 2), (command, 3), (b"three", 2))
    with RawAssociation(receiving.port, CT) as association:
        assert association.exchange(first) == 0
        assert association.exchange(both) == 0
        assert association.exchange(b"") == 0  # the answer to the second of both
    assert [data for _, _, data in receiving.stored] == [b"onemore", b"two", b"three"]


def test_pynetdicom_gets_what_is_unusual_untouched(receiving: Receiving) -> None:
    """A command set in fragments, one with an unknown element, and a C-ECHO, between others."""
    command = command_set(C_STORE_RQ, CT, "1.2.3")
    split = pdu((command[:20], 1), (command[20:], 3)) + pdu((b"split", 2))
    odd = pdu((command + struct.pack("<HHL", 0, 0x5110, 2) + b"x ", 3), (b"odd", 2))
    with RawAssociation(receiving.port, CT) as association:
        assert association.exchange(request(b"usual")) == 0
        assert association.exchange(split) == 0
        assert association.exchange(odd) == 0
        assert association.exchange(request(b"again")) == 0
    assert [data for _, _, data in receiving.stored] == [b"usual", b"again"]
    assert receiving.by_event == [b"split", b"odd"]


def test_echoes_and_stores_share_an_association(receiving: Receiving) -> None:
    entity = AE("PEER")
    entity.requested_contexts = [build_context(Verification), build_context(CTImageStorage)]
    association = entity.associate("127.0.0.1", receiving.port)
    for _ in range(3):
        assert association.send_c_echo().Status == 0
        assert association.send_c_store(smallest()).Status == 0
    association.release()
    assert receiving.done.wait(20)
    assert receiving.ended[0] == "released"
    assert (len(receiving.stored), receiving.by_event) == (3, [])


def test_a_handler_that_fails_is_a_failure_for_the_sender(receiving: Receiving) -> None:
    receiving.raises = ValueError("a mistake")
    with RawAssociation(receiving.port, CT) as association:
        assert association.exchange(request(b"data")) == 0x0110
        receiving.raises = None
        assert association.exchange(request(b"data")) == 0x0000


A_ABORT = struct.pack(">BxLxxBB", 7, 4, 0, 0)
BEGUN = pdu((command_set(C_STORE_RQ, CT, "1.2.3"), 3)) + pdu((b"begun", 0))


@pytest.mark.parametrize(
    "sent",
    [
        pytest.param(BEGUN + A_ABORT, id="abort inside of an object"),
        pytest.param(BEGUN + BEGUN, id="a message inside of another"),
        pytest.param(BEGUN + b"\x04\0\0\0\0\x64\0\0\0\x60\x01\0abc", id="cut off"),
        pytest.param(BEGUN + b"\x04\0\x40\0\0\0\0\0\0\x60\x01\0", id="a PDU of 1 GiB"),
        pytest.param(BEGUN + b"\x04\0\0\0\0\x08\0\0\0\x60\x01\0ab", id="a value beyond its PDU"),
        pytest.param(BEGUN + b"".join(pdu((bytes(100_000), 0)) for _ in range(31)), id="too large"),
    ],
)
def test_what_breaks_the_rules_ends_the_association_and_stores_nothing(
    receiving: Receiving, sent: bytes
) -> None:
    association = RawAssociation(receiving.port, CT)
    with closing(association._socket) as wire:
        wire.sendall(sent)
        wire.shutdown(socket.SHUT_WR)
        assert receiving.done.wait(20)
    assert receiving.stored == []
    assert receiving.by_event == []
    with RawAssociation(receiving.port, CT) as after:
        assert after.exchange(request(b"after")) == 0


def test_an_object_that_crawls_is_given_up() -> None:
    receiving = Receiving(pdu_seconds=0.2)
    association = RawAssociation(receiving.port, CT)
    with closing(association._socket) as wire:
        wire.sendall(BEGUN + b"\x04\0\0\0\0\x64\0\0\0\x60\x01\0abc")
        assert receiving.done.wait(20)
    assert receiving.stored == []
    assert receiving.server is not None
    receiving.server.shutdown()


def test_an_abort_of_ours_is_sent_between_two_pdus(receiving: Receiving) -> None:
    """A sender that goes on for ever doesn't keep this node from ending."""
    association = RawAssociation(receiving.port, CT)
    with closing(association._socket) as wire:
        wire.sendall(BEGUN)
        (ours,) = receiving.entity.active_associations
        ours.abort(block=False)
        assert wire.recv(1) == b"\x07"
    assert receiving.stored == []


def test_without_the_private_parts_the_public_way_is_taken(
    receiving: Receiving, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(direct, "_PRIVATE", ("not there any more",))
    with RawAssociation(receiving.port, CT) as association:
        assert association.exchange(request(b"data")) == 0
    assert (receiving.stored, receiving.by_event) == ([], [b"data"])


def test_a_peer_that_takes_only_short_pdus_is_answered_by_pynetdicom(receiving: Receiving) -> None:
    entity = AE("PEER")
    entity.requested_contexts = [build_context(CTImageStorage)]
    association = entity.associate("127.0.0.1", receiving.port, max_pdu=256)
    assert association.send_c_store(smallest()).Status == 0
    association.release()
    assert (len(receiving.stored), len(receiving.by_event)) == (0, 1)
