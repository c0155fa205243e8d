"""Unpacking an archive of networks that nobody vouches for.

Everything is judged by the archive's table of contents before a byte is written; then only what
the node needs of a network is unpacked: JSON files and checkpoints.
"""

from __future__ import annotations

import re
import shutil
import stat
import zipfile
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path, PurePosixPath

from dicomnode.errors import ModelError

Progress = Callable[[int, int], None]

MOST_BYTES = 64 * 2**30
MOST_MEMBERS = 100_000
# Weights hardly compress; a larger archive that grows a hundredfold is no archive of networks.
LARGEST_RATIO = 100
SMALL_BYTES = 32 * 2**20
_FREE_MARGIN_BYTES = 256 * 2**20
_BLOCK_BYTES = 2**20

_NEEDED = re.compile(r"(plans|dataset|card)\.json|checkpoint_(final|best|latest)\.pth")
_DRIVE = re.compile(r"[A-Za-z]:")
_DAMAGED = (zipfile.BadZipFile, zlib.error, EOFError, OSError, NotImplementedError, RuntimeError)


def unpack(path: Path, into: Path, progress: Progress) -> None:
    """Unpack what a network needs from the zip `path` into the empty folder `into`.

    Raises `ModelError` where the archive is damaged or encrypted, climbs out of its folder, holds
    links or devices, names a file twice, or would grow beyond the limits or the free space. It
    leaves to the caller how the user calls the archive: a download has a name of its own here.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            wanted = _judged(archive, path, into)
            total, done = sum(member.file_size for member, _ in wanted), 0
            for member, name in wanted:
                target = into / name
                target.parent.mkdir(parents=True, exist_ok=True)
                with archive.open(member) as source, target.open("xb") as out:
                    while block := source.read(_BLOCK_BYTES):
                        out.write(block)
                        done += len(block)
                        progress(done, total)
    except _DAMAGED as error:
        raise ModelError(_unreadable(path, error)) from None


def _judged(
    archive: zipfile.ZipFile, path: Path, into: Path
) -> list[tuple[zipfile.ZipInfo, PurePosixPath]]:
    """The members to unpack with their names; every member has to be harmless, wanted or not."""
    members = archive.infolist()
    _refuse_bomb(members, path, into)
    names: set[PurePosixPath] = set()
    wanted = []
    for member in members:
        name = _harmless_name(member)
        if member.is_dir():
            continue
        if name in names:
            raise ModelError(f"{_shown(name)} is in it twice: not unpacked")
        names.add(name)
        if _NEEDED.fullmatch(name.name):
            wanted.append((member, name))
    return wanted


def _refuse_bomb(members: Sequence[zipfile.ZipInfo], path: Path, into: Path) -> None:
    """By declared sizes; that a member is no longer than declared, `zipfile` sees to."""
    total, packed = sum(member.file_size for member in members), path.stat().st_size
    if len(members) > MOST_MEMBERS:
        raise ModelError(f"{len(members)} files, more than {MOST_MEMBERS}")
    if total > MOST_BYTES:
        raise ModelError(f"unpacks to {total} bytes, more than {MOST_BYTES}")
    if total > SMALL_BYTES and total > packed * LARGEST_RATIO:
        raise ModelError(f"{packed} bytes that unpack to {total}: no archive of networks does that")
    free = shutil.disk_usage(into).free
    if total > free - _FREE_MARGIN_BYTES:
        raise ModelError(f"unpacks to {total} bytes, but {free} are free at {into}")


def _harmless_name(member: zipfile.ZipInfo) -> PurePosixPath:
    """Its place below the folder; backslashes separate too, as in archives made on Windows."""
    raw = member.orig_filename.replace("\\", "/")
    kind = stat.S_IFMT(member.external_attr >> 16)
    parts = PurePosixPath(raw).parts
    if raw.startswith("/") or _DRIVE.match(raw) or ".." in parts or "\0" in raw or not parts:
        raise ModelError(f"{_shown(raw)} climbs out of the archive: not unpacked")
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        raise ModelError(f"{_shown(raw)} is a link or a device: not unpacked")
    if member.flag_bits & 0x1:
        raise ModelError(f"{_shown(raw)} is encrypted: not unpacked")
    return PurePosixPath(*parts)


def _shown(name: object) -> str:
    """Names from an archive may not steer a terminal."""
    return "".join(c if c.isprintable() else "?" for c in str(name))[:200]


def _unreadable(path: Path, error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return f"can't be unpacked: {error.strerror}"
    with path.open("rb") as file:
        start = file.read(64).lstrip()
    if start.startswith((b"<!", b"<html", b"<HTML", b"<?xml")):
        return "a web page, not an archive: is the address that of the file itself?"
    return f"no zip archive, or a damaged one: {error}"
