"""Three binary networks answer exactly what the one region network answers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from dicomnode.domain import as_json
from dicomnode.errors import TrainingError
from dicomnode.inference.models import pin
from dicomnode.training import plans
from dicomnode.training.card import read_about
from dicomnode.training.export import NUMBERS, TRAINER, export, slice_weights


def _network(outputs: int) -> torch.nn.Module:
    from nnunetv2.utilities.get_network_from_plans import get_network_from_plans

    arch = plans.architecture()
    network: torch.nn.Module = get_network_from_plans(
        arch["network_class_name"],
        arch["arch_kwargs"],
        arch["_kw_requires_import"],
        1,
        outputs,
        allow_init=True,
        deep_supervision=False,
    )
    return network.eval()


@pytest.fixture(scope="module")
def region_network() -> torch.nn.Module:
    """Weights rounded to half precision, as the exported ones are."""
    torch.manual_seed(4)
    network = _network(len(plans.REGIONS))
    network.load_state_dict({k: v.half().float() for k, v in network.state_dict().items()})
    return network


@pytest.mark.parametrize("channel", range(len(plans.REGIONS)))
def test_softmax_of_the_slice_is_the_sigmoid_of_the_region(
    region_network: torch.nn.Module, channel: int
) -> None:
    binary = _network(2)
    binary.load_state_dict(slice_weights(region_network.state_dict(), channel))
    x = torch.randn(1, 1, 32, 32, 16, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        logit = region_network(x)[0, channel]
        pair = binary(x)[0]
    assert torch.equal(pair[0], torch.zeros_like(logit))
    assert torch.equal(pair[1], logit)
    assert torch.allclose(torch.softmax(pair, 0)[1], torch.sigmoid(logit), atol=1e-6)
    assert torch.equal(pair.argmax(0) == 1, logit > 0)


@pytest.fixture
def training(tmp_path: Path, region_network: torch.nn.Module) -> Path:
    folder = tmp_path / "results" / plans.DATASET_NAME / "trainer"
    (folder / "fold_all").mkdir(parents=True)
    (folder / "plans.json").write_text(json.dumps(plans.plans()))
    checkpoint = {
        "network_weights": region_network.state_dict(),
        "optimizer_state": {"big": torch.zeros(10)},
        "init_args": {"plans": {"secret_path": str(tmp_path)}},
        "current_epoch": 3,
    }
    torch.save(checkpoint, folder / "fold_all" / "checkpoint_final.pth")
    return folder


def test_exports_hold_only_what_a_predictor_needs(training: Path, tmp_path: Path) -> None:
    folders = export(training, tmp_path / "out")
    assert [f.name for f in folders] == [
        f"Dataset{number}_own_{region}" for region, number in NUMBERS.items()
    ]
    for folder in folders:
        (file,) = folder.glob("*/fold_all/checkpoint_final.pth")
        content = torch.load(file, weights_only=True)
        assert content["trainer_name"] == TRAINER
        assert "optimizer_state" not in content
        assert str(tmp_path).encode() not in file.read_bytes()
        assert file.stat().st_size < 20_000_000 / len(folders)
        card = json.loads((folder / "card.json").read_text())
        assert card["kind"] in plans.REGIONS
        assert card["name"] == folder.name


def test_an_export_predicts_with_the_plain_predictor(
    training: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results"):
        monkeypatch.setenv(name, str(tmp_path))
    from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor

    folder = export(training, tmp_path / "out")[0]
    (model,) = (p for p in folder.iterdir() if p.is_dir())
    predictor = nnUNetPredictor(use_mirroring=False, device=torch.device("cpu"), allow_tqdm=False)
    predictor.initialize_from_trained_model_folder(str(model), ("all",))
    array = np.random.default_rng(0).normal(size=(1, 40, 44, 36)).astype(np.float32)
    answer = predictor.predict_single_npy_array(array, {"spacing": [6.0, 5.0, 5.0]})
    assert answer.shape == (40, 44, 36)
    assert set(np.unique(answer)) <= {0, 1}


def test_a_card_counts_the_persons_of_the_user_and_names_none(
    training: Path, tmp_path: Path
) -> None:
    persons = ["sag_anon", "Example^Anna", "Example^Bert", "drawn_head_1000"]
    subjects = [
        {"name": f"{p}_T1", "person": p, "kind": "drawn_head" if p.startswith("drawn") else "head"}
        for p in persons
    ]
    left_out = [["Example^Bert", "plane"], []]
    recipe = {"seed": 1, "left_out": left_out, "subjects": subjects}
    (tmp_path / "recipe.json").write_text(json.dumps(recipe))
    (training / "fold_all").rename(training / "fold_0")
    for folder in export(training, tmp_path / "out", fold="0"):
        text = (folder / "card.json").read_text()
        assert "Example" not in text
        data = json.loads(text)["training_data"]
        assert list(data["real_scans"]) == ["sag_anon"]
        assert data["persons_given_by_the_user"] == 1
        assert data["persons_given_by_the_user_left_out"] == 1
        assert data["left_out"] == ["plane"]


def test_an_export_replaces_what_was_there_and_tells_only_what_its_maker_told(
    training: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    other = export(training, out)[0] / "nnUNetTrainer__starterPlans__3d_4mm" / "fold_0"
    other.mkdir(parents=True)
    (folder, *_) = export(training, out)
    assert not other.exists()
    card = json.loads((folder / "card.json").read_text())
    assert (card["version"], card["licence"], card["known_failures"]) == (
        "unversioned",
        "unknown",
        [],
    )
    about = tmp_path / "about.json"
    about.write_text('{"name": "site", "version": "7", "known_failures": {"face": ["beards"]}}')
    folders = export(training, out, about=read_about(about))
    assert [f.name for f in folders][-1] == "Dataset903_site_face"
    assert json.loads((folders[-1] / "card.json").read_text())["known_failures"] == ["beards"]
    about.write_text('{"versoin": "7"}')
    with pytest.raises(TrainingError, match="unknown versoin"):
        read_about(about)


def test_figures_of_other_networks_are_refused_and_leave_everything_as_it_was(
    training: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    export(training, out)
    figures: dict[str, Any] = {name: {} for name in ("cases", "persons", "conventions")}
    figures |= {name: {} for name in ("verdict_settings", "false_anonymised", "verdicts")}
    figures["regions"] = {"face": {"dice": 0.5}}
    figures["networks"] = [{"kind": kind, "sha256": "0" * 64} for kind in NUMBERS]
    with pytest.raises(TrainingError, match="not those of this foreground network"):
        export(training, out, figures=figures)
    with pytest.raises(TrainingError, match=r"no summary\.json"):
        export(training, out, figures={"networks": []})
    assert sorted(p.name for p in out.iterdir()) == sorted(
        f"Dataset{number}_own_{region}" for region, number in NUMBERS.items()
    )
    figures["networks"] = [as_json(model.identity) for model in pin(out)]
    for folder in export(training, out, figures=figures):
        metrics = json.loads((folder / "card.json").read_text())["metrics"]
        assert metrics["agreement"] == ({"face": {"dice": 0.5}} if "face" in folder.name else {})


def test_nothing_trained_is_nothing_to_export(training: Path, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="nothing was trained here"):
        export(training, tmp_path / "out", fold="1")
