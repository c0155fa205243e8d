"""C-STORE requests read from the socket straight into a buffer, past pynetdicom.

pynetdicom makes several objects of each PDU and carries them through queues between two threads;
most of the time of receiving goes there. Here a P-DATA-TF that begins a C-STORE request in the
established state is read, stored and answered in the thread that finds it. Negotiation, C-ECHO,
release, abort and everything unusual stay pynetdicom's: what was read is given back to it.

The only file that leans on private parts of pynetdicom: `DULServiceProvider._read_pdu_data` is
replaced for one association. tests/contract/test_direct.py fails where a version differs in what
is taken for granted here; `scp.read_directly = false` is the public way.
"""

from __future__ import annotations

import logging
import socket
import struct
import time
from collections.abc import Callable
from enum import Enum, auto
from functools import cached_property

from pynetdicom.association import Association

from dicomnode.delivery.guard import BoundedReader, acknowledge_at_once, read_into
from dicomnode.dimse.command_set import StoreRequest, read_store_request, store_response

LOGGER = logging.getLogger("dicomnode.association")

# SOP class and transfer syntax of a presentation context.
Context = tuple[str, str]
# Status and comment of the answer; the data set is there until it returns.
Store = Callable[[Association, StoreRequest, Context, memoryview], tuple[int, str]]

_PRIVATE = ("_read_pdu_data", "_idle_timer", "_recv_pdu", "_kill_thread")
_ESTABLISHED = "Sta6"  # PS3.8 Table 9-2
_P_DATA_TF = 4
_COMMAND, _LAST = 1, 2  # PS3.8 annex E.2
_PDU = struct.Struct(">BxL")
_PDV = struct.Struct(">LBB")
_LONGEST_COMMAND_BYTES = 1024
# The answer goes in one PDU; a peer that takes only shorter ones is none of the usual.
_SHORTEST_MAXIMUM_BYTES = 1024
# So long the next PDU is waited for here before pynetdicom looks whether it has something to do.
_LINGER_SECONDS = 0.02
_FIRST_BUFFER_BYTES = 1 << 20
_LARGEST_KEPT_BUFFER_BYTES = 8 << 20
_PROCESSING_FAILURE = (0x0110, "The object could not be written, send again later")


class _Found(Enum):
    PDU = auto()  # of a C-STORE request; it was read
    NOTHING = auto()
    OTHER = auto()  # for pynetdicom, to whose reader it was given back


class _BrokenOffError(Exception):
    """The peer is hung up on; pynetdicom then finds the connection closed."""


def read_directly(association: Association, reader: BoundedReader, store: Store) -> None:
    """From now on; called from EVT_CONN_OPEN. Without effect where pynetdicom has changed."""
    dul = association.dul
    if all(hasattr(dul, name) for name in _PRIVATE):
        setattr(dul, "_read_pdu_data", _DirectReader(association, reader, store))  # noqa: B010


class _DirectReader:
    """Stands in for `DULServiceProvider._read_pdu_data` of one association."""

    def __init__(self, association: Association, reader: BoundedReader, store: Store) -> None:
        self._association = association
        self._dul = association.dul
        self._read_by_pynetdicom = association.dul._read_pdu_data
        self._reader = reader
        self._store = store
        self._request: StoreRequest | None = None  # whose data set is being read
        self._context_id = 0
        self._data = bytearray()
        self._filled = 0
        self._deadline = 0.0

    def __call__(self) -> None:
        """Read on while C-STORE requests follow each other and pynetdicom has nothing to send."""
        dul = self._dul
        found = _Found.PDU
        while found is _Found.PDU:
            found = self._read_pdu() if self._may_read() else _Found.OTHER
            dul._idle_timer.restart()
            if dul._kill_thread or not (dul.to_provider_queue.empty() and dul.event_queue.empty()):
                break
        if found is _Found.OTHER:
            self._request, self._filled = None, 0
            self._read_by_pynetdicom()

    def _may_read(self) -> bool:
        """Inside of a message of ours, or where pynetdicom is between two messages."""
        association, dul = self._association, self._dul
        if dul.state_machine.current_state != _ESTABLISHED:
            return False
        return self._request is not None or (
            association.is_established
            and association.dimse.message is None
            and association.dimse.msg_queue.empty()
            and dul.event_queue.empty()
            and dul._recv_pdu.empty()
            and self._takes_answers
        )

    @cached_property
    def _takes_answers(self) -> bool:
        longest = self._association.requestor.maximum_length
        return not longest or longest >= _SHORTEST_MAXIMUM_BYTES

    @cached_property
    def _contexts(self) -> dict[int, Context]:
        return {
            context.context_id or 0: (str(context.abstract_syntax), str(context.transfer_syntax[0]))
            for context in self._association.accepted_contexts
        }

    def _read_pdu(self) -> _Found:
        wire = self._dul.socket
        connection = wire.socket if wire is not None else None
        if connection is None:
            return _Found.OTHER
        try:
            return self._read_p_data(connection)
        except TimeoutError:
            self._reader.hang_up("a PDU took too long")
        except OSError as error:
            self._reader.hang_up(f"the connection failed: {type(error).__name__}")
        except _BrokenOffError as error:
            self._reader.hang_up(str(error))
        return _Found.OTHER

    def _read_p_data(self, connection: socket.socket) -> _Found:
        """One P-DATA-TF PDU (PS3.8 9.3.5), which holds one or more presentation data values."""
        header = bytearray(_PDU.size + _PDV.size)
        connection.settimeout(_LINGER_SECONDS)
        try:
            got = connection.recv_into(header)
        except TimeoutError:
            return _Found.NOTHING
        acknowledge_at_once(connection)
        self._deadline = time.monotonic() + self._reader.limits.pdu_seconds
        with memoryview(header) as view:
            if 0 < got < _PDU.size:
                got += read_into(connection, view[got : _PDU.size], self._deadline)
            if got >= _PDU.size and header[0] == _P_DATA_TF and got < len(header):
                got += read_into(connection, view[got:], self._deadline)
        kind, left = _PDU.unpack_from(header)
        fits = _PDV.size <= left <= self._reader.limits.pdu_bytes
        if got < len(header) or kind != _P_DATA_TF or not fits:
            self._reader.give_back(header[:got])
            return _Found.OTHER
        return self._read_values(connection, left, bytes(header[_PDU.size :]))

    def _read_values(self, connection: socket.socket, left: int, header: bytes) -> _Found:
        """The presentation data values of a PDU of which `left` bytes follow its own header;
        that of the first value was read."""
        while True:
            length, context_id, control = _PDV.unpack(header)
            rest = left - 4 - length
            if length < 2 or rest < 0 or 0 < rest < _PDV.size:
                raise _BrokenOffError("a presentation data value does not fit into its PDU")
            if self._request is None:
                read = self._begin(connection, length - 2, context_id, control)
                if self._request is None:
                    self._reader.give_back(_PDU.pack(_P_DATA_TF, left), header, read)
                    return _Found.OTHER
            elif context_id != self._context_id or control & _COMMAND:
                raise _BrokenOffError("a message began in the middle of another one")
            else:
                self._take(connection, length - 2)
                if control & _LAST:
                    self._answer(connection)
            if rest == 0:
                return _Found.PDU
            header, left = bytes(self._exactly(connection, _PDV.size)), rest

    def _begin(
        self, connection: socket.socket, length: int, context_id: int, control: int
    ) -> bytes | bytearray:
        """A command set; what was read of it, for pynetdicom where it is no C-STORE request."""
        is_whole = control & (_COMMAND | _LAST) == _COMMAND | _LAST
        if not is_whole or length > _LONGEST_COMMAND_BYTES or context_id not in self._contexts:
            return b""
        command = self._exactly(connection, length)
        self._request = read_store_request(bytes(command))
        self._context_id, self._filled = context_id, 0
        return command

    def _take(self, connection: socket.socket, length: int) -> None:
        """A fragment of the data set."""
        end = self._filled + length
        if end > self._reader.limits.object_bytes:
            longest = self._reader.limits.object_bytes
            raise _BrokenOffError(f"its data set is larger than {longest} bytes")
        if end > (before := len(self._data)):
            self._data += bytes(max(end, _FIRST_BUFFER_BYTES, before + before // 4) - before)
        with memoryview(self._data) as view:
            self._fill(connection, view[self._filled : end])
        self._filled = end

    def _answer(self, connection: socket.socket) -> None:
        """Store what was read, and send the C-STORE response."""
        request, self._request = self._request, None
        assert request is not None
        try:
            with memoryview(self._data)[: self._filled] as data:
                context = self._contexts[self._context_id]
                answer = self._store(self._association, request, context, data)
        except Exception:
            LOGGER.exception("an object could not be taken in")
            answer = _PROCESSING_FAILURE
        if len(self._data) > _LARGEST_KEPT_BUFFER_BYTES:
            self._data = bytearray()
        command = store_response(request, *answer)
        connection.settimeout(self._reader.limits.pdu_seconds)
        wire = self._dul.socket
        if wire is not None and wire.socket is not None:
            wire.send(
                _PDU.pack(_P_DATA_TF, len(command) + _PDV.size)
                + _PDV.pack(len(command) + 2, self._context_id, _COMMAND | _LAST)
                + command
            )
        self._deadline = time.monotonic() + self._reader.limits.pdu_seconds

    def _exactly(self, connection: socket.socket, length: int) -> bytearray:
        data = bytearray(length)
        with memoryview(data) as view:
            self._fill(connection, view)
        return data

    def _fill(self, connection: socket.socket, view: memoryview) -> None:
        if read_into(connection, view, self._deadline) < len(view):
            raise _BrokenOffError("it hung up inside of a PDU")
