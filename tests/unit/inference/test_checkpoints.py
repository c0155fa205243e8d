"""Checkpoints load when they hold tensors and plain values, and say why when they don't."""

from __future__ import annotations

import collections
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from dicomnode.errors import ModelError
from dicomnode.inference.checkpoints import load_checkpoint

NEEDED: dict[str, Any] = {
    "network_weights": {"a": torch.zeros(2)},
    "init_args": {"configuration": "3d_fullres", "device": torch.device("cuda", 0)},
    "trainer_name": "nnUNetTrainer",
}


def _saved(path: Path, **more: Any) -> Path:
    torch.save(NEEDED | more, path / "checkpoint_final.pth")
    return path / "checkpoint_final.pth"


@pytest.mark.parametrize(
    "value",
    [np.float32(0.5), np.float64(0.5), np.int64(3), np.bool_(True), np.arange(3.0), [np.nan, 1.5]],
    ids=str,
)
def test_what_nnunets_log_holds_is_loaded(tmp_path: Path, value: Any) -> None:
    loaded = load_checkpoint(_saved(tmp_path, logging={"dice": value}), "x")
    np.testing.assert_array_equal(loaded["logging"]["dice"], value)


def test_scalars_of_numpy_1_are_loaded(tmp_path: Path) -> None:
    path = _saved(tmp_path, _best_ema=np.float64(0.25))
    old = tmp_path / "old.pth"
    with zipfile.ZipFile(path) as source, zipfile.ZipFile(old, "w") as target:
        for name in source.namelist():
            content = source.read(name)
            target.writestr(name, content.replace(b"numpy._core.", b"numpy.core."))
    assert load_checkpoint(old, "x")["_best_ema"] == 0.25


@pytest.mark.parametrize(
    ("value", "name"),
    [
        (Path("x"), "PosixPath"),
        (collections.defaultdict(list), "defaultdict"),
        (eval, "eval"),
        (torch.optim.SGD, "SGD"),
    ],
    ids=str,
)
def test_anything_else_is_named_and_not_loaded(tmp_path: Path, value: Any, name: str) -> None:
    with pytest.raises(ModelError, match=rf"holds .*{name}.*Ask its makers"):
        load_checkpoint(_saved(tmp_path, extra=value), "x")


@pytest.mark.parametrize("content", [b"", b"weights", b"PK\x03\x04"])
def test_a_damaged_file_is_told(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "checkpoint_final.pth"
    path.write_bytes(content)
    with pytest.raises(ModelError, match="is damaged, or no checkpoint"):
        load_checkpoint(path, "x")


def test_something_else_of_torchs_is_no_checkpoint(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint_final.pth"
    torch.save({"state_dict": {}}, path)
    with pytest.raises(ModelError, match=r"no checkpoint of nnU-Net v2: .*network_weights"):
        load_checkpoint(path, "x")
