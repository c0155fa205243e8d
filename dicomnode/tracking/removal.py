"""What remains of an object whose space was given back: its file meta, and what its data set was.

The file is renamed and cut off in place, since a full disk has no room for another file. With what
remains, another object under the same UID is still a conflict, the same one comes back as the very
file that it was, and the gate can still say whether a file that somebody hands over is the one that
was examined. The file meta holds UIDs and AE titles (PS3.10 7.1), no attribute of a patient.
"""

from __future__ import annotations

import hashlib
import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

SUFFIX = ".removed"
# No data set begins so: it would be an element of group 6572, before the SOP Class UID.
_MARK = b"removed:"
_SHA256_BYTES = 32
_TAIL_BYTES = len(_MARK) + _SHA256_BYTES


@dataclass(frozen=True)
class Remains:
    """Of an object that is not here any more; `sha256` is of its data set as it was stored."""

    file_meta: bytes
    sha256: bytes

    def is_of(self, data_set: bytes | memoryview) -> bool:
        return hashlib.sha256(data_set).digest() == self.sha256


@dataclass(frozen=True)
class Digest:
    """`sha256` of the data set of the file that was `inode` then: a file is never written again."""

    sha256: bytes
    inode: tuple[int, int, int]


def digest(path: Path) -> Digest | None:
    """Of an object, read whole; None where none of it is there.

    Raises `OSError`, also where its folder is not there: a disk that is away says nothing.
    """
    for place in (path, path.with_suffix(SUFFIX)):
        with suppress(FileNotFoundError), place.open("rb") as file:
            read_file_meta(file)
            return Digest(hashlib.file_digest(file, "sha256").digest(), _inode(file))
    path.parent.stat()
    return None


def remove(path: Path, known: Digest | None = None) -> None:
    """Killed at any moment, the next call goes on; raises `OSError`.

    Where the file is the one of the digest that is `known`, it isn't read again.
    """
    remaining = path.with_suffix(SUFFIX)
    try:
        path.replace(remaining)
    except FileNotFoundError:
        if not remaining.exists():
            return
    with remaining.open("r+b") as file:
        file_meta = read_file_meta(file)
        if not file.read(_TAIL_BYTES).startswith(_MARK):
            file.seek(len(file_meta))
            if known is not None and known.inode == _inode(file):
                sha256 = known.sha256
            else:
                sha256 = hashlib.file_digest(file, "sha256").digest()
            file.seek(len(file_meta))
            file.write(_MARK + sha256)
            # In this order also after a power cut: never cut off without its digest.
            file.flush()
            os.fsync(file.fileno())
        file.truncate(len(file_meta) + _TAIL_BYTES)
        file.flush()
        os.fsync(file.fileno())


def _inode(file: BinaryIO) -> tuple[int, int, int]:
    state = os.fstat(file.fileno())
    return state.st_ino, state.st_size, state.st_mtime_ns


def remains_of(path: Path) -> Remains | None:
    """None where nothing was removed from there; `path` is that of the object."""
    try:
        with path.with_suffix(SUFFIX).open("rb") as file:
            file_meta = read_file_meta(file)
            tail = file.read(_TAIL_BYTES)
            if tail.startswith(_MARK):
                return Remains(file_meta, tail.removeprefix(_MARK))
            # Its removal was interrupted: all of it is still there.
            file.seek(len(file_meta))
            return Remains(file_meta, hashlib.file_digest(file, "sha256").digest())
    except FileNotFoundError:
        return None


def forget(path: Path) -> None:
    """Nothing remains."""
    path.with_suffix(SUFFIX).unlink(missing_ok=True)


def read_file_meta(file: BinaryIO) -> bytes:
    """The file meta that the node wrote, which begins with its length (PS3.10 7.1)."""
    head = file.read(144)
    return head + file.read(int.from_bytes(head[140:144], "little"))
