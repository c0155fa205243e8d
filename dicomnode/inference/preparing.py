"""A volume as networks want it: nnU-Net's preprocessing, done once for all that want the same.

nnU-Net also fills the holes of what is not zero and resamples that mask, twice the time of all
else, for networks that never ask for it; only its box is needed.
"""

from __future__ import annotations

import json
import weakref
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from acvl_utils.cropping_and_padding.bounding_boxes import get_bbox_from_mask
from nnunetv2.preprocessing.cropping.cropping import crop_to_nonzero
from nnunetv2.preprocessing.preprocessors.default_preprocessor import DefaultPreprocessor
from nnunetv2.preprocessing.resampling.default_resampling import (
    compute_new_shape,
    determine_do_sep_z_and_axis,
    resample_data_or_seg_to_shape,
)
from nnunetv2.preprocessing.resampling.resample_torch import resample_torch_fornnunet

from dicomnode.inference.resampling import Shape, cubic

Array = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Prepared:
    """`data` (1, z, y, x) on the network's grid; `box` is the part of the transposed volume of
    shape `whole` that it was made from, with `spacing` in millimetres."""

    data: torch.Tensor
    whole: Shape
    box: tuple[slice, slice, slice]
    spacing: tuple[float, ...]

    @property
    def inside(self) -> Shape:
        """The shape of the box."""
        z, y, x = (side.stop - side.start for side in self.box)
        return z, y, x


class Preparing:
    """Keeps what was made of the volume that networks look at, until the volume is gone."""

    def __init__(self) -> None:
        self._volume: weakref.ref[Array] | None = None
        self._made: dict[str, Prepared] = {}

    @staticmethod
    def can_prepare(predictor: Any) -> bool:
        """Whether the plans name the preprocessing that `prepare` does as nnU-Net does it."""
        return predictor.configuration_manager.preprocessor_class is DefaultPreprocessor

    def prepare(
        self,
        array: Array,
        turned: tuple[slice, slice, slice],
        spacing_mm: Sequence[float],
        predictor: Any,
    ) -> Prepared:
        """`array` must not change while it lives; `turned` are the directions of its axes."""
        if self._volume is None or self._volume() is not array:
            self._made = {}
            self._volume = weakref.ref(array, self._forget)
        wanted = repr((turned, tuple(spacing_mm))) + _needs(predictor)
        if wanted not in self._made:
            self._made[wanted] = prepare(array[turned], spacing_mm, predictor)
        return self._made[wanted]

    def _forget(self, volume: weakref.ref[Array]) -> None:
        if self._volume is volume:
            self._volume, self._made = None, {}


def _needs(predictor: Any) -> str:
    """All of the plans that `prepare` looks at."""
    configuration, plans = predictor.configuration_manager, predictor.plans_manager
    used = ("spacing", "normalization_schemes", "use_mask_for_norm", "resampling_fn_data")
    names = (*used, "resampling_fn_data_kwargs")
    told = {name: configuration.configuration[name] for name in names}
    told["intensities"] = plans.foreground_intensity_properties_per_channel
    told["axes"] = list(plans.transpose_forward)
    return json.dumps([told, str(predictor.device)], sort_keys=True)


def prepare(array: Array, spacing_mm: Sequence[float], predictor: Any) -> Prepared:
    """As `DefaultPreprocessor.run_case_npy`, value for value; `array` (z, y, x) stays as it is."""
    configuration, plans = predictor.configuration_manager, predictor.plans_manager
    forward = plans.transpose_forward
    data = array.astype(np.float32)[np.newaxis].transpose([0, *(axis + 1 for axis in forward)])
    spacing = tuple(spacing_mm[axis] for axis in forward)
    z, y, x = data.shape[1:]
    if any(configuration.use_mask_for_norm):
        data, outside, sides = crop_to_nonzero(data)
    else:
        sides = get_bbox_from_mask(data[0])
        data = data[(slice(None), *(slice(*side) for side in sides))]
        outside = np.broadcast_to(np.int8(0), data.shape)
    box = tuple(slice(*side) for side in sides)
    target = list(configuration.spacing)
    target = [*spacing[: 3 - len(target)], *target]  # a 2D network keeps the slices
    shape = tuple(int(n) for n in compute_new_shape(data.shape[1:], spacing, target))
    data = DefaultPreprocessor(verbose=False)._normalize(
        data, outside, configuration, plans.foreground_intensity_properties_per_channel
    )
    resampled = _resampled(data, shape, spacing, target, predictor)
    return Prepared(torch.from_numpy(resampled), (z, y, x), box, spacing)  # type: ignore[arg-type]


def _resampled(
    data: Array, shape: Any, spacing: Sequence[float], target: Sequence[float], predictor: Any
) -> Array:
    function: partial[Any] = predictor.configuration_manager.resampling_fn_data
    options = dict(function.keywords)
    if function.func is resample_data_or_seg_to_shape and options.get("order", 3) == 3:
        force = options.get("force_separate_z")
        separate, _ = determine_do_sep_z_and_axis(force, spacing, target)
        if not separate and not options.get("is_seg") and data.shape[1:] != shape:
            return cubic(data[0], shape, predictor.device)[np.newaxis]
    if function.func is resample_torch_fornnunet:  # else four threads, on any machine
        function = partial(function, num_threads=torch.get_num_threads())
    return np.asarray(function(data, shape, spacing, target))
