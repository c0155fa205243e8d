"""The sending half of a DICOM association (PS3.8, PS3.7), as small and as fast as Python allows.

A bench needs a sender that is not the bottleneck: each message is encoded once, of the next one
only the UIDs are exchanged, and it goes out in one call of the socket.
"""

from __future__ import annotations

import socket
import struct
from types import TracebackType
from typing import Self

C_STORE_RQ, C_ECHO_RQ = 0x0001, 0x0030
VERIFICATION = "1.2.840.10008.1.1"
_APPLICATION_CONTEXT = "1.2.840.10008.3.1.1.1"
_EXPLICIT_VR_LITTLE_ENDIAN = "1.2.840.10008.1.2.1"
_IMPLEMENTATION = "1.2.826.0.1.3680043.9.7.1"
_ASSOCIATE_AC, _P_DATA_TF, _RELEASE_RQ, _RELEASE_RP = 2, 4, 5, 6
_CONTEXT_ID = 1
_COMMAND, _LAST = 1, 2
_STATUS = (0x0000, 0x0900)


class RawAssociation:
    """One presentation context, explicit VR little endian. Use as a context manager.

    `maximum_pdu_bytes`: the longest P-DATA-TF that the peer takes. Raises `ConnectionError` for
    every answer that a bench has no use for, `OSError` as sockets do.
    """

    def __init__(self, port: int, sop_class_uid: str, called: str = "DICOMNODE") -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=60)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            self._socket.sendall(_associate_rq(sop_class_uid, called))
            kind, body = self._pdu()
            if kind != _ASSOCIATE_AC:
                raise ConnectionError(f"the association was not accepted: PDU type {kind}")
            self.maximum_pdu_bytes = _negotiated(body)
        except BaseException:
            self._socket.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, _: BaseException | None, __: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                self._socket.sendall(struct.pack(">BxIxxxx", _RELEASE_RQ, 4))
                if self._pdu()[0] != _RELEASE_RP:
                    raise ConnectionError("the release was not answered")
        finally:
            self._socket.close()

    def exchange(self, message: bytes | bytearray) -> int:
        """Send one encoded message, and the status (0000,0900) of its answer."""
        self._socket.sendall(message)
        command = b""
        while True:
            kind, body = self._pdu()
            if kind != _P_DATA_TF:
                raise ConnectionError(f"PDU type {kind} in place of an answer")
            found, last = _command_part(body)
            command += found
            if last:
                return _status(command)

    def _pdu(self) -> tuple[int, bytes]:
        kind, length = struct.unpack(">BxI", self._exactly(6))
        return kind, self._exactly(length)

    def _exactly(self, count: int) -> bytes:
        got = b""
        while len(got) < count:
            part = self._socket.recv(count - len(got))
            if not part:
                raise ConnectionError("the peer hung up")
            got += part
        return got


def echo(port: int) -> None:
    """Association, C-ECHO and release; raises `OSError` where there is no success."""
    with RawAssociation(port, VERIFICATION) as association:
        request = command_set(C_ECHO_RQ, VERIFICATION)
        if association.exchange(message(request, b"", association.maximum_pdu_bytes)):
            raise ConnectionError("the C-ECHO failed")


def command_set(field: int, sop_class_uid: str, sop_instance_uid: str = "") -> bytes:
    """Of a request (PS3.7 9.3): Implicit VR Little Endian, with its group length."""
    elements = [
        _element(0x0002, _uid(sop_class_uid)),
        _element(0x0100, struct.pack("<H", field)),
        _element(0x0110, struct.pack("<H", 1)),
        _element(0x0800, struct.pack("<H", 0x0001 if sop_instance_uid else 0x0101)),
    ]
    if sop_instance_uid:
        elements.insert(3, _element(0x0700, struct.pack("<H", 0)))
        elements.append(_element(0x1000, _uid(sop_instance_uid)))
    group = b"".join(elements)
    return _element(0x0000, struct.pack("<I", len(group))) + group


def message(command: bytes, data_set: bytes, maximum_pdu_bytes: int) -> bytearray:
    """All P-DATA-TF PDUs of a message (PS3.8 9.3.5), one PDV each."""
    longest = maximum_pdu_bytes - 6
    encoded = bytearray(_p_data(command, _COMMAND | _LAST))
    for start in range(0, len(data_set), longest):
        last = _LAST if start + longest >= len(data_set) else 0
        encoded += _p_data(data_set[start : start + longest], last)
    return encoded


def _p_data(fragment: bytes, header: int) -> bytes:
    size = len(fragment)
    return struct.pack(">BxIIBB", _P_DATA_TF, size + 6, size + 2, _CONTEXT_ID, header) + fragment


def _element(number: int, value: bytes) -> bytes:
    return struct.pack("<HHI", 0, number, len(value)) + value


def _uid(value: str) -> bytes:
    return value.encode() + b"\0" * (len(value) % 2)


def _item(kind: int, content: bytes) -> bytes:
    return struct.pack(">BxH", kind, len(content)) + content


def _associate_rq(sop_class_uid: str, called: str) -> bytes:
    syntaxes = _item(0x30, sop_class_uid.encode())
    syntaxes += _item(0x40, _EXPLICIT_VR_LITTLE_ENDIAN.encode())
    user = _item(0x51, struct.pack(">I", 131072)) + _item(0x52, _IMPLEMENTATION.encode())
    body = struct.pack(">Hxx16s16s32x", 1, called.ljust(16).encode(), b"BENCH".ljust(16))
    body += _item(0x10, _APPLICATION_CONTEXT.encode())
    body += _item(0x20, struct.pack(">Bxxx", _CONTEXT_ID) + syntaxes) + _item(0x50, user)
    return struct.pack(">BxI", 1, len(body)) + body


def _items(content: bytes) -> dict[int, bytes]:
    found, at = {}, 0
    while at < len(content):
        kind, length = struct.unpack_from(">BxH", content, at)
        found[kind] = content[at + 4 : at + 4 + length]
        at += 4 + length
    return found


def _negotiated(body: bytes) -> int:
    """The longest PDU that the peer takes; raises where it refused the presentation context."""
    items = _items(body[68:])
    if items[0x21][2]:
        raise ConnectionError("the presentation context was refused")
    (longest,) = struct.unpack(">I", _items(items[0x50])[0x51])
    return min(longest or 131072, 131072)


def _command_part(body: bytes) -> tuple[bytes, bool]:
    """What the PDVs of a P-DATA-TF hold of the answer, and whether it ends there."""
    found, last, at = b"", False, 0
    while at < len(body):
        length, _, header = struct.unpack_from(">IBB", body, at)
        found += body[at + 6 : at + 4 + length]
        last = bool(header & _LAST)
        at += 4 + length
    return found, last


def _status(command: bytes) -> int:
    at = 0
    while at < len(command):
        group, number, length = struct.unpack_from("<HHI", command, at)
        if (group, number) == _STATUS:
            return int.from_bytes(command[at + 8 : at + 8 + length], "little")
        at += 8 + length
    raise ConnectionError("an answer without a status")
