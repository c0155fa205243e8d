"""Tiny networks trained by nnunetv2's own trainer: real checkpoints, real results folders."""

from __future__ import annotations

import contextlib
import io
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from dicomnode.training.nnunet_paths import DATASETS, RESULTS, nnunet_folders

PATCH_VOXELS = (16, 16, 16)
FEATURES = (4, 8, 16)
SPACING_MM = (2.0, 1.5, 1.5)
_STAGES = len(FEATURES)
_CASES = ("case_0", "case_1")
_ARCHITECTURES = "dynamic_network_architectures.architectures"


@dataclass(frozen=True)
class Recipe:
    """What a results folder is to hold."""

    dataset: str
    labels: dict[str, int] = field(default_factory=lambda: {"background": 0, "thing": 1})
    residual: bool = False
    trainer: str = "nnUNetTrainer"
    configuration: str = "3d_fullres"
    folds: tuple[int | str, ...] = ("all",)
    plans_name: str = "nnUNetPlans"
    transpose: tuple[int, int, int] = (0, 1, 2)


def train(recipe: Recipe, root: Path) -> Path:
    """Train `recipe` below `root`; the folder `DatasetNNN_name` as nnU-Net leaves it."""
    import torch

    prepared = root / DATASETS / recipe.dataset
    # Networks this small gain nothing from threads, and on a busy machine those wait endlessly.
    torch.set_num_threads(1)
    with nnunet_folders(root), contextlib.redirect_stdout(io.StringIO()):
        _prepare(recipe, prepared)
        for fold in recipe.folds:
            torch.manual_seed(hash_of(f"{recipe.dataset} {fold}"))
            _train_fold(recipe, fold)
    return root / RESULTS / recipe.dataset


def hash_of(text: str) -> int:
    return sum(ord(character) * 31**place for place, character in enumerate(text)) % 2**31


def _train_fold(recipe: Recipe, fold: int | str) -> None:
    import torch
    from nnunetv2.utilities.find_objects import recursive_find_trainer_class_by_name

    trainer = recursive_find_trainer_class_by_name(recipe.trainer)(
        plans(recipe) | {"continue_training": False},
        recipe.configuration,
        fold,
        dataset_json(recipe),
        torch.device("cpu"),
    )
    trainer.num_epochs, trainer.num_iterations_per_epoch = 1, 2
    trainer.num_val_iterations_per_epoch = 1
    # Neither its picture of the network nor a picture of one epoch is looked at here.
    trainer.plot_network_architecture = lambda: None
    trainer.logger.plot_progress_png = lambda folder: Path(folder, "progress.png").touch()
    trainer.run_training()
    validation = Path(trainer.output_folder, "validation")
    validation.mkdir(exist_ok=True)
    (validation / "summary.json").write_text("{}")


def _prepare(recipe: Recipe, folder: Path) -> None:
    """Two random cases, preprocessed and stored by nnU-Net."""
    from nnunetv2.preprocessing.preprocessors.default_preprocessor import DefaultPreprocessor
    from nnunetv2.training.dataloading.nnunet_dataset import nnUNetDatasetBlosc2
    from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

    data = folder / f"{recipe.plans_name}_{recipe.configuration}"
    data.mkdir(parents=True, exist_ok=True)
    splits = [{"train": list(_CASES), "val": list(_CASES)}] * 5
    for name, content in (("splits_final", splits), ("dataset_fingerprint", {})):
        (folder / f"{name}.json").write_text(json.dumps(content))
    manager = PlansManager(plans(recipe))
    configuration = manager.get_configuration(recipe.configuration)
    rng = np.random.default_rng(7)
    for case in _CASES:
        array = rng.normal(size=(1, 20, 22, 24)).astype(np.float32)
        labels = rng.integers(0, len(recipe.labels), array.shape).astype(np.int16)
        image, seg, properties = DefaultPreprocessor(verbose=False).run_case_npy(
            array,
            labels,
            {"spacing": list(SPACING_MM)},
            manager,
            configuration,
            dataset_json(recipe),
        )
        nnUNetDatasetBlosc2.save_case(image, seg, properties, str(data / case))


def dataset_json(recipe: Recipe) -> dict[str, Any]:
    return {
        "channel_names": {"0": "MR"},
        "labels": recipe.labels,
        "numTraining": len(_CASES),
        "file_ending": ".nii.gz",
    }


def plans(recipe: Recipe) -> dict[str, Any]:
    return {
        "dataset_name": recipe.dataset,
        "plans_name": recipe.plans_name,
        "original_median_spacing_after_transp": list(SPACING_MM),
        "original_median_shape_after_transp": list(PATCH_VOXELS),
        "image_reader_writer": "SimpleITKIO",
        "transpose_forward": list(recipe.transpose),
        "transpose_backward": [recipe.transpose.index(axis) for axis in range(3)],
        "configurations": {recipe.configuration: _configuration(recipe)},
        "experiment_planner_used": "ExperimentPlanner",
        "label_manager": "LabelManager",
        "foreground_intensity_properties_per_channel": {
            "0": {
                "max": 1,
                "mean": 0,
                "median": 0,
                "min": 0,
                "percentile_00_5": 0,
                "percentile_99_5": 1,
                "std": 1,
            }
        },
    }


def _configuration(recipe: Recipe) -> dict[str, Any]:
    resampling = {"is_seg": False, "order": 3, "order_z": 0, "force_separate_z": None}
    return {
        "data_identifier": f"{recipe.plans_name}_{recipe.configuration}",
        "preprocessor_name": "DefaultPreprocessor",
        "batch_size": 2,
        "patch_size": list(PATCH_VOXELS),
        "median_image_size_in_voxels": list(PATCH_VOXELS),
        "spacing": list(SPACING_MM),
        "normalization_schemes": ["ZScoreNormalization"],
        "use_mask_for_norm": [False],
        "resampling_fn_data": "resample_data_or_seg_to_shape",
        "resampling_fn_seg": "resample_data_or_seg_to_shape",
        "resampling_fn_data_kwargs": resampling,
        "resampling_fn_seg_kwargs": {**resampling, "is_seg": True, "order": 1},
        "resampling_fn_probabilities": "resample_data_or_seg_to_shape",
        "resampling_fn_probabilities_kwargs": {**resampling, "order": 1},
        "batch_dice": False,
        "architecture": _architecture(recipe),
    }


def _architecture(recipe: Recipe) -> dict[str, Any]:
    name = "ResidualEncoderUNet" if recipe.residual else "PlainConvUNet"
    blocks = "n_blocks_per_stage" if recipe.residual else "n_conv_per_stage"
    return {
        "network_class_name": f"{_ARCHITECTURES}.unet.{name}",
        "arch_kwargs": {
            "n_stages": _STAGES,
            "features_per_stage": list(FEATURES),
            "conv_op": "torch.nn.modules.conv.Conv3d",
            "kernel_sizes": [[3, 3, 3]] * _STAGES,
            "strides": [[1, 1, 1]] + [[2, 2, 2]] * (_STAGES - 1),
            blocks: [1] * _STAGES,
            "n_conv_per_stage_decoder": [1] * (_STAGES - 1),
            "conv_bias": True,
            "norm_op": "torch.nn.modules.instancenorm.InstanceNorm3d",
            "norm_op_kwargs": {"eps": 1e-05, "affine": True},
            "dropout_op": None,
            "dropout_op_kwargs": None,
            "nonlin": "torch.nn.LeakyReLU",
            "nonlin_kwargs": {"inplace": True},
        },
        "_kw_requires_import": ["conv_op", "norm_op", "dropout_op", "nonlin"],
    }
