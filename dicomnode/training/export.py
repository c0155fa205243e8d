"""Cuts a trained region network into three ordinary binary nnU-Nets in the released layout.

The region network ends in 1x1x1 convolutions with one sigmoid channel per region. A binary nnU-Net
ends in two softmax channels. With the rows (0, w) for (background, region), softmax gives
exp(w)/(1 + exp(w)) = sigmoid(w), and argmax says region exactly where the logit is above 0: the
three networks together answer what the one answered.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from dicomnode.errors import TrainingError
from dicomnode.inference.models import pin
from dicomnode.training import plans
from dicomnode.training.card import About, card, training_data

if TYPE_CHECKING:
    import torch

Weights = dict[str, "torch.Tensor"]

SEG_LAYERS = "decoder.seg_layers."
# Region -> number of its folder, which only has to be unique among a site's models.
NUMBERS = {"foreground": 901, "anonymised_area": 902, "face": 903}
# nnU-Net builds the network by the trainer's name; StarterTrainer doesn't change the architecture.
TRAINER = "nnUNetTrainer"


def slice_weights(weights: Mapping[str, torch.Tensor], channel: int) -> Weights:
    """Weights of the binary network for one sigmoid channel, in half precision.

    Tensors that share memory (nnU-Net lists the encoder twice) share it in the result too.
    """
    import torch

    seen: dict[int, torch.Tensor] = {}
    out: Weights = {}
    for name, tensor in weights.items():
        if name.startswith(SEG_LAYERS):
            row = tensor[channel : channel + 1]
            out[name] = torch.cat([torch.zeros_like(row), row]).half()
            continue
        key = tensor.data_ptr()
        if key not in seen:
            seen[key] = tensor.half().clone()
        out[name] = seen[key]
    return out


def export(
    training_folder: Path,
    out: Path,
    *,
    fold: str = "all",
    about: About | None = None,
    figures: Mapping[str, Any] | None = None,
) -> list[Path]:
    """Writes three model folders into `out`, each with a `card.json`, and returns them.

    Folders of the same names are replaced whole. `figures`: for the cards, as `evaluate` sums them
    up (`summary.json`). Raises `TrainingError`, and leaves `out` as it was, where nothing was
    trained or the figures are those of other networks.
    """
    about = about or About()
    out.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=out, prefix=".export-") as staged:
        folders = _write_models(training_folder, Path(staged), fold, about, figures)
        if figures is not None:
            _require_own(figures, Path(staged))
        return [_moved(folder, out) for folder in folders]


def _write_models(
    training_folder: Path,
    out: Path,
    fold: str,
    about: About,
    figures: Mapping[str, Any] | None,
) -> list[Path]:
    import torch

    source = _checkpoint_of(training_folder / f"fold_{fold}")
    # The trainer's own checkpoint holds plain Python objects beside tensors; it was made here.
    checkpoint = torch.load(source, map_location="cpu", weights_only=False)
    plan = json.loads((training_folder / "plans.json").read_text(encoding="utf-8"))
    plan.pop("continue_training", None)  # a note of nnU-Net's trainer to itself
    recipe = _recipe(training_folder)
    left_out = [] if fold == "all" else recipe["left_out"][int(fold)]
    training = training_data(recipe, left_out) | {"epochs": int(checkpoint["current_epoch"])}
    folders = []
    for region, number in NUMBERS.items():
        folder = out / f"Dataset{number}_{about.name}_{region}"
        cases = int(training["subjects"])
        _write_model(folder, region, fold, checkpoint, plan, cases)
        told = card(region, folder.name, about, plan, training, figures)
        _write_json(folder / "card.json", told)
        folders.append(folder)
    return folders


def _write_model(
    folder: Path,
    region: str,
    fold: str,
    checkpoint: Mapping[str, Any],
    plan: Mapping[str, Any],
    cases: int,
) -> None:
    import torch

    model = folder / f"{TRAINER}__{plans.PLANS_NAME}__{plans.CONFIGURATION}"
    (model / f"fold_{fold}").mkdir(parents=True)
    _write_json(model / "plans.json", {**plan, "dataset_name": folder.name})
    _write_json(model / "dataset.json", plans.binary_dataset_json(region, cases))
    channel = list(plans.REGIONS).index(region)
    content = {
        "network_weights": slice_weights(checkpoint["network_weights"], channel),
        "init_args": {"configuration": plans.CONFIGURATION, "fold": fold},
        "trainer_name": TRAINER,
        "inference_allowed_mirroring_axes": None,
        "current_epoch": int(checkpoint["current_epoch"]),
    }
    torch.save(content, model / f"fold_{fold}" / "checkpoint_final.pth")


def _require_own(figures: Mapping[str, Any], staged: Path) -> None:
    """Raises `TrainingError` where the figures were found with other weights than these."""
    judged = {network["kind"]: network["sha256"] for network in figures.get("networks", ())}
    for model in pin(staged):
        if judged.get(model.identity.kind.value) != model.identity.sha256:
            raise TrainingError(
                f"the figures are not those of this {model.identity.kind} network: export without "
                "figures, evaluate what was exported, then export with its summary.json"
            )


def _moved(folder: Path, out: Path) -> Path:
    target = out / folder.name
    if target.exists():
        shutil.rmtree(target)
    return folder.rename(target)


def _checkpoint_of(fold: Path) -> Path:
    """The finished training, or the latest state of one that still runs."""
    for name in ("checkpoint_final.pth", "checkpoint_latest.pth"):
        if (fold / name).is_file():
            return fold / name
    raise TrainingError(f"{fold}: nothing was trained here; run `dicomnode train run` first")


def _recipe(training_folder: Path) -> dict[str, Any]:
    path = training_folder.parents[2] / "recipe.json"
    if not path.is_file():
        return {}
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return content


def _write_json(path: Path, content: Any) -> None:
    path.write_text(json.dumps(content, indent=1, sort_keys=True) + "\n", encoding="utf-8")
