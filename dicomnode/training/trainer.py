"""nnU-Net's trainer with short epochs and a recipe that converges in minutes on a CPU.

Differences from `nnUNetTrainer`: AdamW with warm-up and cosine decay instead of SGD for 1000
epochs, no deep supervision, left-right mirroring only, and light intensity augmentation (pose,
contrast, noise and resolution are drawn when the training set is prepared).
"""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import torch
from batchgeneratorsv2.transforms.base.basic_transform import BasicTransform
from batchgeneratorsv2.transforms.intensity.brightness import MultiplicativeBrightnessTransform
from batchgeneratorsv2.transforms.intensity.contrast import BGContrast
from batchgeneratorsv2.transforms.intensity.gaussian_noise import GaussianNoiseTransform
from batchgeneratorsv2.transforms.spatial.mirroring import MirrorTransform
from batchgeneratorsv2.transforms.utils.compose import ComposeTransforms
from batchgeneratorsv2.transforms.utils.random import RandomTransform
from batchgeneratorsv2.transforms.utils.remove_label import RemoveLabelTansform
from batchgeneratorsv2.transforms.utils.seg_to_regions import ConvertSegmentationToRegionsTransform
from nnunetv2.training.loss.compound_losses import DC_and_BCE_loss
from nnunetv2.training.loss.dice import MemoryEfficientSoftDiceLoss
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

LEFT_RIGHT_AXIS = 2
# Dice says nothing about a region that a volume lacks; only cross-entropy keeps it empty there.
CROSS_ENTROPY_WEIGHT = 4.0


class StarterTrainer(nnUNetTrainer):  # type: ignore[misc]
    """Set `seed`, `num_epochs` and the iteration counts before `initialize`."""

    seed = 0

    def __init__(
        self,
        plans: dict[str, Any],
        configuration: str,
        fold: int | str,
        dataset_json: dict[str, Any],
        device: torch.device,
    ) -> None:
        super().__init__(plans, configuration, fold, dataset_json, device)
        self.initial_lr = 2e-3
        self.weight_decay = 1e-3
        self.num_iterations_per_epoch = 50
        self.num_val_iterations_per_epoch = 4
        self.num_epochs = 30
        self.save_every = 2
        self.enable_deep_supervision = False

    def _build_loss(self) -> Any:
        dice = {"batch_dice": False, "do_bg": True, "smooth": 1e-5, "ddp": False}
        return DC_and_BCE_loss(
            {}, dice, weight_ce=CROSS_ENTROPY_WEIGHT, dice_class=MemoryEfficientSoftDiceLoss
        )

    def configure_optimizers(self) -> tuple[Any, Any]:
        optimizer = torch.optim.AdamW(
            self.network.parameters(), self.initial_lr, weight_decay=self.weight_decay
        )
        warm, last = 1, max(2, self.num_epochs)

        def factor(epoch: int) -> float:
            if epoch < warm:
                return 0.3
            along = (epoch - warm) / (last - warm)
            return 0.01 + 0.99 * 0.5 * (1.0 + float(np.cos(np.pi * along)))

        return optimizer, torch.optim.lr_scheduler.LambdaLR(optimizer, factor)

    def configure_rotation_dummyDA_mirroring_and_inital_patch_size(  # noqa: N802
        self,
    ) -> tuple[Any, ...]:
        """No rotation here (done when preparing); no mirroring at inference."""
        self.inference_allowed_mirroring_axes = None
        return (0.0, 0.0), False, self.configuration_manager.patch_size, (LEFT_RIGHT_AXIS,)

    @staticmethod
    def get_training_transforms(
        patch_size: Any,
        rotation_for_DA: Any,  # noqa: N803
        deep_supervision_scales: Any,
        mirror_axes: tuple[int, ...],
        do_dummy_2d_data_aug: bool,
        use_mask_for_norm: Any = None,
        is_cascaded: bool = False,
        foreground_labels: Any = None,
        regions: Any = None,
        ignore_label: int | None = None,
    ) -> BasicTransform:
        def sometimes(transform: BasicTransform, chance: float) -> BasicTransform:
            return RandomTransform(transform, apply_probability=chance)

        return ComposeTransforms(
            [
                sometimes(GaussianNoiseTransform((0, 0.05), 1.0, True), 0.15),
                sometimes(
                    MultiplicativeBrightnessTransform(BGContrast((0.75, 1.3)), True, 1.0), 0.3
                ),
                MirrorTransform(allowed_axes=mirror_axes),
                RemoveLabelTansform(-1, 0),
                ConvertSegmentationToRegionsTransform(regions=regions, channel_in_seg=0),
            ]
        )

    def plot_network_architecture(self) -> None:
        """Not wanted: needs a package that is not installed."""

    def _save_debug_information(self) -> None:
        """Not wanted: it would write this machine's name into the training folder."""

    def on_train_epoch_start(self) -> None:
        """Seeded per epoch, so that a resumed training draws what an unbroken one would."""
        for seeder in (random.seed, np.random.seed, torch.manual_seed):
            seeder(self.seed + 1000 * self.current_epoch)
        super().on_train_epoch_start()
