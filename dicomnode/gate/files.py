"""Files that somebody is about to hand over: which there are, and whether they were received.

A file is known by what it is, not by its name: its SOP Instance UID leads to the object that was
received, and its bytes have to be those. The file meta may be another one (a PACS writes its own),
as long as nothing could hide in it; the data set has to be the same, byte for byte.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from dicomnode.dicom.file_format import HEAD_BYTES, data_set_offset, has_plain_meta, split_file
from dicomnode.dicom.uid_syntax import is_uid
from dicomnode.errors import UnreadableObjectError
from dicomnode.tracking.instances import KnownFile
from dicomnode.tracking.spool import Spool

_PIECE_BYTES = 1 << 20


class FileState(StrEnum):
    """What becomes of a file; all but RECEIVED hold."""

    RECEIVED = "received"
    UNKNOWN = "unknown"
    CHANGED = "changed"
    UNREADABLE = "unreadable"
    NOT_DICOM = "not_dicom"
    NO_FILE = "no_file"


@dataclass(frozen=True)
class FoundFile:
    """`name` is relative to the folder; `state` is None while the database has to be asked."""

    name: str
    path: Path
    state: FileState | None
    sop_instance_uid: str = ""


def files_in(folder: Path) -> Iterator[FoundFile]:
    """Everything below the folder that is no folder itself; links are named and not followed."""
    failed: list[OSError] = []
    for parent, folders, names in os.walk(folder, onerror=failed.append):
        folders.sort()
        links = [name for name in folders if _may_be_a_link(Path(parent, name))]
        for name in sorted([*names, *links]):
            yield _look(folder, Path(parent, name))
    for path in (Path(error.filename) for error in failed):
        yield FoundFile(_shown(folder, path), path, FileState.UNREADABLE)


def compare(path: Path, known: KnownFile, spool: Spool) -> FileState:
    """Whether the bytes are those that were received; the file is read once, in pieces."""
    try:
        with path.open("rb") as stream:
            head = stream.read(HEAD_BYTES)
            meta, _ = split_file(head)
            end = data_set_offset(head)
            received = spool.file_meta(known.name) or head[:end]
            if head[:end] != received and not has_plain_meta(head):
                return FileState.CHANGED
            digest = hashlib.sha256(received + head[end:])
            while piece := stream.read(_PIECE_BYTES):
                digest.update(piece)
    except (OSError, UnreadableObjectError):
        return FileState.UNREADABLE
    same_kind = (meta.sop_class_uid, meta.transfer_syntax_uid) == (
        known.sop_class_uid,
        known.transfer_syntax_uid,
    )
    is_same = same_kind and digest.hexdigest() == known.file_sha256
    return FileState.RECEIVED if is_same else FileState.CHANGED


def is_as_received(
    data_set: bytes, encoding: tuple[str, str], known: KnownFile, spool: Spool
) -> bool:
    """The same for a data set without a file; `encoding` is its SOP Class and Transfer Syntax UID.

    False too where the spool has lost its copy: then nobody can tell.
    """
    try:
        received = spool.file_meta(known.name)
    except OSError:
        received = b""
    digest = hashlib.sha256(received)
    digest.update(data_set)
    same_kind = encoding == (known.sop_class_uid, known.transfer_syntax_uid)
    return bool(received) and same_kind and digest.hexdigest() == known.file_sha256


def _look(folder: Path, path: Path) -> FoundFile:
    name = _shown(folder, path)
    try:
        if not stat.S_ISREG(path.lstat().st_mode):
            return FoundFile(name, path, FileState.NO_FILE)
        with path.open("rb") as stream:
            head = stream.read(HEAD_BYTES)
        if head[128:132] != b"DICM":
            return FoundFile(name, path, FileState.NOT_DICOM)
        uid = split_file(head)[0].sop_instance_uid
    except (OSError, UnreadableObjectError):
        return FoundFile(name, path, FileState.UNREADABLE)
    return FoundFile(name, path, None if is_uid(uid) else FileState.UNREADABLE, uid)


def _may_be_a_link(path: Path) -> bool:
    """Also where nobody can tell: then it is named as unreadable."""
    try:
        return path.is_symlink()
    except OSError:
        return True


def _shown(folder: Path, path: Path) -> str:
    """Names need not be text; what is none is shown by its bytes."""
    return os.fsencode(path.relative_to(folder)).decode("utf-8", "backslashreplace")
