"""Small objects that ask for a lot of memory or time: what they get, measured.

The bounds in docs/security.md are those of `PEAKS` and `HEADERS`.
"""

from __future__ import annotations

import struct
import tracemalloc
import zlib
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
)

from dicomnode.dicom import header
from dicomnode.dicom.decoder import MEMORY_BYTES, Decoder, Encoded
from dicomnode.dicom.encoded import peek
from dicomnode.dicom.file_format import encode_file_meta
from dicomnode.dicom.frames import WantedFrame
from dicomnode.dicom.images import read_images
from dicomnode.errors import SeriesRefusedError, UnreadableObjectError
from tests.decoding import peak_bytes
from tests.hostile.bombs import jpeg, jpeg_2000, put, rle

MEBIBYTE = 1 << 20
SMALL, LARGEST = 64, 4096

# Transfer syntax, rows and columns of the header, bits, frame, and the most MiB of the decoder.
Bomb = tuple[str, int, int, bytes, int]
PEAKS: dict[str, Bomb] = {
    "JPEG 2000 of the largest size, without data": (
        JPEG2000Lossless,
        LARGEST,
        16,
        jpeg_2000(LARGEST, LARGEST),
        250,
    ),
    "JPEG 2000 of 65535 x 65535": (JPEG2000Lossless, SMALL, 16, jpeg_2000(65535, 65535), 100),
    "JPEG 2000 of 4096 components": (JPEG2000Lossless, SMALL, 16, jpeg_2000(64, 64, 4096), 400),
    "JPEG 2000 of 64 large components": (
        JPEG2000Lossless,
        LARGEST,
        16,
        jpeg_2000(LARGEST, LARGEST, 64),
        1024,
    ),
    "JPEG 2000 of 16 million tiles": (
        JPEG2000Lossless,
        LARGEST,
        16,
        jpeg_2000(LARGEST, LARGEST, tile=1),
        100,
    ),
    "JPEG of the largest size, without data": (
        JPEGBaseline8Bit,
        LARGEST,
        8,
        jpeg((LARGEST, LARGEST), start_of_frame=0xC0, bits=8),
        250,
    ),
    "JPEG with a second, huge frame header": (
        JPEGBaseline8Bit,
        SMALL,
        8,
        jpeg((SMALL, SMALL), (65535, 65535), start_of_frame=0xC0, bits=8),
        250,
    ),
    "JPEG of 255 components": (
        JPEGBaseline8Bit,
        LARGEST,
        8,
        jpeg((LARGEST, LARGEST), start_of_frame=0xC0, bits=8, components=255),
        100,
    ),
    "JPEG Lossless without data": (
        JPEGLosslessSV1,
        LARGEST,
        16,
        jpeg((LARGEST, LARGEST), start_of_frame=0xC3, bits=16),
        250,
    ),
    "JPEG-LS without data": (
        JPEGLSLossless,
        LARGEST,
        16,
        jpeg((LARGEST, LARGEST), start_of_frame=0xF7, bits=16),
        250,
    ),
    "RLE of 512 MiB": (RLELossless, SMALL, 16, rle(256 * MEBIBYTE), 250),
}


@pytest.mark.parametrize("name", PEAKS)
def test_a_code_stream_gets_so_much_memory_and_no_more(name: str, tmp_path: Path) -> None:
    syntax, size, bits, frame, peak_mib = PEAKS[name]
    path = put(tmp_path, syntax, size, size, frame, bits)
    with closing(Decoder()) as decoder:
        with suppress(UnreadableObjectError):
            decoder.values(Encoded(path, WantedFrame(0, 1, size, size, bits), inflates=False))
        # One that had to be ended holds nothing any more.
        held = 0 if decoder._child is None else peak_bytes(decoder)
    assert held <= peak_mib * MEBIBYTE <= MEMORY_BYTES


EXPLICIT = "1.2.840.10008.1.2.1"
ITEM = struct.pack("<HHL", 0xFFFE, 0xE000, 0)
OPEN_ITEM = struct.pack("<HHL", 0xFFFE, 0xE000, 0xFFFFFFFF)
ITEM_ENDS = struct.pack("<HHL", 0xFFFE, 0xE00D, 0)
SEQUENCE_ENDS = struct.pack("<HHL", 0xFFFE, 0xE0DD, 0)


def element(group: int, number: int, vr: bytes, value: bytes, length: int | None = None) -> bytes:
    """Explicit little endian; `length` is a lie where it is given."""
    value += b"\0" * (len(value) % 2)
    said = len(value) if length is None else length
    if vr in (b"SQ", b"OB", b"OW", b"UN"):
        return struct.pack("<HH2sHL", group, number, vr, 0, said) + value
    return struct.pack("<HH2sH", group, number, vr, said) + value


def open_sequence(group: int, number: int, items: bytes) -> bytes:
    return element(group, number, b"SQ", items, 0xFFFFFFFF)


def nested(depth: int) -> bytes:
    inside = open_sequence(0x0008, 0x1115, OPEN_ITEM) * (depth - 1)
    return open_sequence(0x3006, 0x0010, OPEN_ITEM) + inside


def object_with(*more: bytes, frames: int = 1, group_8: bytes = b"") -> bytes:
    """An Enhanced MR object of 16 x 16 pixels with `more` elements before its pixel data."""
    uids = {0x16: b"1.2.840.10008.5.1.4.1.1.4.1", 0x18: b"1.2.3.4"}
    return b"".join(
        (
            *(element(8, number, b"UI", uid) for number, uid in uids.items()),
            element(8, 0x60, b"CS", b"MR"),
            group_8,
            element(0x20, 0x0D, b"UI", b"1.2.3"),
            element(0x20, 0x0E, b"UI", b"1.2.3.9"),
            element(0x28, 0x08, b"IS", str(frames).encode()),
            *(element(0x28, number, b"US", b"\x10\0") for number in (0x10, 0x11, 0x100, 0x101)),
            *more,
            element(0x7FE0, 0x10, b"OW", bytes(512)),
        )
    )


def deflated(data: bytes, times: int) -> bytes:
    deflater = zlib.compressobj(9, wbits=-zlib.MAX_WBITS)
    return b"".join((*(deflater.compress(data) for _ in range(times)), deflater.flush()))


# What a peer sends, and what the receiver and the examination may say of it ("" is: taken).
HEADERS: dict[str, tuple[Callable[[], bytes], str, str]] = {
    "sequences 64 deep": (
        lambda: object_with(nested(63) + (ITEM_ENDS + SEQUENCE_ENDS) * 63),
        "",
        "MULTIFRAME",
    ),
    "sequences 100,000 deep": (
        lambda: object_with(nested(100_000)),
        "nested deeper than 64",
        "UNREADABLE_OBJECT",
    ),
    "a sequence without end": (
        lambda: object_with(nested(1)),
        "holds something that is no item|ends inside",
        "UNREADABLE_OBJECT|MULTIFRAME|too early",
    ),
    "an element of 4 GiB": (
        lambda: object_with(element(0x3006, 0x0010, b"OB", b"", 0xFFFFFFFE)),
        "announces 4294967294 bytes",
        "UNREADABLE_OBJECT|MULTIFRAME",
    ),
    "a sequence of 4 GiB": (
        lambda: object_with(element(0x3006, 0x0010, b"SQ", ITEM, 0xFFFFFFFE)),
        "announces 4294967294 bytes",
        "UNREADABLE_OBJECT|MULTIFRAME",
    ),
    "two thousand million frames": (
        lambda: object_with(frames=2**31 - 1),
        "",
        "MULTIFRAME",
    ),
    "frames far beyond the pixel data": (
        lambda: object_with(
            open_sequence(0x5200, 0x9230, ITEM * 1000 + SEQUENCE_ENDS), frames=1000
        ),
        "",
        "",
    ),
    "too many items of frames": (
        lambda: object_with(open_sequence(0x5200, 0x9230, ITEM * 30_000 + SEQUENCE_ENDS)),
        "",
        "more than 20000 sequence items",
    ),
    "too many items in a sequence of known length": (
        lambda: object_with(element(0x5200, 0x9230, b"SQ", ITEM * 30_000)),
        "",
        "more than 20000 sequence items",
    ),
    "too many items that nobody asked for": (
        lambda: object_with(group_8=open_sequence(0x0012, 0x0099, ITEM * 30_000 + SEQUENCE_ENDS)),
        "",
        "more than 20000 sequence items",
    ),
}


@pytest.fixture
def traced() -> Iterator[Callable[[], int]]:
    """The most memory that Python held since the test began."""
    tracemalloc.start()
    try:
        yield lambda: tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def file_of(folder: Path, data: bytes, syntax: str = EXPLICIT) -> Path:
    path = folder / "object.dcm"
    meta = encode_file_meta(
        sop_class_uid="1.2.840.10008.5.1.4.1.1.4.1",
        sop_instance_uid="1.2.3.4",
        transfer_syntax_uid=syntax,
        calling_ae_title="",
        called_ae_title="",
        peer_address="",
    )
    path.write_bytes(meta + data)
    return path


@pytest.mark.parametrize("name", HEADERS)
def test_a_header_is_answered_and_takes_no_memory_to_speak_of(
    name: str, tmp_path: Path, traced: Callable[[], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Too many items are 500,000; here fewer, for the sake of time."""
    monkeypatch.setattr(header, "MAXIMUM_ITEMS", 20_000)
    make, by_receiver, by_examination = HEADERS[name]
    path = file_of(tmp_path, make())
    if by_receiver:
        with pytest.raises(UnreadableObjectError, match=by_receiver):
            peek(make(), EXPLICIT)
    else:
        peek(make(), EXPLICIT)
    if by_examination:
        with pytest.raises(SeriesRefusedError, match=by_examination):
            read_images(path)
    else:
        assert len(read_images(path)) == 1000
    assert traced() < 32 * MEBIBYTE


def test_a_deflated_bomb_is_inflated_so_far_and_not_held(
    tmp_path: Path, traced: Callable[[], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a sixteenth of the size, for the sake of time."""
    monkeypatch.setattr(header, "MAXIMUM_INFLATED_BYTES", 32 * MEBIBYTE)
    bomb = deflated(object_with() + bytes(MEBIBYTE), 64)
    path = file_of(tmp_path, bomb, DeflatedExplicitVRLittleEndian)
    assert path.stat().st_size < MEBIBYTE
    with pytest.raises(SeriesRefusedError, match="grows beyond"):
        read_images(path)
    assert traced() < 24 * MEBIBYTE


def test_items_are_counted_in_deflated_objects_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(header, "MAXIMUM_ITEMS", 20_000)
    bomb = deflated(object_with(element(0x5200, 0x9230, b"SQ", ITEM * 30_000)), 1)
    assert len(bomb) < MEBIBYTE
    with pytest.raises(SeriesRefusedError, match="more than 20000 sequence items"):
        read_images(file_of(tmp_path, bomb, DeflatedExplicitVRLittleEndian))
