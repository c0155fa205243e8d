"""The decoder's side: a template that has loaded everything, and a copy of it for each reader.

`python -m dicomnode.dicom.decoder_process DESCRIPTOR` is the template. It never sees a peer's
byte; asked over its socket it forks a child in a few milliseconds, which confines itself and then
decodes for one reader. So nothing that a hostile object does to a child reaches the next series.
"""

from __future__ import annotations

import errno
import os
import re
import signal
import socket
import struct
import sys
import warnings
from contextlib import suppress
from enum import IntEnum
from importlib.util import find_spec
from io import BytesIO
from types import ModuleType
from typing import NoReturn

import numpy as np
from pydicom.config import disable_value_validation
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.filebase import DicomBytesIO
from pydicom.uid import UID, JPEG2000Lossless, RLELossless

from dicomnode.dicom import sandbox
from dicomnode.dicom.frames import EncodedObject, WantedFrame
from dicomnode.dicom.header import reason
from dicomnode.errors import UnreadableObjectError

ORDER = struct.Struct("<QQ")  # bytes of memory, seconds of processor time
ANSWER = struct.Struct("<BQ")  # what, and how many bytes of it follow
LONGEST_SENTENCE = 200


_ADDRESS = re.compile(r" <[^>]*>")  # of an object in memory: no two runs alike
_DECODERS = (
    "pylibjpeg",
    "openjpeg.utils",
    "libjpeg.utils",
    "rle.utils",
    "PIL.JpegImagePlugin",  # what pydicom tries where the others fail
    "PIL.Jpeg2KImagePlugin",
)


class Answer(IntEnum):
    """What follows: READY, once, whether system calls are filtered (a byte); FAILED, an errno."""

    READY = 0
    VALUES = 1
    REFUSED = 2
    OUT_OF_MEMORY = 3
    FAILED = 4


_FAILING_DISK = frozenset({errno.EIO, errno.ESTALE, errno.ENXIO})


def main(descriptor: int) -> None:
    """Fork a child for each socket that comes with an order; ends with the parent."""
    control = socket.socket(fileno=descriptor)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # the parent ends its work first, and us with it
    warnings.simplefilter("ignore")
    seccomp = sandbox.library()
    _load_decoders()
    while True:
        order, descriptors, _, _ = socket.recv_fds(control, ORDER.size, 1)
        if not order:
            return
        _reap()
        child = os.fork()
        if child == 0:
            control.close()
            memory_bytes, seconds = ORDER.unpack(order)
            _serve(socket.socket(fileno=descriptors[0]), memory_bytes, seconds, seccomp)
        os.close(descriptors[0])
        handle = os.pidfd_open(child)
        socket.send_fds(control, [b"\1"], [handle])
        os.close(handle)


def _reap() -> None:
    with suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def _load_decoders() -> None:
    """Everything is imported now, since a child can't open a file any more."""
    for name in _DECODERS:
        if find_spec(name.split(".")[0]):
            __import__(name)
    for syntax in (RLELossless, JPEG2000Lossless):
        _decode_something(syntax)


def _decode_something(syntax: UID) -> None:
    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.SOPClassUID, ds.SOPInstanceUID = UID("1.2.840.10008.5.1.4.1.1.7"), UID("2.25.1")
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
    ds.Rows = ds.Columns = 64
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 16, 15, 0
    ds.compress(syntax, np.arange(4096, dtype="<u2").reshape(64, 64), generate_instance_uid=False)
    file = DicomBytesIO()
    ds.save_as(file, enforce_file_format=True)
    EncodedObject(BytesIO(file.getvalue())).values(WantedFrame(0, 1, 64, 64, 16))


def _serve(
    reader: socket.socket,
    memory_bytes: int,
    processor_seconds: int,
    seccomp: ModuleType | None,
) -> NoReturn:
    """Decode for one reader until it closes its end; never returns into the template."""
    try:
        sandbox.silence()
        sandbox.limit(memory_bytes, processor_seconds)
        filtered = sandbox.filter_calls(seccomp)
        _send(reader, Answer.READY, bytes([filtered]))
        with disable_value_validation():
            _answer_all(reader)
    except BaseException:  # noqa: BLE001  the reader sees that nobody answers any more
        os._exit(1)
    os._exit(0)


def _answer_all(reader: socket.socket) -> None:
    """Each request is a frame; a descriptor comes with it where it is of another file."""
    opened: EncodedObject | None = None
    while True:
        request, descriptors, _, _ = socket.recv_fds(reader, WantedFrame.LAYOUT.size, 1)
        if not request:
            return
        try:
            if descriptors:
                opened = None
                with os.fdopen(descriptors[0], "rb") as stream:
                    opened = EncodedObject(stream)
            if opened is None:
                raise UnreadableObjectError("its object could not be read before")
            values = np.ascontiguousarray(opened.values(WantedFrame.unpack(request)))
        except BaseException as error:  # noqa: BLE001  whatever a decoder raises is its answer
            _send(reader, *_why(error))
        else:
            _send(reader, Answer.VALUES, values.data.cast("B"))


def _why(error: BaseException) -> tuple[Answer, bytes]:
    """pydicom's RuntimeError lists what each decoder said; it quotes no patient data.

    The RLE decoder is Rust; on broken data it panics, which is no `Exception`.
    """
    if isinstance(error, OSError) and error.errno in _FAILING_DISK:
        return Answer.FAILED, error.errno.to_bytes(4, "little")
    if isinstance(error, MemoryError):
        return Answer.OUT_OF_MEMORY, b""
    if isinstance(error, RuntimeError) and not isinstance(error, NotImplementedError):
        sentence = " ".join(_ADDRESS.sub("", str(error)).split())
    else:
        sentence = reason(error)
    return Answer.REFUSED, sentence[:LONGEST_SENTENCE].encode("utf-8", "replace")


def _send(reader: socket.socket, what: Answer, content: bytes | memoryview) -> None:
    reader.sendall(ANSWER.pack(what, len(content)))
    reader.sendall(content)


if __name__ == "__main__":
    main(int(sys.argv[1]))
