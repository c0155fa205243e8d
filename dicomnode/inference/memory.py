"""Memory admission: what an examination will need, told from its shape, against what there is.

The estimate is meant to be too high rather than too low; docs/security.md has it beside measured
peaks. What the examining process holds already (libraries, weights) is not counted again.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from dicomnode.dicom.geometry import SliceGeometry
from dicomnode.dicom.resample import stack_grid
from dicomnode.errors import ExaminationFailedError, ExaminationPostponedError

_CGROUP = Path("/sys/fs/cgroup")
_MEMINFO = Path("/proc/meminfo")

# Bytes a voxel of the volume: values as decoded, on the grid of the networks, and copies of them
# while they are resampled, looked at (distances, surfaces) and drawn ...
_VOLUME_BYTES = 40
# ... and for each network its mask on both grids.
_MASK_BYTES = 2
# ... and, while a defaced volume is examined, what is kept of the one before: values as stored and
# as replaced, real ones on both grids, masks, what was removed and protected.
_BEFORE_BYTES = 24
# Bytes a voxel of one output of a network: half precision and sums on its own grid, single
# precision twice on the grid of the volume.
_OUTPUT_GRID_BYTES = 6
_OUTPUT_BYTES = 8
_INPUT_GRID_BYTES = 12
# Maps of the first stage that live at the same time in a patch, single precision.
_LIVING_MAPS = 10
_SINGLE = 4


@dataclass(frozen=True)
class NetworkSize:
    """What a network's memory depends on. `spacing_mm` and `patch` have two axes for a 2D one."""

    spacing_mm: tuple[float, ...]
    patch: tuple[int, ...]
    outputs: int
    features: int
    on_cpu: bool = True

    def needed_bytes(self, voxels: int, spacing_mm: tuple[float, float, float]) -> int:
        """While it looks at so many voxels of that spacing (slice, row, column)."""
        axes = len(self.spacing_mm)
        finer = math.prod(spacing_mm[-axes:]) / math.prod(self.spacing_mm)
        patch = math.prod(self.patch)
        on_grid = max(round(voxels * finer), patch)
        own = on_grid * (_INPUT_GRID_BYTES + self.outputs * _OUTPUT_GRID_BYTES)
        working = patch * self.features * _LIVING_MAPS * _SINGLE if self.on_cpu else 0
        return own + working + voxels * self.outputs * _OUTPUT_BYTES


def needed_bytes(
    geometry: SliceGeometry, networks: Sequence[NetworkSize], *, defacing: bool = False
) -> int:
    """To examine one volume, or to deface it; raises a refusal where no grid of a bearable size
    holds its slices."""
    grid = stack_grid(geometry)
    voxels = max(math.prod(grid.shape), math.prod(geometry.shape))
    spacing = (grid.slice_spacing_mm, *geometry.pixel_spacing_mm)
    largest = max((each.needed_bytes(voxels, spacing) for each in networks), default=0)
    each = _VOLUME_BYTES + _MASK_BYTES * len(networks) + _BEFORE_BYTES * defacing
    return voxels * each + largest


@dataclass(frozen=True)
class Memory:
    """Bytes: all that a process here may have, and what of it is free now."""

    total: int
    free: int


def of_this_machine() -> Memory:
    """The machine's, or that of the control group (version 2) where it allows less."""
    found = dict(line.split(":") for line in _MEMINFO.read_text(encoding="ascii").splitlines())
    total, free = (int(found[key].split()[0]) * 1024 for key in ("MemTotal", "MemAvailable"))
    try:
        limit = int((_CGROUP / "memory.max").read_text(encoding="ascii"))
        used = int((_CGROUP / "memory.current").read_text(encoding="ascii"))
    except (OSError, ValueError):  # another version, no group, or "max"
        return Memory(total, free)
    return Memory(min(total, limit), min(free, max(limit - used, 0)))


def require(needed: int, memory: Memory, most_bytes: int = 0) -> None:
    """Raises `ExaminationPostponedError` where it doesn't fit now, and `ExaminationFailedError`
    where it never will: into the machine, or into `most_bytes` (0: no such limit)."""
    most = min(memory.total, most_bytes or memory.total)
    if needed > most:
        raise ExaminationFailedError(
            f"set aside: a volume needs about {_gigabytes(needed)} of memory, and there are "
            f"{_gigabytes(most)} (inference.memory_bytes, or the machine); give it more, then "
            "retry the job"
        )
    if needed > memory.free:
        raise ExaminationPostponedError(
            f"waits for memory: a volume needs about {_gigabytes(needed)}, "
            f"{_gigabytes(memory.free)} are free"
        )


def _gigabytes(count: int) -> str:
    return f"{count / 1e9:.2f} GB"
