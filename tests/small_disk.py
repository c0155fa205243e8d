"""Small real file systems that fill, run out of inodes, become read-only or vanish."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest


@dataclass(frozen=True)
class Disk:
    folder: Path

    def remount(self, options: str) -> None:
        _run("mount", "-o", f"remount,{options}", str(self.folder))

    @contextmanager
    def vanished(self, elsewhere: Path) -> Iterator[None]:
        """As a network share that is away: the path is the empty folder that it was mounted on."""
        elsewhere.mkdir()
        _run("mount", "--bind", str(self.folder), str(elsewhere))
        _run("umount", "-l", str(self.folder))
        try:
            yield
        finally:
            _run("mount", "--bind", str(elsewhere), str(self.folder))
            _run("umount", "-l", str(elsewhere))


@contextmanager
def small_disk(folder: Path, options: str) -> Iterator[Disk]:
    """A tmpfs; skips the test where this user or machine may not mount one."""
    if os.geteuid() != 0 or shutil.which("mount") is None:
        pytest.skip("mounting a small file system needs root")
    folder.mkdir()
    try:
        _run("mount", "-t", "tmpfs", "-o", options, "none", str(folder))
    except subprocess.CalledProcessError:
        pytest.skip("this machine does not permit to mount a small file system")
    try:
        yield Disk(folder)
    finally:
        with suppress(subprocess.CalledProcessError):
            _run("umount", "-l", str(folder))


def _run(*command: str) -> None:
    subprocess.run(command, capture_output=True, timeout=20, check=True)
