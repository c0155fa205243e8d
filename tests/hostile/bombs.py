"""Code streams that are small and announce a lot, written by hand (no encoder makes them)."""

from __future__ import annotations

import struct
from pathlib import Path

from pydicom import dcmread
from pydicom.encaps import encapsulate
from pydicom.uid import UID

from tests.factories import make_series


def jpeg_2000(rows: int, columns: int, components: int = 1, tile: int = 0) -> bytes:
    """ITU-T T.800: main header and one tile part without a packet that holds anything."""
    size = (tile or columns, tile or rows)
    siz = struct.pack(">HHLLLLLLLLH", 38 + 3 * components, 0, columns, rows, 0, 0, *size, 0, 0, 1)
    siz = siz[:-2] + struct.pack(">H", components) + b"\x0f\1\1" * components
    cod = b"\xff\x52" + struct.pack(">H", 12) + bytes([0, 0, 0, 1, 0, 5, 4, 4, 0, 1])
    qcd = b"\xff\x5c" + struct.pack(">H", 19) + b"\x40" + b"\x88" * 16
    sot = b"\xff\x90" + struct.pack(">HHLBB", 10, 0, 0, 0, 1)
    return b"\xff\x4f\xff\x51" + siz + cod + qcd + sot + b"\xff\x93" + b"\x80" * 64 + b"\xff\xd9"


def jpeg(*sizes: tuple[int, int], start_of_frame: int, bits: int, components: int = 1) -> bytes:
    """ITU-T T.81 B.2: a frame header for each size (rows, columns), one scan of zeros."""
    stream = b"\xff\xd8\xff\xdb" + struct.pack(">HB", 67, 0) + b"\1" * 64
    for rows, columns in sizes:
        frame = struct.pack(">HBHHB", 8 + 3 * components, bits, rows, columns, components)
        stream += b"\xff" + bytes([start_of_frame]) + frame + b"\1\x11\0" * components
    for table in (0, 0x10):
        stream += b"\xff\xc4" + struct.pack(">HB", 20, table) + b"\1" + bytes(16)
    scan = struct.pack(">HB", 6 + 2 * components, components) + b"\1\0" * components
    return stream + b"\xff\xda" + scan + bytes([0, 63, 0]) + bytes(200) + b"\xff\xd9"


def rle(bytes_of_a_segment: int, segments: int = 2) -> bytes:
    """PS3.5 G: runs of 128 zeros, two bytes each."""
    segment = b"\x81\0" * (bytes_of_a_segment // 128)
    offsets = [64 + number * len(segment) for number in range(segments)]
    header = struct.pack("<16L", segments, *offsets, *[0] * (15 - segments))
    return header + segment * segments


def put(folder: Path, syntax: str, rows: int, columns: int, frame: bytes, bits: int = 16) -> Path:
    """An image that holds `frame`, and whose header says `rows` and `columns`."""
    path = make_series(folder, slices=1, rows=8, columns=8)[0]
    ds = dcmread(path)
    ds.Rows, ds.Columns = rows, columns
    ds.BitsAllocated, ds.BitsStored, ds.HighBit = bits, bits, bits - 1
    ds.PixelData = encapsulate([frame])
    ds["PixelData"].VR = "OB"
    ds.file_meta.TransferSyntaxUID = UID(syntax)
    ds.save_as(path, enforce_file_format=True)
    return path
