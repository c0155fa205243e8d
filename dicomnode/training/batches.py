"""Batches of drawn volumes: worker processes draw them, the training's device puts them together.

What a batch holds follows from its number and the seed alone, not from who draws it or when.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch.utils.data import Dataset

from dicomnode.training import plans
from dicomnode.training.again import Volumes
from dicomnode.training.synthesis.generate import Generator, Sample
from dicomnode.training.synthesis.scene import Tensor
from dicomnode.training.workers import cores, in_order

Batch = dict[str, Tensor]
Images = npt.NDArray[np.float16]
LabelMaps = npt.NDArray[np.uint8]
_LARGEST = float(np.finfo(np.float16).max)


class DrawnVolumes(Dataset[tuple[Images, LabelMaps]]):
    """Batch after batch by number: images and label maps, both (batch, *patch).

    Half precision, as the network sees them: small on their way between processes.
    """

    def __init__(self, generator: Generator, size: int, seed: int) -> None:
        self._generator, self._size, self._first = generator, size, seed * 100_000_000

    def __getitem__(self, number: int) -> tuple[Images, LabelMaps]:
        first = self._first + number * self._size
        return _packed([self._generator.draw(first + k) for k in range(self._size)])


def drawn(volumes: DrawnVolumes, numbers: Sequence[int], device: torch.device) -> Iterator[Volumes]:
    """The batches of these numbers on the device."""
    for images, label_maps in in_order(volumes, numbers, _workers(device)):
        yield torch.from_numpy(images).to(device), torch.from_numpy(label_maps).to(device)


def batch_of(images: Tensor, labels: Tensor) -> Batch:
    """nnU-Net's batch: images, a channel per region, and last the voxels that don't count."""
    regions = [
        torch.isin(labels, torch.tensor(values, device=labels.device, dtype=labels.dtype))
        for values in plans.REGIONS.values()
    ]
    return {
        "data": images.float()[:, None],
        "target": torch.stack([*regions, labels == plans.IGNORED], dim=1).float(),
    }


def _packed(samples: Sequence[Sample]) -> tuple[Images, LabelMaps]:
    images = torch.stack([s.image for s in samples]).clamp(-_LARGEST, _LARGEST).half()
    return images.numpy(), torch.stack([s.labels for s in samples]).numpy()


def _workers(device: torch.device) -> int:
    """A CPU has to train as well; a GPU leaves all cores but two to the drawing."""
    return max(1, cores() - 2) if device.type != "cpu" else max(1, cores() // 2)
