"""What is said of GPUs, with a library that answers as NVIDIA's does."""

from __future__ import annotations

import sys
from types import SimpleNamespace
from typing import Any

import pytest

from dicomnode.inference.gpu import GPUReading, readings


class NVMLError(Exception):
    """As `pynvml.NVMLError`."""


def library(**functions: Any) -> SimpleNamespace:
    memory = SimpleNamespace(used=3 * 2**30, total=16 * 2**30)
    answers = {
        "NVMLError": NVMLError,
        "nvmlInit": lambda: None,
        "nvmlDeviceGetCount": lambda: 2,
        "nvmlDeviceGetHandleByIndex": lambda index: index,
        "nvmlDeviceGetMemoryInfo": lambda _device: memory,
        "nvmlDeviceGetUtilizationRates": lambda _device: SimpleNamespace(gpu=42),
    }
    return SimpleNamespace(**(answers | functions))


def test_each_device_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", library())
    assert readings() == (
        GPUReading(0, 3 * 2**30, 16 * 2**30, 0.42),
        GPUReading(1, 3 * 2**30, 16 * 2**30, 0.42),
    )


def _fail(*_: object) -> None:
    raise NVMLError("not here")


def test_a_slice_of_a_device_has_no_utilisation(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", library(nvmlDeviceGetUtilizationRates=_fail))
    assert [one.utilisation for one in readings()] == [None, None]


@pytest.mark.parametrize("broken", [None, library(nvmlInit=_fail)])
def test_without_a_driver_or_a_library_nothing_is_told(
    monkeypatch: pytest.MonkeyPatch, broken: Any
) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", broken)
    assert readings() == ()
