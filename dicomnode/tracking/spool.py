"""The only file store: received objects, each under a name made of a hash.

`store` returns only when the object would survive a power cut: written under a temporary name,
synced, linked to its final name (which fails if that is taken, so the first object of a UID wins
across processes), the folder synced. The database follows and can be rebuilt from here.

    spool/incoming/...             being written
    spool/objects/ab/<sha256>.dcm  SHA-256 of the SOP Instance UID
    spool/quarantine/<reason>/<sha256>.dcm  SHA-256 of the bytes: kept for a person to look at
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from dicomnode.errors import OutOfSpaceError, SpoolError
from dicomnode.tracking.private import make_private

_NO_SPACE = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_ABANDONED_AFTER_SECONDS = 3600.0
_COPY_BYTES = 1 << 20


class StoreOutcome(StrEnum):
    """What became of an object: only STORED makes a new file."""

    STORED = "stored"
    DUPLICATE = "duplicate"
    CONFLICT = "conflict"


@dataclass(frozen=True)
class StoreResult:
    """`name` is the file that holds this UID now.

    Size and digest are over the whole file: of a DUPLICATE the one that is there, of a CONFLICT
    the one that was not kept.
    """

    outcome: StoreOutcome
    name: str
    size_bytes: int
    file_sha256: str


class Spool:
    """A folder of received objects; several processes may use it at once."""

    def __init__(self, folder: Path, minimum_free_bytes: int = 0) -> None:
        self._folder = folder
        self._minimum_free_bytes = minimum_free_bytes
        self._incoming = folder / "incoming"
        self._objects = folder / "objects"
        self._quarantine = folder / "quarantine"

    def prepare(self) -> None:
        """Make every folder, durably, so that storing an object touches one folder only."""
        prefixes = [self._objects / f"{number:02x}" for number in range(256)]
        for folder in (self._incoming, self._quarantine, *prefixes):
            make_private(folder)
        for folder in (self._objects, self._folder, self._folder.parent):
            _sync_folder(folder)

    def store(self, sop_instance_uid: str, file_meta: bytes, data_set: bytes) -> StoreResult:
        """Make one object durable under the name of its UID.

        `data_set` is the encoded data set as received; a DUPLICATE has the same data set, byte
        for byte, whoever sent it. Raises `OutOfSpaceError` or `SpoolError`; then nothing is kept.
        """
        name = object_name(sop_instance_uid)
        digest = hashlib.sha256(file_meta)
        digest.update(data_set)
        size = len(file_meta) + len(data_set)
        try:
            created = self._write(self.path(name), file_meta, data_set)
            if created:
                return StoreResult(StoreOutcome.STORED, name, size, digest.hexdigest())
            there = _as_it_is_there(self.path(name), data_set)
        except OSError as error:
            raise _spool_error(error, self._folder) from error
        if there is None:
            return StoreResult(StoreOutcome.CONFLICT, name, size, digest.hexdigest())
        return StoreResult(StoreOutcome.DUPLICATE, name, *there)

    def quarantine(self, reason: str, file_meta: bytes, data_set: bytes) -> StoreResult:
        """Keep an object that was not accepted; the same bytes are kept once."""
        if not reason.isidentifier():
            raise ValueError(f"{reason!r} is no reason code")
        digest = hashlib.sha256(file_meta)
        digest.update(data_set)
        name = f"{reason}/{digest.hexdigest()}.dcm"
        path = self._quarantine / name
        size = len(file_meta) + len(data_set)
        try:
            path.parent.mkdir(exist_ok=True)
            created = self._write(path, file_meta, data_set)
        except OSError as error:
            raise _spool_error(error, self._folder) from error
        outcome = StoreOutcome.STORED if created else StoreOutcome.DUPLICATE
        return StoreResult(outcome, name, size, digest.hexdigest())

    def path(self, name: str) -> Path:
        return self._objects / name

    def quarantine_path(self, name: str) -> Path:
        return self._quarantine / name

    def names(self) -> Iterator[list[str]]:
        """The names of all objects, one list per prefix folder."""
        for folder in sorted(self._objects.iterdir()):
            yield [f"{folder.name}/{entry.name}" for entry in os.scandir(folder)]

    def quarantined_names(self) -> Iterator[str]:
        for folder in sorted(self._quarantine.iterdir()):
            for entry in os.scandir(folder):
                yield f"{folder.name}/{entry.name}"

    def remove_abandoned(self) -> int:
        """Remove what a killed process left half written; such an object was never confirmed."""
        oldest = time.time() - _ABANDONED_AFTER_SECONDS
        removed = 0
        for entry in os.scandir(self._incoming):
            with contextlib.suppress(FileNotFoundError):
                if entry.stat().st_mtime < oldest:
                    Path(entry.path).unlink()
                    removed += 1
        return removed

    def free_bytes(self) -> int:
        state = os.statvfs(self._folder)
        return state.f_bavail * state.f_frsize

    def keep_free(self, minimum_free_bytes: int) -> None:
        """From now on."""
        self._minimum_free_bytes = minimum_free_bytes

    def can_write(self) -> bool:
        """Whether a file can be made and removed here now: the folder is there, and not read-only,
        and has an inode left."""
        probe = self._incoming / f"{uuid.uuid4().hex}.tmp"
        try:
            probe.write_bytes(b"?")
            probe.unlink()
        except OSError:
            return False
        return True

    def _write(self, path: Path, file_meta: bytes, data_set: bytes) -> bool:
        """True when `path` was made, False when it was there already; durable either way."""
        self._require_space(len(file_meta) + len(data_set))
        temporary = self._incoming / f"{uuid.uuid4().hex}.tmp"
        try:
            _write_synced(temporary, file_meta, data_set)
            try:
                os.link(temporary, path)
                created = True
            except FileExistsError:
                created = False
        finally:
            temporary.unlink(missing_ok=True)
        # Also for the loser of a race: the winner may not have synced the folder yet.
        _sync_folder(path.parent)
        return created

    def _require_space(self, size: int) -> None:
        free = self.free_bytes() - size
        if free < self._minimum_free_bytes:
            raise OutOfSpaceError(
                f"{self._folder}: {max(free, 0)} bytes would be free, "
                f"minimum_free_bytes asks for {self._minimum_free_bytes}"
            )


def object_name(sop_instance_uid: str) -> str:
    digest = hashlib.sha256(sop_instance_uid.encode("ascii")).hexdigest()
    return f"{digest[:2]}/{digest}.dcm"


def _write_synced(path: Path, *parts: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        for part in parts:
            view = memoryview(part)
            while view:
                view = view[os.write(descriptor, view) :]
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _sync_folder(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _as_it_is_there(path: Path, data_set: bytes) -> tuple[int, str] | None:
    """Size and digest of a file that is its own file meta (PS3.10 7.1) followed by exactly this
    data set; None for another one."""
    with path.open("rb") as file:
        head = file.read(144)
        head += file.read(int.from_bytes(head[140:144], "little"))
        size = path.stat().st_size
        if size - len(head) != len(data_set):
            return None
        digest = hashlib.sha256(head)
        for offset in range(0, len(data_set), _COPY_BYTES):
            piece = file.read(_COPY_BYTES)
            if piece != data_set[offset : offset + _COPY_BYTES]:
                return None
            digest.update(piece)
    return size, digest.hexdigest()


def _spool_error(error: OSError, folder: Path) -> SpoolError:
    if error.errno in _NO_SPACE:
        return OutOfSpaceError(f"{folder}: {os.strerror(error.errno or 0)}")
    return SpoolError(f"{folder}: {error}")
