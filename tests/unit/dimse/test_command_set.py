"""Command sets of C-STORE, against those that pynetdicom writes and reads."""

from __future__ import annotations

import struct
from io import BytesIO

import pytest
from pynetdicom.dimse_messages import C_ECHO_RQ, C_STORE_RQ
from pynetdicom.dimse_primitives import C_ECHO, C_STORE
from pynetdicom.dsutils import decode, encode

from dicomnode.dimse.command_set import StoreRequest, read_store_request, store_response

CT_IMAGE = "1.2.840.10008.5.1.4.1.1.2"
REQUEST = StoreRequest(7, CT_IMAGE, "1.2.3.4")


def encoded(message: C_STORE_RQ | C_ECHO_RQ) -> bytes:
    content = encode(message.command_set, is_implicit_vr=True, is_little_endian=True)
    assert content is not None
    return content


def store_request(data_set: bytes | None = b"data") -> bytes:
    primitive = C_STORE()
    primitive.MessageID, primitive.Priority = 7, 2
    primitive.AffectedSOPClassUID = CT_IMAGE
    primitive.AffectedSOPInstanceUID = "1.2.3.4"
    primitive.MoveOriginatorApplicationEntityTitle = "PACS"
    primitive.MoveOriginatorMessageID = 3
    primitive.DataSet = None if data_set is None else BytesIO(data_set)
    message = C_STORE_RQ()
    message.primitive_to_message(primitive)
    return encoded(message)


def echo_request() -> bytes:
    primitive = C_ECHO()
    primitive.MessageID = 7
    message = C_ECHO_RQ()
    message.primitive_to_message(primitive)
    return encoded(message)


def element(number: int, value: bytes, group: int = 0) -> bytes:
    return struct.pack("<HHL", group, number, len(value)) + value


def test_what_pynetdicom_writes_is_read() -> None:
    assert read_store_request(store_request()) == REQUEST


@pytest.mark.parametrize(
    "other",
    [
        echo_request(),
        store_request(None),
        b"",
        store_request()[:-1],
        store_request()[:-20] + b"\0\0",
        store_request() + element(0x0110, b"\1\0"),
        store_request() + element(0x0003, b"1.2.3\0"),
        element(0x0010, b"ME", group=8) + store_request(),
        store_request().replace(b"1.2.3.4\0", b"../../up"),
        store_request().replace(b"1.2.3.4\0", b"\0\0\0\0\0\0\0\0"),
        store_request().replace(struct.pack("<HHLH", 0, 0x0110, 2, 7), element(0x0110, b"")),
        store_request().replace(
            struct.pack("<HHL", 0, 2, 26), struct.pack("<HHL", 0, 2, 2**32 - 1)
        ),
    ],
)
def test_what_is_not_plainly_a_request_to_store_is_left_to_a_full_parser(other: bytes) -> None:
    assert read_store_request(other) is None


@pytest.mark.parametrize("comment", ["", "odd", "A comment"])
def test_pynetdicom_reads_what_is_answered(comment: str) -> None:
    response = decode(BytesIO(store_response(REQUEST, 0xA700, comment)), True, True)
    assert response.CommandGroupLength == len(store_response(REQUEST, 0xA700, comment)) - 12
    assert response.CommandField == 0x8001
    assert response.MessageIDBeingRespondedTo == 7
    assert response.CommandDataSetType == 0x0101
    assert response.Status == 0xA700
    assert response.get("ErrorComment", "") == comment
    assert (response.AffectedSOPClassUID, response.AffectedSOPInstanceUID) == (CT_IMAGE, "1.2.3.4")


def test_a_comment_is_as_long_as_the_standard_allows() -> None:
    response = decode(BytesIO(store_response(REQUEST, 0xC000, "x" * 100)), True, True)
    assert len(response.ErrorComment) == 64
