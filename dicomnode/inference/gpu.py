"""What the GPUs are at: memory and utilisation, by NVIDIA's management library.

`nvidia-ml-py` (imported as `pynvml`) is asked where it is installed. torch could only tell of the
memory of its own process, and would take some to do so.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class GPUReading:
    """One device; `utilisation` is a share from 0 to 1, None where nobody tells."""

    index: int
    memory_used_bytes: int
    memory_total_bytes: int
    utilisation: float | None


def readings() -> tuple[GPUReading, ...]:
    """Never raises: a device that doesn't answer is left out."""
    try:
        import pynvml
    except ImportError:
        return ()
    try:
        pynvml.nvmlInit()
        return tuple(_by_nvml(pynvml))
    except pynvml.NVMLError:
        return ()


def _by_nvml(nvml: Any) -> Iterator[GPUReading]:
    for index in range(nvml.nvmlDeviceGetCount()):
        device = nvml.nvmlDeviceGetHandleByIndex(index)
        memory = nvml.nvmlDeviceGetMemoryInfo(device)
        try:
            share = nvml.nvmlDeviceGetUtilizationRates(device).gpu / 100
        except nvml.NVMLError:  # a slice of a device (MIG) has none
            share = None
        yield GPUReading(index, int(memory.used), int(memory.total), share)
