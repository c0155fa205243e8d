"""Folders that hold patients' data."""

from __future__ import annotations

from pathlib import Path


def make_private(folder: Path) -> None:
    """Make it and what lacks above it, closed to other accounts; what is there stays as it is."""
    if not folder.is_dir():
        make_private(folder.parent)
        folder.mkdir(mode=0o700, exist_ok=True)
