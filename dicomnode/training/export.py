"""Cuts a trained region network into three ordinary binary nnU-Nets in the released layout.

The region network ends in 1x1x1 convolutions with one sigmoid channel per region. A binary nnU-Net
ends in two softmax channels. With the rows (0, w) for (background, region), softmax gives
exp(w)/(1 + exp(w)) = sigmoid(w), and argmax says region exactly where the logit is above 0: the
three networks together answer what the one answered.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dicomnode.training import plans

if TYPE_CHECKING:
    import torch

Weights = dict[str, "torch.Tensor"]

VERSION = "0.3.0"
SEG_LAYERS = "decoder.seg_layers."
# Region -> folder of its network. The number only has to be unique among a site's models.
FOLDERS = {
    "foreground": "Dataset901_starter_foreground",
    "anonymised_area": "Dataset902_starter_anonymised_area",
    "face": "Dataset903_starter_face",
}
KNOWN_FAILURES = {
    "foreground": (
        "thin slabs, and matter that is no anatomy close to the body (tables, headrests)",
    ),
    "anonymised_area": (
        "another person's face in place of the removed one (refacing) is mostly missed",
        "skull stripping: how far the head reached is guessed",
        "padding and voids close to a face can be taken for a removed one",
    ),
    "face": ("a face that the field of view cuts off, thick slices, dim contrasts",),
}
# nnU-Net builds the network by the trainer's name; StarterTrainer doesn't change the architecture.
TRAINER = "nnUNetTrainer"
DATA_LICENCES = {
    "sag_anon": "MIT (FNNDSC/SAG-anon)",
    "uih_A": "BSD-2-Clause (neurolabusc/dcm_qa_uih)",
    "decubitus": "BSD-2-Clause (neurolabusc/dcm_qa_decubitus)",
    "t1_head_ext2": "BSD-2-Clause (niivue/niivue-demo-images)",
    "avg152T1": "BSD-2-Clause (niivue/niivue-demo-images)",
    "ts_example_ct_abdomen_pelvis": "Apache-2.0 (wasserth/TotalSegmentator)",
    "ts_example_mr_abdomen": "Apache-2.0 (wasserth/TotalSegmentator)",
}


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


def _checkpoint_of(fold: Path) -> Path:
    """The finished training, or the latest state of one that still runs."""
    for name in ("checkpoint_final.pth", "checkpoint_latest.pth"):
        if (fold / name).is_file():
            return fold / name
    raise FileNotFoundError(f"no checkpoint in {fold}")


def _recipe(training_folder: Path) -> dict[str, Any]:
    path = training_folder.parents[2] / "recipe.json"
    if not path.is_file():
        return {}
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return content


def _training_data(recipe: Mapping[str, Any], left_out: Sequence[str]) -> dict[str, Any]:
    """Cards are passed on: names of the user's own files, which may name a person, stay out."""
    everyone = recipe.get("subjects", [])
    subjects = [s for s in everyone if s["person"] not in left_out]
    real = {s["person"] for s in everyone if not s["kind"].startswith("drawn")}
    own = real - set(DATA_LICENCES)
    return {
        "subjects": len(subjects),
        "seed": recipe.get("seed"),
        "left_out": [name for name in left_out if name not in own],
        "real_scans": {name: DATA_LICENCES[name] for name in sorted(real - own - set(left_out))},
        "persons_given_by_the_user": len(own - set(left_out)),
        "persons_given_by_the_user_left_out": len(own & set(left_out)),
        "drawn_heads": sum(s["kind"] == "drawn_head" for s in subjects),
        "drawn_bodies": sum(s["kind"] == "drawn_body" for s in subjects),
    }


def _card(
    region: str,
    epochs: int,
    plan: Mapping[str, Any],
    data: Mapping[str, Any],
    figures: Mapping[str, Any] | None,
) -> dict[str, Any]:
    configuration = plan["configurations"][plans.CONFIGURATION]
    spacing_mm = configuration["spacing"]
    return {
        "name": FOLDERS[region],
        "version": VERSION,
        "kind": region,
        "modalities": ["CT", "MR"],
        "source": "trained by `dicomnode train` (docs/models.md)",
        "licence": "the project's own; see docs/models.md for the licences of the training data",
        "spacing_mm": spacing_mm,
        "patch_voxels": configuration["patch_size"],
        "epochs": epochs,
        "training_data": dict(data),
        "metrics": _metrics(region, figures) if figures else {},
        "known_failures": list(KNOWN_FAILURES[region]),
        "modality_limits": "CT and MR; real heads in training: T1-weighted MR only",
        "spacing_limits": f"{min(spacing_mm):g} mm grid: nothing thinner is seen",
    }


def _metrics(region: str, figures: Mapping[str, Any]) -> dict[str, Any]:
    """What `evaluate` found for one network, without the cases' names."""
    regions = {name: found for name, found in figures["regions"].items() if name.startswith(region)}
    return {
        "cases": figures["cases"],
        "persons": figures["persons"],
        "conventions": figures["conventions"],
        "verdict_settings": figures["verdict_settings"],
        "agreement": regions,
        "false_anonymised": figures["false_anonymised"],
        "verdicts": figures["verdicts"],
    }


def _write_json(path: Path, content: Any) -> None:
    path.write_text(json.dumps(content, indent=1, sort_keys=True) + "\n", encoding="utf-8")


def _write_model(
    out: Path,
    region: str,
    fold: str,
    checkpoint: Mapping[str, Any],
    plan: Mapping[str, Any],
    cases: int,
) -> Path:
    import torch

    name = FOLDERS[region]
    model = out / name / f"{TRAINER}__{plans.PLANS_NAME}__{plans.CONFIGURATION}"
    (model / f"fold_{fold}").mkdir(parents=True, exist_ok=True)
    _write_json(model / "plans.json", {**plan, "dataset_name": name})
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
    return out / name


def export(
    training_folder: Path,
    out: Path,
    *,
    fold: str = "all",
    figures: Mapping[str, Any] | None = None,
) -> list[Path]:
    """Writes three model folders, each with a `card.json`, and returns them.

    `figures`: for the cards, as `evaluate` sums them up (`summary.json`).
    """
    import torch

    source = _checkpoint_of(training_folder / f"fold_{fold}")
    # The trainer's own checkpoint holds plain Python objects beside tensors; it was made here.
    checkpoint = torch.load(source, map_location="cpu", weights_only=False)
    plan = json.loads((training_folder / "plans.json").read_text(encoding="utf-8"))
    plan.pop("continue_training", None)  # a note of nnU-Net's trainer to itself
    recipe = _recipe(training_folder)
    left_out = [] if fold == "all" else recipe["left_out"][int(fold)]
    data = _training_data(recipe, left_out)
    folders = []
    for region in FOLDERS:
        folder = _write_model(out, region, fold, checkpoint, plan, int(data["subjects"]))
        card = _card(region, int(checkpoint["current_epoch"]), plan, data, figures)
        _write_json(folder / "card.json", card)
        folders.append(folder)
    return folders
