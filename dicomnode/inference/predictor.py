"""nnU-Net's predictor on a device whose memory may be too small: it falls step by step.

nnU-Net itself falls once, to sums that are kept by the CPU, for any `RuntimeError` and without
telling. Here every fall is told, only want of memory leads to one, and there are more of them.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor

from dicomnode.errors import ExaminationDiedError
from dicomnode.inference.memory import NetworkSize

log = logging.getLogger("dicomnode.inference")

Answer = TypeVar("Answer")

LARGE_STEP = 0.75
# How libraries below torch tell of it, in errors of no class of their own.
_TOLD_IN_WORDS = ("out of memory", "ALLOC_FAILED", "can't allocate memory")


class DeviceMemoryError(Exception):
    """A device has no memory left. No `RuntimeError`: nnU-Net would take that for itself."""


@dataclass(frozen=True)
class Rung:
    """One way to compute, less hungry than the one before."""

    fall: str  # what was given up, for people
    sums_on_device: bool = True
    small_overlap: bool = False  # also no mirroring: that keeps a second answer of each tile
    on_cpu: bool = False


RUNGS = (
    Rung(""),
    Rung("the device was out of memory: summed up by the CPU", sums_on_device=False),
    Rung(
        f"the device was out of memory: steps of {LARGE_STEP} patch lengths at least (less "
        "overlap), without mirroring, summed up by the CPU",
        sums_on_device=False,
        small_overlap=True,
    ),
    Rung("the device was out of memory: computed by the CPU", sums_on_device=False, on_cpu=True),
)


class Predictor(nnUNetPredictor):  # type: ignore[misc]
    """Made and initialised as nnU-Net's own."""

    @property
    def rungs(self) -> tuple[Rung, ...]:
        """The ways to compute here, best first: there is nothing to fall to from a CPU."""
        return RUNGS if self.device.type != "cpu" else RUNGS[:1]

    @property
    def size(self) -> NetworkSize:
        configuration = self.configuration_manager
        features = configuration.network_arch_init_kwargs.get("features_per_stage") or [32]
        return NetworkSize(
            tuple(map(float, configuration.spacing)),
            tuple(map(int, configuration.patch_size)),
            int(self.label_manager.num_segmentation_heads),
            int(features[0]),
            on_cpu=self.device.type == "cpu",
        )

    def falling(self, predict: Callable[[], Answer]) -> tuple[Answer, list[str]]:
        """What `predict` makes of this predictor, and a sentence for each fall on the way.

        Raises `ExaminationDiedError` where the last rung is out of memory, too.
        """
        falls: list[str] = []
        for rung in self.rungs:
            if rung.fall:
                falls.append(rung.fall)
            try:
                with self._on(rung):
                    return predict(), falls
            except (DeviceMemoryError, torch.OutOfMemoryError):
                log.warning("out of memory", extra={"device": str(self.device), "falls": falls})
        raise ExaminationDiedError("a network ran out of memory, also on the CPU")

    @contextmanager
    def _on(self, rung: Rung) -> Iterator[None]:
        """The settings of a rung; afterwards those that were configured."""
        names = ("device", "perform_everything_on_device", "tile_step_size", "use_mirroring")
        configured = {name: getattr(self, name) for name in names}
        if not rung.sums_on_device:
            self.perform_everything_on_device = False
        if rung.small_overlap:
            self.tile_step_size = max(configured["tile_step_size"], LARGE_STEP)
            self.use_mirroring = False
        if rung.on_cpu:
            self.device = torch.device("cpu")
        try:
            yield
        finally:
            for name, value in configured.items():
                setattr(self, name, value)

    def _internal_predict_sliding_window_return_logits(
        self, data: Any, slicers: Any, do_on_device: bool = True
    ) -> Any:
        try:
            return super()._internal_predict_sliding_window_return_logits(
                data, slicers, do_on_device
            )
        except RuntimeError as error:
            if is_out_of_memory(error):
                raise DeviceMemoryError(str(error)) from error
            raise


def is_out_of_memory(error: RuntimeError) -> bool:
    """Whether a device could not give what was asked for."""
    told = any(words in str(error) for words in _TOLD_IN_WORDS)
    return isinstance(error, torch.OutOfMemoryError) or told
