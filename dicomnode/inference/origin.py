"""Where networks come from: a folder, a zip, an address, or a name in the catalogue."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from dicomnode.errors import ModelError
from dicomnode.inference import download
from dicomnode.inference.archive import unpack
from dicomnode.inference.catalogue import RELEASES, Release, release_named
from dicomnode.inference.workplace import Workplace

Progress = Callable[[str, int, int | None], None]


@dataclass(frozen=True)
class Origin:
    """`folder` holds the networks; `ours`: it is a copy, whose files may be moved."""

    folder: Path
    ours: bool
    source: str
    sha256: str  # of the archive; empty for a folder
    fetched: Path | None = None  # the download, to be removed once its networks are installed


@contextmanager
def named(what: str) -> Iterator[None]:
    """Put the name that the user knows in front of what is wrong with it."""
    try:
        yield
    except ModelError as error:
        raise ModelError(f"{what}: {error}") from None


def open_source(source: str, sha256: str | None, work: Workplace, progress: Progress) -> Origin:
    """The networks of `source`, unpacked where they came in an archive.

    A file or folder of that name comes before a name in the catalogue. Raises `ModelError`.
    """
    if sha256 is not None and not re.fullmatch(r"[0-9A-Fa-f]{64}", sha256):
        raise ModelError(f"--sha256 {sha256}: a SHA-256 has 64 hexadecimal digits")
    path = Path(source)
    if download.is_url(source):
        return _fetched(source, None, sha256, work, progress)
    if path.is_dir():
        if sha256 is not None:
            raise ModelError(f"{source}: a folder has no SHA-256; --sha256 is for archives")
        return Origin(path.resolve(), False, path.resolve().name, "")
    if path.exists():
        return _unpacked(path, path.name, sha256, work, progress)
    release = release_named(source)
    if release is None:
        names = ", ".join(known.name for known in RELEASES)
        raise ModelError(
            f"{source}: no file, folder or address, and no known name. Known: {names} "
            "(dicomnode models catalogue)"
        )
    if not release.url:
        raise ModelError(f"{release.name}: {release.remarks}")
    return _fetched(release.url, release, sha256, work, progress)


def _fetched(
    url: str, release: Release | None, sha256: str | None, work: Workplace, progress: Progress
) -> Origin:
    path = download.fetch(
        url,
        work.downloads,
        lambda done, total: progress("downloading", done, total),
        size_bytes=release.size_bytes if release else None,
        sha256=sha256 or (release.sha256 if release else None),
    )
    try:
        return _unpacked(path, download.shown(url), sha256, work, progress, fetched=path)
    except ModelError:
        # Resuming a file that can't be unpacked would fail in the same way for ever.
        discard(path)
        raise


def discard(fetched: Path) -> None:
    """Remove a download and what was noted about it."""
    fetched.unlink(missing_ok=True)
    fetched.with_name(fetched.name + ".json").unlink(missing_ok=True)


def _unpacked(
    path: Path,
    name: str,
    sha256: str | None,
    work: Workplace,
    progress: Progress,
    fetched: Path | None = None,
) -> Origin:
    found = download.digest(path)
    if sha256 is not None and found != sha256.lower():
        raise ModelError(f"{name}: SHA-256 is {found}, expected {sha256}: not installed")
    with named(name):
        unpack(path, work.unpacked, lambda done, total: progress("unpacking", done, total))
    return Origin(work.unpacked, True, name, found, fetched)
