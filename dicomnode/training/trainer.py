"""nnU-Net's trainer on volumes that are drawn as it goes, with a recipe that converges in minutes.

Differences from `nnUNetTrainer`: batches are drawn (`batches`, every volume is new) instead of
stored patches, AdamW with warm-up and cosine decay instead of SGD for 1000 epochs, and no deep
supervision. The order of the volumes follows from the seed alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from itertools import cycle
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from nnunetv2.training.loss.compound_losses import DC_and_BCE_loss
from nnunetv2.training.loss.dice import MemoryEfficientSoftDiceLoss
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

from dicomnode.training.again import used_again
from dicomnode.training.batches import Batch, DrawnVolumes, batch_of, drawn
from dicomnode.training.synthesis.generate import Generator
from dicomnode.training.synthesis.pose import Frame
from dicomnode.training.synthesis.scene import Tensor
from dicomnode.training.synthesis.subject import OnDevice, load_subject

# Dice says nothing about a region that a volume lacks; only cross-entropy keeps it empty there.
CROSS_ENTROPY_WEIGHT = 4.0
# Volumes that only validate: no training has this seed.
VALIDATION_SEED = 1_000_000


class SubjectFiles:
    """Where nnU-Net would unpack stored patches: subjects need none."""

    @staticmethod
    def unpack_dataset(*_: Any, **__: Any) -> None:
        return None


class StarterTrainer(nnUNetTrainer):  # type: ignore[misc]
    """Set `seed`, `num_epochs`, `left_out`, `uses` and the iteration counts before `initialize`.

    `left_out`: persons and methods that this training must not see. `uses`: how often each volume
    is learned from.
    """

    seed = 0
    uses = 1
    left_out: frozenset[str] = frozenset()

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
        self.num_iterations_per_epoch = 100
        self.num_val_iterations_per_epoch = 5
        self.num_epochs = 30
        self.save_every = 5
        self.enable_deep_supervision = False
        self.inference_allowed_mirroring_axes = None

    def initialize(self) -> None:
        super().initialize()
        self.dataset_class = SubjectFiles
        self.network.register_forward_hook(_in_full)  # the loss is no matter for half precision
        self.logger.plot_progress_png = _no_picture  # `run` draws the curves

    def _build_loss(self) -> Any:
        dice = {"batch_dice": True, "do_bg": True, "smooth": 1e-5, "ddp": False}
        return DC_and_BCE_loss(
            {},
            dice,
            weight_ce=CROSS_ENTROPY_WEIGHT,
            use_ignore_label=True,
            dice_class=MemoryEfficientSoftDiceLoss,
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

    def get_dataloaders(self) -> tuple[Iterator[Batch], Iterator[Batch]]:
        paths = sorted(Path(self.preprocessed_dataset_folder).glob("*.npz"))
        subjects = [OnDevice(load_subject(path), torch.device("cpu")) for path in paths]
        seen = [s for s in subjects if s.subject.person not in self.left_out]
        unseen = [s for s in subjects if s.subject.person in self.left_out]
        plan = self.configuration_manager
        frame = Frame(tuple(plan.patch_size), tuple(plan.spacing))
        generator = Generator(seen, frame, without=self.left_out)
        checking = Generator(unseen, frame) if unseen else generator
        learned = DrawnVolumes(generator, self.batch_size, self.seed)
        fresh = drawn(learned, self._numbers(), self.device)
        checked = DrawnVolumes(checking, self.batch_size, VALIDATION_SEED)
        checks = drawn(checked, range(self.num_val_iterations_per_epoch), self.device)
        again = used_again(fresh, self.uses, seed=self.seed + self.current_epoch)
        return (
            (batch_of(images, labels) for images, labels in again),
            cycle([batch_of(images, labels) for images, labels in checks]),
        )

    def _numbers(self) -> range:
        """Of the batches that are still to be drawn."""
        done = self.current_epoch * self.num_iterations_per_epoch
        steps = self.num_epochs * self.num_iterations_per_epoch
        return range(done // self.uses, max(-(-steps // self.uses), done // self.uses + 1))

    def train_step(self, batch: Batch) -> dict[str, Any]:
        with self._precision():
            return cast(dict[str, Any], super().train_step(batch))

    def validation_step(self, batch: Batch) -> dict[str, Any]:
        with self._precision():
            return cast(dict[str, Any], super().validation_step(dict(batch)))

    def _precision(self) -> AbstractContextManager[Any]:
        """bfloat16 on the CPU, several times as fast there; on a GPU nnU-Net's own float16."""
        if self.device.type == "cpu":
            return torch.autocast("cpu", dtype=torch.bfloat16)
        return nullcontext()

    def _do_i_compile(self) -> bool:
        """A training of minutes doesn't wait for a compiler, nor need one."""
        return False

    def plot_network_architecture(self) -> None:
        """Not wanted: needs a package that is not installed."""

    def _save_debug_information(self) -> None:
        """Not wanted: it would write this machine's name into the training folder."""


def _no_picture(_: str) -> None:
    return None


def _in_full(_: Any, __: Any, logits: Tensor) -> Tensor:
    return logits.float()
