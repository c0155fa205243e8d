"""From heads to judged networks, with small plans: prepare, train, break off, go on, export."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

from dicomnode.config import Settings
from dicomnode.errors import TrainingError
from dicomnode.inference.models import load_manifest, pin
from dicomnode.training import plans
from dicomnode.training.drawn import draw_head
from dicomnode.training.evaluate import evaluate
from dicomnode.training.export import export
from dicomnode.training.nnunet_paths import DATASETS
from dicomnode.training.prepare import prepare
from dicomnode.training.read import write_nifti
from dicomnode.training.run import Schedule, run, training_folder
from tests.command_line import dicomnode

pytestmark = pytest.mark.real_data
SCHEDULE = Schedule(epochs=2, iterations=2, uses=2)


def silent(_: str, __: int, ___: int) -> None:
    return None


@pytest.fixture(scope="module")
def prepared(real_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A head, the template, three drawn ones; patches of few voxels, so that a step is quick."""
    folder, heads = tmp_path_factory.mktemp("set"), tmp_path_factory.mktemp("heads")
    head = draw_head(5, "MR", spacing_mm=4.0)
    write_nifti(heads / "anna.nii.gz", head.array, head.affine)
    prepare(
        [heads],
        folder,
        template=real_data / "templates_masks",
        seed=1,
        drawn_heads=2,
        drawn_bodies=1,
        cases_per_person=2,
        progress=silent,
    )
    path = folder / DATASETS / plans.DATASET_NAME / f"{plans.PLANS_NAME}.json"
    plan = json.loads(path.read_text())
    # Not smaller: where its deepest features are two voxels wide, PyTorch's bfloat16 convolution
    # (2.13, CPU) adds the gradient of the same values in another order each time.
    small = {"patch_size": [48, 48, 32], "batch_size": 2, "spacing": [8.0, 8.0, 10.0]}
    plan["configurations"][plans.CONFIGURATION] |= small
    path.write_text(json.dumps(plan))
    return folder


def train(prepared: Path, folder: Path, **options: Any) -> Path:
    """A copy of the set, trained; returns the fold's folder."""
    if not folder.exists():
        shutil.copytree(prepared, folder)
    run(
        folder,
        fold="all",
        schedule=SCHEDULE,
        device="cpu",
        progress=silent,
        **({"seed": 1} | options),
    )
    return training_folder(folder) / "fold_all"


def weights(fold: Path) -> Mapping[str, torch.Tensor]:
    content = torch.load(fold / "checkpoint_final.pth", weights_only=False)
    found: Mapping[str, torch.Tensor] = content["network_weights"]
    return found


def same(one: Mapping[str, torch.Tensor], other: Mapping[str, torch.Tensor]) -> bool:
    return all(torch.equal(one[name], other[name]) for name in one)


@pytest.fixture(scope="module")
def trained(prepared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("trained") / "set"
    train(prepared, folder)
    return folder


def test_the_same_seed_trains_the_same_network_and_another_seed_another(
    prepared: Path, trained: Path, tmp_path: Path
) -> None:
    first = weights(training_folder(trained) / "fold_all")
    assert same(first, weights(train(prepared, tmp_path / "again")))
    assert not same(first, weights(train(prepared, tmp_path / "other", seed=2)))


def test_an_interrupted_training_goes_on_where_it_was(prepared: Path, tmp_path: Path) -> None:
    fold = train(prepared, tmp_path / "set", stop_after=1)
    assert (fold / "checkpoint_latest.pth").is_file()
    assert not (fold / "checkpoint_final.pth").exists()
    train(prepared, tmp_path / "set")
    assert (fold / "checkpoint_final.pth").is_file()
    epochs = [
        line.split()[-1]
        for log in sorted(fold.glob("training_log_*.txt"))
        for line in log.read_text().splitlines()
        if " Epoch " in line and "time" not in line
    ]
    assert epochs == ["0", "1"]
    assert (fold / "curves.png").read_bytes().startswith(b"\x89PNG")


def test_exported_networks_can_be_judged(trained: Path, tmp_path: Path) -> None:
    folders = export(training_folder(trained), tmp_path / "models")
    pin(tmp_path / "models")
    kinds = {model.identity.kind.value for model in load_manifest(tmp_path / "models")}
    assert kinds == set(plans.REGIONS)
    card = json.loads((folders[0] / "card.json").read_text())
    assert card["patch_voxels"] == [48, 48, 32]
    done = evaluate(
        tmp_path / "models",
        trained / "cases",
        tmp_path / "results",
        persons=["avg152T1"],
        settings=Settings.model_validate({"inference": {"device": "cpu"}}),
        progress=silent,
    )
    assert not done.failed
    for name in ("scores.csv", "summary.json", "dice.png"):
        assert (tmp_path / "results" / name).stat().st_size > 0


def test_a_finished_training_and_another_recipe_are_not_gone_on_with(
    prepared: Path, trained: Path, tmp_path: Path
) -> None:
    before = (training_folder(trained) / "fold_all" / "checkpoint_final.pth").stat().st_mtime_ns
    with pytest.raises(TrainingError, match="finished"):
        train(prepared, trained)
    after = (training_folder(trained) / "fold_all" / "checkpoint_final.pth").stat().st_mtime_ns
    assert after == before
    train(prepared, tmp_path / "set", stop_after=1)
    with pytest.raises(TrainingError, match="was begun with seed 1"):
        train(prepared, tmp_path / "set", seed=2)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--fold", "9"], "no fold 9: there are all, 0, 1"),
        (["--fold", "x"], "no fold x"),
        (["--device", "tpu"], "auto, cpu, cuda or cuda:N"),
        (["--device", "cuda:63"], "device cuda:63: torch finds"),
    ],
)
def test_what_cannot_be_trained_is_said(prepared: Path, options: list[str], sentence: str) -> None:
    done = dicomnode("train", "run", str(prepared), *options)
    assert done.returncode != 0
    assert sentence in " ".join(done.stderr.replace("│", " ").split())
    assert "Traceback" not in done.stderr


def test_an_unprepared_folder_is_said(tmp_path: Path) -> None:
    done = dicomnode("train", "run", str(tmp_path / "nothing"))
    assert "run `dicomnode train prepare` first" in done.stderr
    assert not (tmp_path / "nothing").exists()
