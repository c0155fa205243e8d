"""The only file store: received objects, each under a name made of a hash.

`store` returns only when the object would survive a power cut: written under a temporary name,
synced, linked to its final name (which fails if that is taken, so the first object of a UID wins
across processes), the folder synced. The database follows and can be rebuilt from here.

    spool/incoming/...             being written
    spool/objects/ab/<sha256>.dcm  SHA-256 of the SOP Instance UID
    spool/objects/ab/<sha256>.removed  what remains of one that was removed (`removal`)
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

from dicomnode.durable import sync
from dicomnode.errors import OutOfSpaceError, SpoolError
from dicomnode.tracking import removal
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
    the one that was not kept. Of what is STORED the digest is empty where it was not asked for.
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

    @property
    def objects_folder(self) -> Path:
        return self._objects

    def is_made(self) -> bool:
        """Whether there is a folder of objects, with any in it or none."""
        return self._objects.is_dir()

    def prepare(self) -> None:
        """Make every folder, durably, so that storing an object touches one folder only."""
        prefixes = [self._objects / f"{number:02x}" for number in range(256)]
        for folder in (self._incoming, self._quarantine, *prefixes):
            make_private(folder)
        for folder in (self._objects, self._folder, self._folder.parent):
            sync(folder)

    def store(
        self,
        sop_instance_uid: str,
        file_meta: bytes,
        data_set: bytes | memoryview,
        *,
        digested: bool = True,
    ) -> StoreResult:
        """Make one object durable under the name of its UID.

        `data_set` is the encoded data set as received; a DUPLICATE has the same data set, byte
        for byte, whoever sent it. One that was removed comes back as the file that it was, and
        only with the data set that it had: anything else is a CONFLICT. Not `digested`: no digest
        is computed of what is STORED. Raises `OutOfSpaceError` or `SpoolError`; then nothing is
        kept.
        """
        name = object_name(sop_instance_uid)
        try:
            remains = removal.remains_of(self.path(name))
            if remains is not None:
                if not remains.is_of(data_set):
                    return _conflict(name, file_meta, data_set)
                file_meta = remains.file_meta
            if self._write(self.path(name), file_meta, data_set):
                removal.forget(self.path(name))
                sha256 = _sha256(file_meta, data_set) if digested else ""
                size = len(file_meta) + len(data_set)
                return StoreResult(StoreOutcome.STORED, name, size, sha256)
            there = _as_it_is_there(self.path(name), data_set)
        except OSError as error:
            raise _spool_error(error, self._folder) from error
        if there is None:
            return _conflict(name, file_meta, data_set)
        return StoreResult(StoreOutcome.DUPLICATE, name, *there)

    def quarantine(
        self, reason: str, file_meta: bytes, data_set: bytes | memoryview
    ) -> StoreResult:
        """Keep an object that was not accepted; the same bytes are kept once."""
        if not reason.isidentifier():
            raise ValueError(f"{reason!r} is no reason code")
        sha256 = _sha256(file_meta, data_set)
        name = f"{reason}/{sha256}.dcm"
        path = self._quarantine / name
        size = len(file_meta) + len(data_set)
        try:
            path.parent.mkdir(exist_ok=True)
            created = self._write(path, file_meta, data_set)
        except OSError as error:
            raise _spool_error(error, self._folder) from error
        outcome = StoreOutcome.STORED if created else StoreOutcome.DUPLICATE
        return StoreResult(outcome, name, size, sha256)

    def path(self, name: str) -> Path:
        return self._objects / name

    def quarantine_path(self, name: str) -> Path:
        return self._quarantine / name

    def file_meta(self, name: str) -> bytes:
        """Of an object that is here, or was before it was removed; empty where there is none."""
        try:
            with self.path(name).open("rb") as file:
                return removal.read_file_meta(file)
        except FileNotFoundError:
            remains = removal.remains_of(self.path(name))
            return remains.file_meta if remains is not None else b""

    def digest(self, name: str) -> removal.Digest | None:
        """What `remove` has to know, which takes long for a large object; None: it isn't here.

        Raises `SpoolError`.
        """
        try:
            return removal.digest(self.path(name))
        except OSError as error:
            raise _spool_error(error, self._folder) from error

    def remove(self, name: str, known: removal.Digest | None = None) -> None:
        """Give the space of an object back; what it was stays known. May be repeated.

        Raises `SpoolError`.
        """
        try:
            removal.remove(self.path(name), known)
        except OSError as error:
            raise _spool_error(error, self._folder) from error

    def erase(self, name: str) -> None:
        """Leave nothing of an object, so that its UID is as if it had never come.

        Raises `SpoolError`, also where the folder is not there: the object may come back with it.
        """
        path = self.path(name)
        try:
            path.parent.stat()
            path.unlink(missing_ok=True)
            removal.forget(path)
        except OSError as error:
            raise _spool_error(error, self._folder) from error

    def names(self) -> Iterator[list[str]]:
        """The names of all objects that are here, one list per prefix folder."""
        for folder in sorted(self._objects.iterdir()):
            yield [
                f"{folder.name}/{entry.name}"
                for entry in os.scandir(folder)
                if not entry.name.endswith(removal.SUFFIX)
            ]

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

    def used_percent(self) -> float:
        return used_percent_of(self._folder)

    def is_full(self) -> bool:
        """Whether nothing more is taken in, however small."""
        return self.free_bytes() < self._minimum_free_bytes

    def _write(self, path: Path, file_meta: bytes, data_set: bytes | memoryview) -> bool:
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
        sync(path.parent)
        return created

    def _require_space(self, size: int) -> None:
        free = self.free_bytes() - size
        if free < self._minimum_free_bytes:
            raise OutOfSpaceError(
                f"{self._folder}: {max(free, 0)} bytes would be free, "
                f"minimum_free_bytes asks for {self._minimum_free_bytes}"
            )


def used_percent_of(folder: Path) -> float:
    """Of the space of a disk that this user may use, as df(1) shows it."""
    state = os.statvfs(folder)
    used = state.f_blocks - state.f_bfree
    return 100.0 * used / max(1, used + state.f_bavail)


def object_name(sop_instance_uid: str) -> str:
    digest = hashlib.sha256(sop_instance_uid.encode("ascii")).hexdigest()
    return f"{digest[:2]}/{digest}.dcm"


def short_name(identifier: str) -> str:
    """A folder name from a hash: no path is ever built from an attribute."""
    return "series-" + hashlib.sha256(identifier.encode()).hexdigest()[:16]


def _conflict(name: str, file_meta: bytes, data_set: bytes | memoryview) -> StoreResult:
    size, sha256 = len(file_meta) + len(data_set), _sha256(file_meta, data_set)
    return StoreResult(StoreOutcome.CONFLICT, name, size, sha256)


def _sha256(file_meta: bytes, data_set: bytes | memoryview) -> str:
    digest = hashlib.sha256(file_meta)
    digest.update(data_set)
    return digest.hexdigest()


def _write_synced(path: Path, *parts: bytes | memoryview) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        for part in parts:
            view = memoryview(part)
            while view:
                view = view[os.write(descriptor, view) :]
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _as_it_is_there(path: Path, data_set: bytes | memoryview) -> tuple[int, str] | None:
    """Size and digest of a file that is its own file meta (PS3.10 7.1) followed by exactly this
    data set; None for another one."""
    with path.open("rb") as file:
        head = removal.read_file_meta(file)
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
