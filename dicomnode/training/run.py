"""Runs the training of one fold with nnunetv2's trainer; picks up an interrupted one."""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from dicomnode.errors import TrainingError
from dicomnode.inference.nnunet import device_name
from dicomnode.training import plans
from dicomnode.training.curves import read_training_logs, write_curves
from dicomnode.training.nnunet_paths import DATASETS, RESULTS, nnunet_folders

Progress = Callable[[str, int, int], None]
SETTINGS_NAME = "settings.json"  # beside the checkpoints: seed and schedule


def training_folder(root: Path) -> Path:
    """Where nnU-Net keeps the trainings of this set: plans, dataset.json, a folder a fold."""
    name = f"StarterTrainer__{plans.PLANS_NAME}__{plans.CONFIGURATION}"
    return root / RESULTS / plans.DATASET_NAME / name


def _load(path: Path) -> Any:
    if not path.is_file():
        raise TrainingError(f"there is no {path}: run `dicomnode train prepare` first")
    return json.loads(path.read_text(encoding="utf-8"))


def _quiet_lines(trainer: Any) -> None:
    """nnU-Net's log goes to its file only."""
    original = trainer.print_to_log_file

    def log(*args: Any, also_print_to_console: bool = False, add_timestamp: bool = True) -> None:
        original(*args, also_print_to_console=False, add_timestamp=add_timestamp)

    trainer.print_to_log_file = log


def _left_out(folder: Path, fold: str) -> frozenset[str]:
    folds = _load(folder / "recipe.json")["left_out"]
    if fold == "all":
        return frozenset()
    if fold not in (known := [str(number) for number in range(len(folds))]):
        raise TrainingError(f"no fold {fold}: there are all, {', '.join(known)}")
    return frozenset(folds[int(fold)])


@dataclass(frozen=True)
class Schedule:
    """How long a training is: `epochs` of `iterations` batches each.

    `uses`: how often each drawn volume is learned from, changed after the first time.
    """

    epochs: int
    iterations: int = 100
    uses: int = 1


def _build(
    folder: Path,
    fold: str,
    left_out: frozenset[str],
    schedule: Schedule,
    device: str,
    seed: int,
) -> Any:
    import torch

    from dicomnode.training.trainer import StarterTrainer

    data = folder / DATASETS / plans.DATASET_NAME
    plan = _load(data / f"{plans.PLANS_NAME}.json")
    latest = training_folder(folder) / f"fold_{fold}" / "checkpoint_latest.pth"
    plan["continue_training"] = latest.is_file()
    torch.manual_seed(seed)
    torch.backends.cudnn.benchmark = device.startswith("cuda")  # every batch has the same shape
    with contextlib.redirect_stdout(io.StringIO()):
        trainer = StarterTrainer(
            plan,
            plans.CONFIGURATION,
            fold if fold == "all" else int(fold),
            _load(data / "dataset.json"),
            torch.device(device),
        )
    _quiet_lines(trainer)
    trainer.seed, trainer.num_epochs = seed, schedule.epochs
    trainer.num_iterations_per_epoch, trainer.uses = schedule.iterations, schedule.uses
    trainer.left_out = left_out
    trainer.initialize()
    if latest.is_file():
        trainer.load_checkpoint(str(latest))
    return trainer


def _epoch(trainer: Any) -> None:
    """One turn of `nnUNetTrainer.run_training`, so that progress can be shown in between."""
    trainer.on_epoch_start()
    trainer.on_train_epoch_start()
    losses = [
        trainer.train_step(next(trainer.dataloader_train))
        for _ in range(trainer.num_iterations_per_epoch)
    ]
    trainer.on_train_epoch_end(losses)
    import torch

    with torch.no_grad():
        trainer.on_validation_epoch_start()
        checks = [
            trainer.validation_step(next(trainer.dataloader_val))
            for _ in range(trainer.num_val_iterations_per_epoch)
        ]
        trainer.on_validation_epoch_end(checks)
    trainer.on_epoch_end()


def _draw_curves(fold: Path) -> None:
    records = read_training_logs(sorted(fold.glob("training_log_*.txt")), list(plans.REGIONS))
    write_curves(records, fold / "curves.png")


def _keep_to(fold: Path, settings: dict[str, int]) -> None:
    """Writes down the settings of a training, or holds a later run to them."""
    if (fold / "checkpoint_final.pth").is_file():
        raise TrainingError(f"{fold}: finished; move it away to train it anew")
    path = fold / SETTINGS_NAME
    if (fold / "checkpoint_latest.pth").is_file() and path.is_file():
        before = _load(path)
        if changed := [name for name in settings if settings[name] != before.get(name)]:
            told = ", ".join(f"{name} {before.get(name)}" for name in changed)
            raise TrainingError(f"{fold}: was begun with {told}; go on with the same, or move it")
    fold.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(settings, indent=1) + "\n", encoding="utf-8")


def run(
    folder: Path,
    *,
    fold: str,
    schedule: Schedule,
    device: str,
    seed: int,
    progress: Progress,
    stop_after: int | None = None,
) -> Path:
    """Trains one fold ("all", "0", "1"...) of the set that `prepare` made in `folder`.

    Goes on where an earlier run of the same settings was interrupted; raises `TrainingError` where
    the settings differ, or the training is finished. `stop_after`: end before this epoch,
    resumable. Returns the training folder (plans.json, dataset.json, fold_*/checkpoint_final.pth).
    """
    device, left_out = device_name(device), _left_out(folder, fold)
    _keep_to(training_folder(folder) / f"fold_{fold}", asdict(schedule) | {"seed": seed})
    epochs = schedule.epochs
    last = epochs if stop_after is None else min(stop_after, epochs)
    with nnunet_folders(folder):
        trainer = _build(folder, fold, left_out, schedule, device, seed)
        trainer.on_train_start()
        for epoch in range(trainer.current_epoch, last):
            progress("training", epoch, epochs)
            _epoch(trainer)
            _draw_curves(training_folder(folder) / f"fold_{fold}")
        if last == epochs:
            with contextlib.redirect_stdout(io.StringIO()):
                trainer.on_train_end()
        else:
            latest = training_folder(folder) / f"fold_{fold}" / "checkpoint_latest.pth"
            trainer.current_epoch -= 1  # nnU-Net writes down the epoch that comes next
            trainer.save_checkpoint(str(latest))
        progress("training", last, epochs)
    return training_folder(folder)
