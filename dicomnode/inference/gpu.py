"""What the GPUs are at: memory and utilisation, by NVIDIA's management library or by torch.

`nvidia-ml-py` (imported as `pynvml`) is asked where it is installed; torch knows the memory of the
devices that this process computes on, and nothing else. Without a GPU there is nothing to say.
"""

from __future__ import annotations

import sys
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
        return tuple(_by_torch())
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


def _by_torch() -> Iterator[GPUReading]:
    """Only where this process uses the GPU already: to ask would else take its memory."""
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_available() or not torch.cuda.is_initialized():
        return
    for index in range(torch.cuda.device_count()):
        free, total = torch.cuda.mem_get_info(index)
        yield GPUReading(index, total - free, total, None)
