"""Curves from nnU-Net's own log."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from dicomnode.errors import DicomnodeError
from dicomnode.training.curves import EpochRecord, read_training_logs, write_curves

REGIONS = ("foreground", "face", "anonymised_area")
STAMP = "2026-01-02 03:04:05.678901:"


def _epoch(number: int, loss: float, dice: str) -> str:
    """As nnunetv2 2.8 writes it."""
    return (
        f"{STAMP} \n{STAMP} Epoch {number} \n{STAMP} Current learning rate: 0.00977 \n"
        f"{STAMP} train_loss {loss} \n{STAMP} val_loss {loss + 0.1:.4f} \n"
        f"{STAMP} Pseudo dice [{dice}] \n{STAMP} Epoch time: 12.34 s \n"
        f"{STAMP} Yayy! New best EMA pseudo Dice: 0.5 \n"
    )


def test_epochs_are_read_from_the_log_of_nnunet(tmp_path: Path) -> None:
    log = tmp_path / "training_log_1.txt"
    log.write_text(
        "Dataset: Epoch times are below\n"
        + _epoch(0, -0.25, "np.float32(0.5), np.float32(0.0), np.float64(1e-05)")
        + _epoch(1, -0.5, "0.75, nan, 0.25")
    )
    first, second = read_training_logs([log], REGIONS)
    assert first == EpochRecord(
        0, -0.25, -0.15, {"foreground": 0.5, "face": 0.0, "anonymised_area": 1e-05}, 0.00977, 12.34
    )
    assert (second.epoch, second.dice_by_region["foreground"]) == (1, 0.75)
    assert math.isnan(second.dice_by_region["face"])


def test_a_training_that_went_on_has_every_epoch_once(tmp_path: Path) -> None:
    """Killed in epoch 2, restarted from the checkpoint after epoch 0."""
    first, second = tmp_path / "a.txt", tmp_path / "b.txt"
    torn = _epoch(2, -0.3, "0.1, 0.1, 0.1").split("Pseudo")[0]
    first.write_text(_epoch(0, -0.1, "0, 0, 0") + _epoch(1, -0.2, "0.1, 0.1, 0.1") + torn)
    second.write_text(_epoch(1, -0.25, "0.2, 0.2, 0.2"))
    found = read_training_logs([first, second], REGIONS)
    assert [(r.epoch, r.train_loss) for r in found] == [(0, -0.1), (1, -0.25)]


def test_a_log_of_other_regions_is_refused(tmp_path: Path) -> None:
    log = tmp_path / "log.txt"
    log.write_text(_epoch(0, -0.1, "0.5"))
    with pytest.raises(DicomnodeError, match="1 regions, expected are foreground"):
        read_training_logs([log], REGIONS)


@pytest.mark.parametrize("epochs", [0, 1, 40])
def test_curves_are_drawn_of_any_number_of_epochs(tmp_path: Path, epochs: int) -> None:
    records = [
        EpochRecord(
            n, -n / 50, 0.1 - n / 60, {"face": n / 50, "foreground": 0.9}, 1e-2 / (n + 1), 9
        )
        for n in range(epochs)
    ]
    write_curves(records, tmp_path / "run" / "curves.png")
    assert (tmp_path / "run" / "curves.png").read_bytes().startswith(b"\x89PNG")
