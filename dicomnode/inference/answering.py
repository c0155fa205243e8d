"""From a network's logits to the mask of its segment on the volume's own grid."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from nnunetv2.inference.export_prediction import (
    convert_predicted_logits_to_segmentation_with_correct_shape,
)

from dicomnode.inference.preparing import Prepared
from dicomnode.inference.resampling import axes_for, decided

Mask = npt.NDArray[np.uint8]


def mask_of(
    logits: torch.Tensor, prepared: Prepared, predictor: Any, labels: Sequence[int]
) -> Mask:
    """1 where nnU-Net answers one of `labels` (none given: any but background).

    `logits` (label, z, y, x) lie on the network's grid; the mask on that of the volume.
    """
    configuration, manager = predictor.configuration_manager, predictor.label_manager
    spacing = list(configuration.spacing)
    spacing = [*prepared.spacing[: 3 - len(spacing)], *spacing]
    function, size = configuration.resampling_fn_probabilities, logits.shape[1:]
    axes = axes_for(function, tuple(size), prepared.inside, spacing, prepared.spacing)  # type: ignore[arg-type]
    if axes is None:
        return _by_nnunet(logits, prepared, predictor, labels)

    def inside(values: torch.Tensor) -> torch.Tensor:
        return _of_segment(_labels(values, manager), labels)

    logits = logits.to(predictor.device)
    mask = np.zeros(prepared.whole, np.uint8)
    mask[prepared.box] = decided(logits, axes, _labels(logits, manager) != 0, inside)
    return np.asarray(mask.transpose(predictor.plans_manager.transpose_backward))


def _labels(values: torch.Tensor, manager: Any) -> torch.Tensor:
    """As `LabelManager.convert_logits_to_segmentation`: of equal ones the first label."""
    if not manager.has_regions:
        return values[1] > values[0] if len(values) == 2 else values.argmax(0)
    probabilities = manager.apply_inference_nonlin(values)
    found = torch.zeros(values.shape[1:], dtype=torch.int16, device=values.device)
    for probability, label in zip(probabilities, manager.regions_class_order, strict=True):
        found[probability > 0.5] = label
    return found


def _of_segment(found: torch.Tensor, labels: Sequence[int]) -> torch.Tensor:
    if labels:
        return torch.isin(found.short(), torch.tensor(labels, dtype=torch.short).to(found.device))
    return found if found.dtype is torch.bool else found != 0


def _by_nnunet(
    logits: torch.Tensor, prepared: Prepared, predictor: Any, labels: Sequence[int]
) -> Mask:
    """For plans that name another resampling."""
    backward = predictor.plans_manager.transpose_backward
    properties = {
        "spacing": [prepared.spacing[axis] for axis in backward],
        "shape_before_cropping": prepared.whole,
        "shape_after_cropping_and_before_resampling": prepared.inside,
        "bbox_used_for_cropping": [[side.start, side.stop] for side in prepared.box],
    }
    answer = convert_predicted_logits_to_segmentation_with_correct_shape(
        logits.cpu(),
        predictor.plans_manager,
        predictor.configuration_manager,
        predictor.label_manager,
        properties,
        num_threads_torch=torch.get_num_threads(),
    )
    found = torch.from_numpy(np.ascontiguousarray(answer).astype(np.int16))
    return np.asarray(_of_segment(found, labels).byte().numpy())
