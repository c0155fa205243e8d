"""What the faster settings of `[inference]` save and what they change, on one drawn head.

    python bench/inference_settings.py [--models FOLDER] [--rounds 3] [--modality CT] [--device cpu]
    python bench/inference_settings.py --exact --shape 256 256 192 --spacing-mm 1

The second line is one usual head in one window of the starters, with the exact setting only; the
first a field of view of a trunk, so that their window (280 x 280 x 200 mm) has to move.

Every setting runs once a round, in turn, so that a busy machine slows all of them alike; times are
medians over the rounds. CPU seconds count all threads, and hardly depend on what else runs. Dice
compares each mask with that of nnU-Net's exact setting (step 0.5, no mirroring, the device's own
precision). Prints a Markdown table.
"""

from __future__ import annotations

import argparse
import statistics
import time
from pathlib import Path

import numpy as np

from dicomnode.config import InferenceSettings
from dicomnode.inference.models import STARTER_FOLDER, load_manifest
from dicomnode.inference.nnunet import Network
from dicomnode.training.drawn import draw_head
from dicomnode.training.metrics import dice

EXACT = "exact: tile_step 0.5"
SETTINGS: dict[str, dict[str, object]] = {
    EXACT: {},
    "mirroring": {"mirroring": True},
    "tile_step 0.7": {"tile_step": 0.7},
    "tile_step 1.0": {"tile_step": 1.0},
    "bfloat16": {"precision": "bfloat16"},
    "bfloat16, tile_step 0.7": {"precision": "bfloat16", "tile_step": 0.7},
}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--models", type=Path, default=STARTER_FOLDER)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--modality", choices=("CT", "MR"), default="CT")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="cpu")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--shape", type=int, nargs=3, default=(200, 190, 160), metavar="VOXELS")
    parser.add_argument("--spacing-mm", type=float, default=2.0)
    parser.add_argument("--exact", action="store_true", help="only nnU-Net's exact setting")
    given = parser.parse_args()
    head = draw_head(given.seed, given.modality, given.spacing_mm, tuple(given.shape))
    spacing_mm = (given.spacing_mm, given.spacing_mm, given.spacing_mm)
    settings = {EXACT: SETTINGS[EXACT]} if given.exact else SETTINGS
    print("| network | setting | seconds | CPU seconds | Dice with exact |\n|---|---|---|---|---|")
    for model in load_manifest(given.models):
        networks = {
            name: Network(
                model, InferenceSettings.model_validate({"device": given.device, **chosen})
            )
            for name, chosen in settings.items()
        }
        seconds: dict[str, list[tuple[float, float]]] = {name: [] for name in settings}
        masks: dict[str, np.ndarray] = {}
        for _ in range(given.rounds):
            for name, network in networks.items():
                wall, cpu = time.perf_counter(), time.process_time()
                masks[name] = network.segment(head.array, spacing_mm)
                seconds[name].append((time.perf_counter() - wall, time.process_time() - cpu))
        for name in settings:
            wall, cpu = (statistics.median(column) for column in zip(*seconds[name], strict=True))
            same = dice(masks[EXACT], masks[name])
            print(
                f"| {model.identity.name} | {name} | {wall:.2f} | {cpu:.2f} | {same:.4f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
