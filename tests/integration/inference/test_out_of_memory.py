"""A network on a device whose memory ends at a set step: it falls, says so, and still answers."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
import pytest
import torch

from dicomnode.config import InferenceSettings
from dicomnode.errors import ExaminationDiedError
from dicomnode.inference import predictor
from dicomnode.inference.models import load_manifest, models_folder
from dicomnode.inference.nnunet import Network
from dicomnode.inference.predictor import RUNGS, Predictor

SPACING_MM = (5.0, 5.0, 5.0)
DEVICE_IS_FULL = "CUDA out of memory. Tried to allocate 2.00 GiB"


class SmallDevice:
    """Stands for a GPU: the first `falls` forward passes of a network find its memory used up."""

    def __init__(self, network: Any, error: Exception, falls: int) -> None:
        self.forward, self.error, self.left, self.passes = network.forward, error, falls, 0
        network.forward = self

    def __call__(self, x: Any) -> Any:
        self.passes += 1
        if self.left:
            self.left -= 1
            raise self.error
        return self.forward(x)


@pytest.fixture
def network(monkeypatch: pytest.MonkeyPatch) -> Network:
    """The starter of the foreground, which believes that there is something to fall to."""
    monkeypatch.setattr(Predictor, "rungs", RUNGS)
    (model,) = (
        model for model in load_manifest(models_folder(None)) if model.identity.kind == "foreground"
    )
    return Network(model, InferenceSettings(device="cpu"))


@pytest.fixture
def volume() -> Any:
    z, y, x = np.mgrid[-1:1:24j, -1:1:24j, -1:1:24j]
    return np.where(z**2 + y**2 + x**2 < 0.5, 100.0, -1000.0).astype(np.float32)


def test_each_fall_is_told_and_the_mask_stays(
    network: Network, volume: Any, caplog: pytest.LogCaptureFixture
) -> None:
    expected = network.segment(volume, SPACING_MM)
    assert network.falls == ()
    for falls in (1, 3):
        SmallDevice(network._predictor.network, torch.OutOfMemoryError(DEVICE_IS_FULL), falls)
        with caplog.at_level(logging.WARNING, "dicomnode.inference"):
            mask = network.segment(volume, SPACING_MM)
        assert network.falls == tuple(f"network foreground: {r.fall}" for r in RUNGS[1 : falls + 1])
        assert [r.fall for r in caplog.records if hasattr(r, "fall")] == list(network.falls)
        assert np.count_nonzero(mask != expected) < 0.02 * mask.size
        caplog.clear()
    network.segment(volume, SPACING_MM)
    assert network.falls == ()  # the next volume begins as configured


def test_the_steps_down_end_with_what_counts_as_a_death(
    network: Network, volume: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[bool, float, bool]] = []
    predict = Predictor.predict_logits_from_preprocessed_data

    def watched(self: Predictor, *given: Any) -> Any:
        seen.append((self.use_mirroring, self.tile_step_size, self.perform_everything_on_device))
        return predict(self, *given)

    monkeypatch.setattr(Predictor, "predict_logits_from_preprocessed_data", watched)
    network._predictor.perform_everything_on_device = network._predictor.use_mirroring = True
    SmallDevice(network._predictor.network, torch.OutOfMemoryError(DEVICE_IS_FULL), 99)
    with pytest.raises(ExaminationDiedError, match="out of memory, also on the CPU"):
        network.segment(volume, SPACING_MM)
    assert seen == [
        (True, 0.5, True),
        (True, 0.5, False),
        (False, predictor.LARGE_STEP, False),
        (True, 0.5, False),
    ]


def test_a_device_that_is_full_in_other_words_is_one_too(network: Network, volume: Any) -> None:
    error = RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling cublasCreate(handle)")
    SmallDevice(network._predictor.network, error, 1)
    network.segment(volume, SPACING_MM)
    assert len(network.falls) == 1


def test_another_error_leads_to_no_fall(network: Network, volume: Any) -> None:
    device = SmallDevice(network._predictor.network, RuntimeError("a wrong shape"), 1)
    with pytest.raises(RuntimeError, match="a wrong shape"):
        network.segment(volume, SPACING_MM)
    assert device.passes == 1
