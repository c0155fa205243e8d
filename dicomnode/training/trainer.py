"""nnU-Net's trainer on volumes that are drawn as it goes, with a recipe that converges in minutes.

Differences from `nnUNetTrainer`: batches come from `synthesis.generate` instead of stored patches
(every volume is new, on the training's own device), AdamW with warm-up and cosine decay instead of
SGD for 1000 epochs, and no deep supervision. The order of the volumes follows from the seed alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from nnunetv2.training.loss.compound_losses import DC_and_BCE_loss
from nnunetv2.training.loss.dice import MemoryEfficientSoftDiceLoss
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

from dicomnode.training import plans
from dicomnode.training.synthesis.generate import Generator, Sample
from dicomnode.training.synthesis.pose import Frame
from dicomnode.training.synthesis.scene import Tensor
from dicomnode.training.synthesis.subject import OnDevice, load_subject

# Dice says nothing about a region that a volume lacks; only cross-entropy keeps it empty there.
CROSS_ENTROPY_WEIGHT = 4.0
FRAME = Frame(plans.PATCH_VOXELS, plans.SPACING_MM)
# Volumes that only validate: far from the seeds of any training.
VALIDATION_SEED = 2_000_000_000


class SubjectFiles:
    """Where nnU-Net would unpack stored patches: subjects need none."""

    @staticmethod
    def unpack_dataset(*_: Any, **__: Any) -> None:
        return None


class StarterTrainer(nnUNetTrainer):  # type: ignore[misc]
    """Set `seed`, `num_epochs`, `left_out` and the iteration counts before `initialize`.

    `left_out`: persons and methods that this training must not see.
    """

    seed = 0
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
        self.num_val_iterations_per_epoch = 6
        self.num_epochs = 30
        self.save_every = 2
        self.enable_deep_supervision = False
        self.inference_allowed_mirroring_axes = None

    def initialize(self) -> None:
        super().initialize()
        self.dataset_class = SubjectFiles

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

    def get_dataloaders(self) -> tuple[Iterator[dict[str, Tensor]], Iterator[dict[str, Tensor]]]:
        paths = sorted(Path(self.preprocessed_dataset_folder).glob("*.npz"))
        subjects = [OnDevice(load_subject(path), self.device) for path in paths]
        seen = [s for s in subjects if s.subject.person not in self.left_out]
        unseen = [s for s in subjects if s.subject.person in self.left_out]
        generator = Generator(seen, FRAME, without=self.left_out)
        checking = Generator(unseen, FRAME) if unseen else generator
        return self._batches(generator), _Repeated(checking, self.num_val_iterations_per_epoch)

    def _batches(self, generator: Generator) -> Iterator[dict[str, Tensor]]:
        """Numbered by epoch and place, so that a resumed training goes on with the same volumes."""
        while True:
            epoch = self.current_epoch
            for number in range(self.num_iterations_per_epoch):
                first = (epoch * self.num_iterations_per_epoch + number) * plans.BATCH_SIZE
                yield batch_of(
                    [
                        generator.draw(self.seed * 100_000_000 + first + k)
                        for k in range(plans.BATCH_SIZE)
                    ]
                )

    def plot_network_architecture(self) -> None:
        """Not wanted: needs a package that is not installed."""

    def _save_debug_information(self) -> None:
        """Not wanted: it would write this machine's name into the training folder."""


class _Repeated:
    """The same few batches for every validation, so that its curve is about the network alone."""

    def __init__(self, generator: Generator, count: int) -> None:
        self._generator, self._count, self._next = generator, count, 0

    def __iter__(self) -> _Repeated:
        return self

    def __next__(self) -> dict[str, Tensor]:
        first = VALIDATION_SEED + self._next * plans.BATCH_SIZE
        self._next = (self._next + 1) % self._count
        return batch_of([self._generator.draw(first + k) for k in range(plans.BATCH_SIZE)])


def batch_of(samples: Sequence[Sample]) -> dict[str, Tensor]:
    """nnU-Net's batch: images, a channel per region, and last the voxels that don't count."""
    targets = []
    for sample in samples:
        regions = [
            torch.isin(sample.labels, torch.tensor(values, device=sample.labels.device))
            for values in plans.REGIONS.values()
        ]
        targets.append(torch.stack([*regions, sample.labels == plans.IGNORED]).float())
    return {
        "data": torch.stack([s.image for s in samples])[:, None],
        "target": torch.stack(targets),
    }
