"""What this machine has: disk and processors, seen without a library for either."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from dicomnode.tracking.spool import used_percent_of

# The NVIDIA driver describes each of its devices in a text file.
_NVIDIA = Path("/proc/driver/nvidia/gpus")


@dataclass(frozen=True)
class Disk:
    total_bytes: int
    free_bytes: int
    minimum_free_bytes: int
    used_percent: float = 0.0

    @property
    def is_full(self) -> bool:
        return self.free_bytes < self.minimum_free_bytes


def disk(folder: Path, minimum_free_bytes: int) -> Disk:
    """Of the file system that holds `folder`, or would."""
    folder = folder.absolute()
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    usage = shutil.disk_usage(existing)
    return Disk(usage.total, usage.free, minimum_free_bytes, used_percent_of(existing))


def gpus(folder: Path = _NVIDIA) -> Sequence[str]:
    """The models of the NVIDIA devices that the driver names; empty without one."""
    return tuple(
        name
        for file in sorted(folder.glob("*/information"))
        if (name := _model(file.read_text(encoding="utf-8", errors="replace")))
    )


def _model(text: str) -> str:
    values = (line.partition(":") for line in text.splitlines())
    return next((value.strip() for key, _, value in values if key.strip() == "Model"), "")
