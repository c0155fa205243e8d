"""The nnU-Net v2 plans of the starter networks: one small architecture at 2.5 mm."""

from __future__ import annotations

from typing import Any

DATASET_NAME = "Dataset900_starter"
PLANS_NAME = "starterPlans"
CONFIGURATION = "3d_2p5mm"
DATA_IDENTIFIER = f"{PLANS_NAME}_{CONFIGURATION}"
SPACING_MM = (2.5, 2.5, 2.5)
PATCH_VOXELS = (112, 112, 80)  # toward head, posterior, left: 280 x 280 x 200 mm, a whole head
FEATURES = (16, 32, 64, 112, 160)
BATCH_SIZE = 4

# Region-based training; the order is that of the network's sigmoid channels.
REGIONS: dict[str, tuple[int, ...]] = {
    "foreground": (1, 2),
    "face": (2,),
    "anonymised_area": (3,),
}
IGNORED = 4


def architecture() -> dict[str, Any]:
    stages = len(FEATURES)
    return {
        "network_class_name": "dynamic_network_architectures.architectures.unet.PlainConvUNet",
        "arch_kwargs": {
            "n_stages": stages,
            "features_per_stage": list(FEATURES),
            "conv_op": "torch.nn.modules.conv.Conv3d",
            "kernel_sizes": [[3, 3, 3]] * stages,
            "strides": [[1, 1, 1]] + [[2, 2, 2]] * (stages - 1),
            "n_conv_per_stage": [1, 2, 2, 2, 2],
            "n_conv_per_stage_decoder": [1] * (stages - 1),
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


def configuration() -> dict[str, Any]:
    # Linear along every axis, as `synthesis.scanner.sliced` does, and faster than splines.
    resampling = {"is_seg": False, "force_separate_z": False, "memefficient_seg_resampling": False}
    return {
        "data_identifier": DATA_IDENTIFIER,
        "preprocessor_name": "DefaultPreprocessor",
        "batch_size": BATCH_SIZE,
        "patch_size": list(PATCH_VOXELS),
        "median_image_size_in_voxels": [float(n) for n in PATCH_VOXELS],
        "spacing": list(SPACING_MM),
        "normalization_schemes": ["ZScoreNormalization"],
        "use_mask_for_norm": [False],
        **{
            f"resampling_fn_{what}": "resample_torch_fornnunet"
            for what in ("data", "seg", "probabilities")
        },
        "resampling_fn_data_kwargs": resampling,
        "resampling_fn_seg_kwargs": {**resampling, "is_seg": True},
        "resampling_fn_probabilities_kwargs": resampling,
        "architecture": architecture(),
        "batch_dice": True,
    }


def plans() -> dict[str, Any]:
    return {
        "dataset_name": DATASET_NAME,
        "plans_name": PLANS_NAME,
        "original_median_spacing_after_transp": list(SPACING_MM),
        "original_median_shape_after_transp": list(PATCH_VOXELS),
        "image_reader_writer": "SimpleITKIO",
        "transpose_forward": [0, 1, 2],
        "transpose_backward": [0, 1, 2],
        "configurations": {CONFIGURATION: configuration()},
        "experiment_planner_used": "dicomnode.training.plans",
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


def region_dataset_json(cases: int) -> dict[str, Any]:
    """Labels in the order in which nnU-Net writes regions over one another."""
    return {
        "channel_names": {"0": "CT_or_MR"},
        "labels": {
            "background": 0,
            **{name: list(values) for name, values in REGIONS.items()},
            "ignore": IGNORED,
        },
        "regions_class_order": [1, 2, 3],
        "numTraining": cases,
        "file_ending": ".nii.gz",
    }


def binary_dataset_json(label: str, cases: int) -> dict[str, Any]:
    return {
        "channel_names": {"0": "CT_or_MR"},
        "labels": {"background": 0, label: 1},
        "numTraining": cases,
        "file_ending": ".nii.gz",
    }
