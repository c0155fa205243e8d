"""Networks of released sizes with random weights, in nnU-Net's layout, pinned: for speed alone.

The shape is the one that nnU-Net plans for large patches (`PlainConvUNet`, 32 to 320 channels, as
many stages as halve the patch to 4 to 8 voxels), with its preset resampling.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dicomnode.domain import SegmentKind
from dicomnode.inference.models import pin
from dicomnode.training import plans

CONFIGURATION = "3d_fullres"
MOST_FEATURES = 320
_RESAMPLING = {"is_seg": False, "order": 3, "order_z": 0, "force_separate_z": None}


def write_networks(
    folder: Path, patches: Sequence[int], features: int = 32, spacing_mm: float = 1.0
) -> None:
    """One network for each patch length (voxels), in the order of the kinds."""
    for number, (kind, patch) in enumerate(zip(SegmentKind, patches, strict=False), start=1):
        name = f"Dataset95{number}_random_{kind.value}"
        _write(folder / name, kind.value, _plans(name, patch, features, spacing_mm))
    pin(folder)


def _stages(patch: int) -> int:
    stages = 1
    while patch % 2**stages == 0 and patch // 2**stages >= 4 and stages < 7:
        stages += 1
    return stages


def _architecture(patch: int, features: int) -> dict[str, Any]:
    stages = _stages(patch)
    made = plans.architecture()
    made["arch_kwargs"] |= {
        "n_stages": stages,
        "features_per_stage": [min(features * 2**stage, MOST_FEATURES) for stage in range(stages)],
        "kernel_sizes": [[3, 3, 3]] * stages,
        "strides": [[1, 1, 1]] + [[2, 2, 2]] * (stages - 1),
        "n_conv_per_stage": [2] * stages,
        "n_conv_per_stage_decoder": [2] * (stages - 1),
    }
    return made


def _plans(name: str, patch: int, features: int, spacing_mm: float) -> dict[str, Any]:
    resampling: dict[str, Any] = {
        f"resampling_fn_{what}": "resample_data_or_seg_to_shape"
        for what in ("data", "seg", "probabilities")
    }
    resampling |= {
        "resampling_fn_data_kwargs": _RESAMPLING,
        "resampling_fn_seg_kwargs": _RESAMPLING | {"is_seg": True, "order": 1},
        "resampling_fn_probabilities_kwargs": _RESAMPLING | {"order": 1},
    }
    sized = {
        "patch_size": [patch] * 3,
        "spacing": [spacing_mm] * 3,
        "architecture": _architecture(patch, features),
    }
    configuration = plans.configuration() | resampling | sized
    return plans.plans() | {
        "dataset_name": name,
        "configurations": {CONFIGURATION: configuration},
    }


def _write(folder: Path, label: str, plan: dict[str, Any]) -> None:
    import torch
    from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

    model = folder / f"nnUNetTrainer__{plans.PLANS_NAME}__{CONFIGURATION}"
    (model / "fold_0").mkdir(parents=True)
    dataset = plans.binary_dataset_json(label, 1)
    for name, content in (("plans", plan), ("dataset", dataset)):
        (model / f"{name}.json").write_text(json.dumps(content), encoding="utf-8")
    torch.manual_seed(1)
    network = _built(PlansManager(plan).get_configuration(CONFIGURATION))
    checkpoint = {
        "network_weights": network.state_dict(),
        "init_args": {"configuration": CONFIGURATION},
        "trainer_name": "nnUNetTrainer",
        "inference_allowed_mirroring_axes": (0, 1, 2),
    }
    torch.save(checkpoint, model / "fold_0" / "checkpoint_final.pth")
    card = {
        "kind": label,
        "name": folder.name,
        "version": "random",
        "modalities": ["CT", "MR"],
        "licence": "none: random weights",
        "source": "bench/random_networks.py",
    }
    (folder / "card.json").write_text(json.dumps(card), encoding="utf-8")


def _built(configuration: Any) -> Any:
    from nnunetv2.utilities.get_network_from_plans import get_network_from_plans

    return get_network_from_plans(
        configuration.network_arch_class_name,
        configuration.network_arch_init_kwargs,
        configuration.network_arch_init_kwargs_req_import,
        1,
        2,
        deep_supervision=False,
    )
