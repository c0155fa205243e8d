"""The picture size that a compressed frame announces, read before anything is decoded.

A decoder allocates what the code stream says, not what Rows and Columns say; a small file may
ask for gigabytes. RLE (PS3.5 G) has no size of its own and can't.
"""

from __future__ import annotations

import struct

_JPEG_START = b"\xff\xd8"
_J2K_START = b"\xff\x4f\xff\x51"
_JP2_START = b"\x00\x00\x00\x0cjP  "
# Start of frame: ITU-T T.81 B.1.1.3 (all but DHT, JPG, DAC) and T.87 C.1.1 (JPEG-LS).
_START_OF_FRAME = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC} | {0xF7}


def announced_size(frame: bytes) -> tuple[int, int] | None:
    """(rows, columns) of a JPEG, JPEG-LS or JPEG 2000 frame; None where it can't be found."""
    if frame.startswith(_JP2_START):
        start = frame.find(_J2K_START)
        frame = frame[start:] if start >= 0 else b""
    if frame.startswith(_J2K_START):
        return _j2k_size(frame)
    return _jpeg_size(frame) if frame.startswith(_JPEG_START) else None


def _j2k_size(frame: bytes) -> tuple[int, int] | None:
    """ITU-T T.800 A.5.1: Xsiz, Ysiz, XOsiz, YOsiz follow Lsiz and Rsiz."""
    if len(frame) < 24:
        return None
    x_size, y_size, x_offset, y_offset = struct.unpack(">4L", frame[8:24])
    return y_size - y_offset, x_size - x_offset


def _jpeg_size(frame: bytes) -> tuple[int, int] | None:
    at = 2
    while at + 9 <= len(frame):
        if frame[at] != 0xFF:
            return None
        if frame[at + 1] == 0xFF:  # fill byte
            at += 1
            continue
        if frame[at + 1] in _START_OF_FRAME:
            rows, columns = struct.unpack(">HH", frame[at + 5 : at + 9])
            return rows, columns
        (length,) = struct.unpack(">H", frame[at + 2 : at + 4])
        at += 2 + length
    return None
