"""Decoding in a process of its own: what a peer compressed never meets a decoder in the worker.

A child decodes for one reader. It may use so much memory and time, open nothing and connect to
nothing (`sandbox`); if it crashes, hangs or lies, that costs the series its volume, nothing else.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import deque
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dicomnode.dicom.decoder_process import ANSWER, LONGEST_SENTENCE, ORDER, Answer
from dicomnode.dicom.frames import WantedFrame
from dicomnode.dicom.header import MAXIMUM_INFLATED_BYTES, printable
from dicomnode.errors import DecoderError, UnreadableObjectError

MEMORY_BYTES = 1 << 30  # address space beside what the object itself takes
PROCESSOR_SECONDS = 900  # for one reader: a series of the largest size takes a third of it
FRAME_SECONDS = 60.0
_START_SECONDS = 60.0
_SPARE_CHILDREN = 1


class _Template:
    """The process that children are copied from; one for this process, started when needed."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._control: socket.socket | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._owner = 0

    def child(self, memory_bytes: int) -> tuple[socket.socket, int]:
        """The reader's end of a new child's socket, and a descriptor of the process."""
        ours, theirs = socket.socketpair()
        with self._lock, theirs:
            try:
                handle = self._fork(theirs, memory_bytes)
            except OSError:
                self._end()
                handle = self._fork(theirs, memory_bytes)
        return ours, handle

    def _fork(self, theirs: socket.socket, memory_bytes: int) -> int:
        if self._control is None or self._owner != os.getpid():
            self._start()
        assert self._control is not None
        order = ORDER.pack(memory_bytes, PROCESSOR_SECONDS)
        socket.send_fds(self._control, [order], [theirs.fileno()])
        _, descriptors, _, _ = socket.recv_fds(self._control, 1, 1)
        if not descriptors:
            raise ConnectionError("the template of the decoder has ended")
        return descriptors[0]

    def _start(self) -> None:
        """No secret of the environment goes along, and no signal of the terminal."""
        ours, theirs = socket.socketpair()
        ours.settimeout(_START_SECONDS)
        environment = {
            "PATH": os.defpath,
            "PYTHONPATH": os.pathsep.join(str(Path(entry).absolute()) for entry in sys.path),
            "OPENBLAS_NUM_THREADS": "1",
            # Memory of one frame is kept for the next, not asked of the kernel again.
            "MALLOC_MMAP_THRESHOLD_": str(32 << 20),
            "MALLOC_TRIM_THRESHOLD_": str(64 << 20),
        }
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "dicomnode.dicom.decoder_process", str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                env=environment,
                start_new_session=True,
            )
        self._control, self._owner = ours, os.getpid()

    def _end(self) -> None:
        """It ends when its socket is closed."""
        if self._control is not None:
            self._control.close()
            self._control = None
        if self._process is not None and self._owner == os.getpid():
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(_START_SECONDS)


_template = _Template()


@dataclass(frozen=True)
class Encoded:
    """A frame of a file; `inflates`: the whole object is deflated (PS3.5 A.5)."""

    path: Path
    wanted: WantedFrame
    inflates: bool

    @property
    def memory_bytes(self) -> int:
        """Twice the object, for its frames are parted from it; in whole GiB: a child serves on."""
        size = MAXIMUM_INFLATED_BYTES if self.inflates else self.path.stat().st_size
        return MEMORY_BYTES + (2 * size // MEMORY_BYTES) * MEMORY_BYTES


class _Child:
    """One decoding process; raises `OSError` where it ended or took too long (`TimeoutError`)."""

    def __init__(self, memory_bytes: int) -> None:
        self.memory_bytes = memory_bytes
        self._socket, self._handle = _template.child(memory_bytes)
        self._path: Path | None = None
        self._asked: deque[Encoded] = deque()
        self._deadline = time.monotonic() + _START_SECONDS
        what, length = self._head()
        if what is not Answer.READY or length != 1:
            raise ConnectionError("the decoder did not begin")
        self.is_filtered: bool = self._receive(bytearray(1)) == b"\1"

    def ask(self, frame: Encoded) -> None:
        """Answers come in the order of the questions; what was asked already is not again."""
        if frame in self._asked:
            return
        self._socket.settimeout(FRAME_SECONDS)
        if frame.path == self._path:
            self._socket.sendall(frame.wanted.pack())
        else:
            with frame.path.open("rb") as file:
                socket.send_fds(self._socket, [frame.wanted.pack()], [file.fileno()])
            self._path = frame.path
        self._asked.append(frame)

    def answer(self, frame: Encoded) -> tuple[Answer, NDArray[Any] | bytes]:
        """VALUES come as an array (row, column) of exactly the size and kind that was wanted."""
        if self._asked.popleft() != frame:
            raise ConnectionError("something else was asked before")
        wanted = frame.wanted
        self._deadline = time.monotonic() + FRAME_SECONDS
        what, length = self._head()
        if what is Answer.VALUES:
            values = np.empty((wanted.rows, wanted.columns), wanted.dtype)
            if length != values.nbytes:
                raise ConnectionError("the decoder's answer has another size")
            self._receive(values.data.cast("B"))
            return what, values
        if length > 4 * LONGEST_SENTENCE:
            raise ConnectionError("the decoder's answer is too long")
        return what, bytes(self._receive(bytearray(length)))

    def _head(self) -> tuple[Answer, int]:
        what, length = ANSWER.unpack(self._receive(bytearray(ANSWER.size)))
        try:
            return Answer(what), length
        except ValueError:
            raise ConnectionError("the decoder's answer is none") from None

    def _receive(self, buffer: Any) -> Any:
        """Fill `buffer`, until the deadline."""
        left = memoryview(buffer)
        while len(left):
            seconds = self._deadline - time.monotonic()
            if seconds <= 0:
                raise TimeoutError
            self._socket.settimeout(seconds)
            received = self._socket.recv_into(left)
            if not received:
                raise ConnectionError("the decoder ended")
            left = left[received:]
        return buffer

    def close(self) -> None:
        """Whatever it does at the moment."""
        self._socket.close()
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._handle, signal.SIGKILL)
        os.close(self._handle)


class Decoder:
    """Decodes frames in a child of its own, which is started for the first and ended by `close`."""

    def __init__(self) -> None:
        self._child: _Child | None = None
        self._spare = _SPARE_CHILDREN

    def values(self, frame: Encoded, following: Encoded | None = None) -> NDArray[Any]:
        """Stored values (row, column), unsigned; `following` is decoded while these are used.

        Raises `UnreadableObjectError` with a sentence, `OSError` where the file can't be read. A
        child that ends without an answer may have been killed by somebody: one other is tried.
        """
        while True:
            child = self._child_with(frame.memory_bytes)
            try:
                child.ask(frame)
                if following is not None:
                    _ask_ahead(child, following)
                return _values(child.answer(frame), child.memory_bytes)
            except TimeoutError:
                self.close()
                raise UnreadableObjectError(
                    f"decoding an image took longer than {FRAME_SECONDS:g} s"
                ) from None
            except ConnectionError:
                self.close()
                self._spare -= 1
                if self._spare < 0:
                    raise UnreadableObjectError(
                        "its decoder crashed, or asked for more memory or time than it may"
                    ) from None

    @property
    def is_filtered(self) -> bool:
        """Whether this machine lets a child's system calls be filtered."""
        return self._child_with(MEMORY_BYTES).is_filtered

    def _child_with(self, memory_bytes: int) -> _Child:
        if self._child is not None and self._child.memory_bytes < memory_bytes:
            self.close()
        if self._child is None:
            try:
                self._child = _Child(memory_bytes)
            except OSError as error:
                raise DecoderError(f"no process for decoding can be started: {error}") from error
        return self._child

    def close(self) -> None:
        if self._child is not None:
            self._child.close()
            self._child = None


def _ask_ahead(child: _Child, frame: Encoded) -> None:
    with suppress(OSError):  # asked again when it is its turn, it says what is wrong
        if frame.memory_bytes <= child.memory_bytes:
            child.ask(frame)


def _values(answer: tuple[Answer, NDArray[Any] | bytes], memory_bytes: int) -> NDArray[Any]:
    match answer:
        case Answer.VALUES, np.ndarray() as values:
            return values
        case Answer.REFUSED, bytes() as sentence:
            raise UnreadableObjectError(printable(sentence.decode("utf-8", "replace")))
        case Answer.FAILED, bytes() as number:
            code = int.from_bytes(number, "little")
            raise OSError(code, os.strerror(code))
    raise UnreadableObjectError(f"it takes more than {memory_bytes >> 20} MiB of memory")
