"""Bounds on what one connection can make this node hold, set before the first byte is read.

pynetdicom 3 reads as many bytes as a PDU header announces, for as long as that takes, in pieces of
4 KiB, whoever asked for the association. `guard` puts a bounded and faster `recv` on the
connection's `AssociationSocket`. It leans on
these facts, which tests/contract/test_pynetdicom.py checks for each version: EVT_CONN_OPEN fires
before anything is read; the DUL calls `recv(6)`, then `recv(announced length)`, and takes fewer
bytes than asked for as a closed connection.
"""

from __future__ import annotations

import logging
import socket
import ssl
import time
from dataclasses import dataclass

from pynetdicom.association import Association
from pynetdicom.transport import AssociationSocket

LOGGER = logging.getLogger("dicomnode.association")

# PS3.8 limits only P-DATA by the negotiated maximum; a request with all 128 presentation contexts
# and dozens of transfer syntaxes each stays well below this.
LONGEST_PDU_BYTES = 1_048_576
_HEADER_BYTES = 6
# Asynchronous operations are never granted, so one request waits at a time; a little slack.
MOST_WAITING_MESSAGES = 4
# A command set holds a few UIDs, numbers and a comment (PS3.7 annex E).
LONGEST_COMMAND_BYTES = 65_536
_LOOK_AGAIN_SECONDS = 0.005


@dataclass(frozen=True)
class Limits:
    """`pdu_seconds` is the time that one PDU may take from its first byte to its last.

    A requestor is sent responses without asking for each, so they have to wait for their reader
    (`may_wait`); an acceptor is sent one request at a time, and the first one has to be whole
    `opening_seconds` after the connection, with the TLS handshake before it.
    """

    pdu_seconds: float
    object_bytes: int
    may_wait: bool = False
    opening_seconds: float = float("inf")
    pdu_bytes: int = LONGEST_PDU_BYTES


def guard(association: Association, limits: Limits) -> BoundedReader | None:
    """Bound the reading of a new association; called from EVT_CONN_OPEN. None: it is closed."""
    wire = association.dul.socket
    if wire is None:
        return None
    reader = BoundedReader(association, wire, limits)
    setattr(wire, "recv", reader)  # noqa: B010
    return reader


def acknowledge_at_once(connection: socket.socket) -> None:
    """A peer that writes a message in pieces, with Nagle's algorithm on (dcmtk, so Orthanc), waits
    for each acknowledgement; Linux would delay it, and every object take 48 ms longer.

    The option holds for the next acknowledgement only, so it is set whenever more is read.
    """
    if hasattr(socket, "TCP_QUICKACK"):
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)


def _finish_handshake(connection: socket.socket, deadline: float) -> None:
    """In the thread of the association: whoever accepts connections must not wait for a peer.

    Raises `TimeoutError` and `ssl.SSLError`.
    """
    if isinstance(connection, ssl.SSLSocket) and connection.version() is None:
        connection.settimeout(max(deadline - time.monotonic(), 0.001))
        connection.do_handshake()


def read_into(connection: socket.socket, view: memoryview, deadline: float, least: int = 0) -> int:
    """Fill `view`, or at least `least` bytes of it (0: all); how many were read.

    Fewer where the peer closed the connection. Raises `TimeoutError`, `ssl.SSLError`.
    """
    read, wanted = 0, least or len(view)
    while read < wanted:
        connection.settimeout(max(deadline - time.monotonic(), 0.001))
        count = connection.recv_into(view[read:])
        if count == 0:
            break
        read += count
    return read


class BoundedReader:
    """Stands in for `AssociationSocket.recv` of one connection."""

    def __init__(self, association: Association, wire: AssociationSocket, limits: Limits) -> None:
        self._association = association
        self._wire = wire
        self.limits = limits
        self._given_back = bytearray()
        self._left_to_open = 2  # header and rest of the first PDU
        self._opening_deadline = time.monotonic() + limits.opening_seconds

    def __call__(self, nr_bytes: int) -> bytearray:
        connection = self._wire.socket
        if connection is None:
            return bytearray()
        excess = self._excess(nr_bytes)
        if excess:
            return self.hang_up(excess)
        acknowledge_at_once(connection)
        deadline = self._deadline()
        buffer = bytearray(nr_bytes)
        buffer[: len(self._given_back)] = given_back = self._given_back[:nr_bytes]
        read = len(given_back)
        del self._given_back[:read]
        try:
            _finish_handshake(connection, deadline)
            with memoryview(buffer) as view:
                read += read_into(connection, view[read:], deadline)
            del buffer[read:]
        except TimeoutError:
            return self.hang_up("a PDU, or what comes before it, took too long")
        except ssl.SSLError as error:
            return self.hang_up(f"TLS failed: {error.reason or 'no reason'}")
        # What is sent to a peer that takes nothing is bounded too.
        connection.settimeout(self.limits.pdu_seconds)
        if nr_bytes == _HEADER_BYTES and buffer and not 1 <= buffer[0] <= 7:
            return self.hang_up(f"it sent something else than a PDU: {buffer[0]:#x}")
        return buffer

    def give_back(self, *read: bytes | bytearray | memoryview) -> None:
        """Bytes that were read past this reader: they come first when it is asked again."""
        for part in read:
            self._given_back += part

    def _deadline(self) -> float:
        deadline = time.monotonic() + self.limits.pdu_seconds
        if self._left_to_open:
            self._left_to_open -= 1
            deadline = min(deadline, self._opening_deadline)
        return deadline

    def _excess(self, nr_bytes: int) -> str:
        if nr_bytes > self.limits.pdu_bytes:
            return f"it announced a PDU of {nr_bytes} bytes, at most {self.limits.pdu_bytes} pass"
        if self._are_too_many_waiting():
            return "it sent requests without waiting for the answers"
        message = self._association.dimse.message
        if message is None:
            return ""
        if message.encoded_command_set.tell() > LONGEST_COMMAND_BYTES:
            return f"its command set is longer than {LONGEST_COMMAND_BYTES} bytes"
        data_set = message.data_set
        if data_set is not None and data_set.tell() > self.limits.object_bytes:
            return f"its data set is larger than {self.limits.object_bytes} bytes"
        return ""

    def _are_too_many_waiting(self) -> bool:
        """Responses wait on the wire, until those before are read or something is to be sent."""
        waiting = self._association.dimse.msg_queue
        to_send = self._association.dul.to_provider_queue
        while waiting.qsize() > MOST_WAITING_MESSAGES:
            if not self.limits.may_wait:
                return True
            if not to_send.empty():
                return False
            time.sleep(_LOOK_AGAIN_SECONDS)
        return False

    def hang_up(self, why: str) -> bytearray:
        LOGGER.warning(
            "connection closed: %s", why, extra={"peer": self._association.remote["address"]}
        )
        # Nothing more is read; the short answer makes pynetdicom see a closed connection.
        connection, self._wire.socket = self._wire.socket, None
        if connection is not None:
            connection.close()
        return bytearray()
