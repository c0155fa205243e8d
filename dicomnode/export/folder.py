"""A folder as a destination.

    FOLDER/<Study Instance UID>/<Series Instance UID>/<SOP Instance UID>.dcm
    FOLDER/<Study Instance UID>/receipt-<number>.json   written last: the study is whole

Names are UIDs, digits and dots with at least one digit, so none of them climbs.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

from dicomnode.dicom.uid_syntax import is_uid
from dicomnode.durable import sync
from dicomnode.errors import ExportError
from dicomnode.gate.receipt import SignedReceipt


class FolderDestination:
    """A folder on a disk that this machine has mounted."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @property
    def name(self) -> str:
        return str(self._folder)

    @contextmanager
    def study(
        self, study_instance_uid: str, encodings: Collection[tuple[str, str]]
    ) -> Iterator[FolderPlace]:
        yield FolderPlace(self._folder / _name(study_instance_uid))


class FolderPlace:
    """The folder of one study."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def put(self, series_instance_uid: str, sop_instance_uid: str, file: bytes) -> None:
        series = self._folder / _name(series_instance_uid)
        _make_durably(series, self._folder.parent)
        _write_durably(series / f"{_name(sop_instance_uid)}.dcm", file)

    def seal(self, signed: SignedReceipt) -> None:
        _make_durably(self._folder, self._folder.parent)
        document = f"{signed.document}\n".encode("ascii")
        _write_durably(self._folder / f"receipt-{signed.receipt.number}.json", document)


@contextmanager
def alone_in(folder: Path) -> Iterator[FolderDestination]:
    """The folder, made where only it is missing; no other export writes there meanwhile.

    Raises `ExportError` where another one does, or its parent is missing: a disk that is not
    mounted must not become a folder.
    """
    if not folder.parent.is_dir():
        raise ExportError(f"{folder.parent}: no such folder; is the disk mounted?")
    folder.mkdir(exist_ok=True)
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        _lock(descriptor, folder)
        yield FolderDestination(folder)
    finally:
        os.close(descriptor)


def _lock(descriptor: int, folder: Path) -> None:
    """It goes with the process, however that ends."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise ExportError(f"{folder}: another export writes into this folder now") from None


def _name(uid: str) -> str:
    """A UID as a name in a folder; raises `ExportError` for anything else."""
    if not is_uid(uid):
        raise ExportError("a UID of this study is none, so no file can be named by it")
    return uid


def _make_durably(folder: Path, top: Path) -> None:
    """With what lies between it and `top`, which is there."""
    if folder.is_dir():
        return
    if folder.parent != top:
        _make_durably(folder.parent, top)
    folder.mkdir(exist_ok=True)
    sync(folder.parent)


def _write_durably(path: Path, content: bytes) -> None:
    """Whole or not at all; what a killed export left half written is overwritten."""
    temporary = path.with_name(f"{path.name}.part")
    with temporary.open("wb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())
    temporary.replace(path)
    sync(path.parent)
