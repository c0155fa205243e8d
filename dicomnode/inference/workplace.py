"""Where an installation is prepared: beside the models folder, so that moving in is a rename."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dicomnode.durable import sync
from dicomnode.errors import ModelError
from dicomnode.inference.json_files import write_json
from dicomnode.inference.models import MANIFEST_NAME, STARTER_FOLDER


@dataclass(frozen=True)
class Workplace:
    """`downloads` outlives a failure, so that a broken download is resumed; the rest doesn't."""

    downloads: Path
    unpacked: Path
    staged: Path


@contextlib.contextmanager
def workplace(models_folder: Path) -> Iterator[Workplace]:
    """One installation at a time into `models_folder`; raises `ModelError` where one runs."""
    root = models_folder.parent / f".{models_folder.name}.install"
    root.mkdir(parents=True, exist_ok=True)
    work = Workplace(root / "downloads", root / "unpacked", root / "staged")
    lock = os.open(root, os.O_RDONLY)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ModelError(f"another installation into {models_folder} runs") from None
        _clear(work)
        for folder in (work.downloads, work.unpacked, work.staged):
            folder.mkdir(exist_ok=True)
        try:
            yield work
        finally:
            _clear(work)
            with contextlib.suppress(OSError):  # not empty: a download waits there
                work.downloads.rmdir()
                root.rmdir()
    finally:
        os.close(lock)


def _clear(work: Workplace) -> None:
    for folder in (work.unpacked, work.staged):
        shutil.rmtree(folder, ignore_errors=True)


def require_own_folder(models_folder: Path) -> None:
    """Raises `ModelError` for the packaged starter networks, which the next upgrade replaces."""
    starters = STARTER_FOLDER.resolve()
    if models_folder.resolve() == starters or starters in models_folder.resolve().parents:
        raise ModelError(
            f"{models_folder}: the starter networks of the package are not changed. Name a folder "
            "of your own with --into, or in inference.models_folder"
        )


def take(source: Path, target: Path, *, move: bool) -> None:
    """Move or copy one file, and see that it is on the disk."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if move:
        source.replace(target)
    else:
        shutil.copyfile(source, target)
    sync(target)


def move_in(
    models_folder: Path, staged: Sequence[Path], entries: Sequence[Mapping[str, Any]]
) -> None:
    """Move the staged dataset folders into `models_folder`, then let the manifest name `entries`.

    The manifest's rename is the moment of change: before it the new folders are nothing to
    anybody, and where anything fails they are taken out again.
    """
    is_new = not models_folder.exists()
    moved: list[Path] = []
    try:
        models_folder.mkdir(parents=True, exist_ok=True)
        for folder in staged:
            moved.append(models_folder / folder.name)
            # A rename, or, where the models folder is a mount of its own, a copy.
            shutil.move(folder, moved[-1])
        sync(models_folder)
        write_json(models_folder / MANIFEST_NAME, {"models": list(entries)})
        sync(models_folder)
    except BaseException:
        for path in moved:
            shutil.rmtree(path, ignore_errors=True)
        (models_folder / f".{MANIFEST_NAME}.tmp").unlink(missing_ok=True)
        if is_new:
            shutil.rmtree(models_folder, ignore_errors=True)
        raise
