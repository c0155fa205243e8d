"""The digests of a received file, all in one pass over it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol

from dicomnode.dicom.encoded import Scan, is_deflated, peek

_PIECE_BYTES = 1 << 20


@dataclass(frozen=True)
class FileDigests:
    """`file_sha256` is over the whole file, the others are those of `encoded.Peek`."""

    file_sha256: str
    pixel_sha256: str
    data_set_sha256: str


class _Hash(Protocol):
    def update(self, data: bytes, /) -> object: ...


def digests_of(path: Path, data_set_at: int, found: Scan) -> FileDigests:
    """Of a file whose data set begins at `data_set_at`; `found` is what a scan of that found.

    Memory is bounded, unless the data set is deflated. Raises `OSError`, and `EOFError` where the
    file is shorter than it was.
    """
    syntax = found.header.transfer_syntax_uid
    with path.open("rb") as file:
        if is_deflated(syntax):
            data = file.read()
            known = peek(data[data_set_at:], syntax)
            whole = hashlib.sha256(data).hexdigest()
            return FileDigests(whole, known.pixel_sha256, known.data_set_sha256)
        return _of_pieces(file, path.stat().st_size, data_set_at, found)


def _of_pieces(file: BinaryIO, size: int, data_set_at: int, found: Scan) -> FileDigests:
    whole, around, pixels = hashlib.sha256(), hashlib.sha256(), ""
    _feed(file, data_set_at, whole)
    at = 0
    for element in found.pixels:
        value = hashlib.sha256()
        _feed(file, element.start - at, whole, around)
        _feed(file, element.length, whole, value)
        pixels = value.hexdigest()
        around.update(pixels.encode())
        at = element.start + element.length
    _feed(file, size - data_set_at - at, whole, around)
    return FileDigests(whole.hexdigest(), pixels, around.hexdigest())


def _feed(file: BinaryIO, count: int, *hashes: _Hash) -> None:
    """The next `count` bytes."""
    while count > 0:
        piece = file.read(min(count, _PIECE_BYTES))
        if not piece:
            raise EOFError(f"{file.name}: it was cut off")
        for each in hashes:
            each.update(piece)
        count -= len(piece)
