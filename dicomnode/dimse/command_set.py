"""The two command sets of C-STORE, read and written without building objects (PS3.7 9.3.1).

Implicit VR Little Endian, as every command set is (PS3.7 6.3.1).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from dicomnode.dicom.uid_syntax import is_uid

_C_STORE_RQ, _C_STORE_RSP = 0x0001, 0x8001
_NO_DATA_SET = 0x0101
_GROUP_LENGTH, _SOP_CLASS, _FIELD, _MESSAGE_ID = 0x0000, 0x0002, 0x0100, 0x0110
_RESPONDED_TO, _PRIORITY, _DATA_SET_TYPE = 0x0120, 0x0700, 0x0800
_STATUS, _ERROR_COMMENT, _SOP_INSTANCE = 0x0900, 0x0902, 0x1000
_MOVE_ORIGINATOR, _MOVE_MESSAGE_ID = 0x1030, 0x1031
_NUMBERS = frozenset({_FIELD, _MESSAGE_ID, _PRIORITY, _DATA_SET_TYPE, _MOVE_MESSAGE_ID})
_OTHERS = frozenset({_GROUP_LENGTH, _SOP_CLASS, _SOP_INSTANCE, _MOVE_ORIGINATOR})
_LONGEST_COMMENT = 64  # PS3.5 6.2, VR LO
_element = struct.Struct("<HHL")


@dataclass(frozen=True)
class StoreRequest:
    """The command set of a C-STORE-RQ that a data set follows; both UIDs are UIDs."""

    message_id: int
    sop_class_uid: str
    sop_instance_uid: str


def read_store_request(encoded: bytes) -> StoreRequest | None:
    """None for everything that is not plainly one: other messages, unknown, repeated or damaged
    elements, UIDs that are none, no data set. A full parser has to look at it then."""
    found = _elements(encoded)
    if found is None or _number(found, _FIELD) != _C_STORE_RQ:
        return None
    message_id, data_set = _number(found, _MESSAGE_ID), _number(found, _DATA_SET_TYPE)
    sop_class, sop_instance = _uid(found, _SOP_CLASS), _uid(found, _SOP_INSTANCE)
    if message_id is None or data_set in (None, _NO_DATA_SET) or not (sop_class and sop_instance):
        return None
    return StoreRequest(message_id, sop_class, sop_instance)


def store_response(request: StoreRequest, status: int, comment: str = "") -> bytes:
    """A C-STORE-RSP (PS3.7 Table 9.3-2), with an Error Comment where there is one."""
    said = comment.encode("ascii", "replace")[:_LONGEST_COMMENT]
    group = b"".join(
        (
            _encoded(_SOP_CLASS, request.sop_class_uid.encode(), b"\0"),
            _encoded(_FIELD, struct.pack("<H", _C_STORE_RSP)),
            _encoded(_RESPONDED_TO, struct.pack("<H", request.message_id)),
            _encoded(_DATA_SET_TYPE, struct.pack("<H", _NO_DATA_SET)),
            _encoded(_STATUS, struct.pack("<H", status)),
            _encoded(_ERROR_COMMENT, said, b" ") if said else b"",
            _encoded(_SOP_INSTANCE, request.sop_instance_uid.encode(), b"\0"),
        )
    )
    return _encoded(_GROUP_LENGTH, struct.pack("<L", len(group))) + group


def _elements(encoded: bytes) -> dict[int, bytes] | None:
    found: dict[int, bytes] = {}
    offset = 0
    while offset < len(encoded):
        if offset + _element.size > len(encoded):
            return None
        group, number, length = _element.unpack_from(encoded, offset)
        offset += _element.size
        known = number in _NUMBERS or number in _OTHERS
        if group != 0 or not known or number in found or length > len(encoded) - offset:
            return None
        found[number] = encoded[offset : offset + length]
        offset += length
    return found


def _number(found: dict[int, bytes], number: int) -> int | None:
    value = found.get(number, b"")
    return int.from_bytes(value, "little") if len(value) == 2 else None


def _uid(found: dict[int, bytes], number: int) -> str:
    """Empty where it is missing or no UID."""
    value = found.get(number, b"").decode("ascii", "replace").strip(" \0")
    return value if is_uid(value) else ""


def _encoded(number: int, value: bytes, pad: bytes = b"") -> bytes:
    value += pad * (len(value) % 2)
    return _element.pack(0, number, len(value)) + value
