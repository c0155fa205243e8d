"""Model folders in nnU-Net's released layout, and the manifest that pins them by SHA-256.

A models folder holds `DatasetNNN_name/<trainer>__<plans>__<configuration>/` with `dataset.json`,
`plans.json` and `fold_*/checkpoint_*.pth`, one `card.json` per network, and `manifest.json`,
written by `dicomnode models pin`. Nothing is loaded that the manifest does not name, and nothing
whose digest differs: a checkpoint is a pickle, and a changed one is a changed examiner.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dicomnode.domain import ModelIdentity, SegmentKind
from dicomnode.errors import ModelError
from dicomnode.inference.cards import normalised, require_shape
from dicomnode.inference.json_files import write_json

STARTER_FOLDER = Path(__file__).parent / "starter"
MANIFEST_NAME = "manifest.json"


@dataclass(frozen=True)
class Model:
    """One pinned network: where it lies and what it is."""

    identity: ModelIdentity
    folder: Path
    folds: tuple[str, ...]
    checkpoint: str
    modalities: tuple[str, ...]
    licence: str
    source: str
    labels: tuple[int, ...] = ()  # which answers are the segment; none named: all but background
    trainer: str = ""  # builds the network in place of the checkpoint's own; empty: its own
    stand_in: bool = False  # a starter network, for a kind that the site has no network for
    card: Mapping[str, Any] = field(default_factory=dict, hash=False)

    @property
    def files(self) -> tuple[Path, ...]:
        """Every file that decides what the network answers."""
        checkpoints = (self.folder / f"fold_{fold}" / self.checkpoint for fold in self.folds)
        return (self.folder / "dataset.json", self.folder / "plans.json", *checkpoints)


def models_folder(configured: Path | None) -> Path:
    """The site's own models folder, or the starter networks that come with the project."""
    return configured if configured is not None else STARTER_FOLDER


def load_manifest(folder: Path) -> tuple[Model, ...]:
    """The networks that `folder/manifest.json` pins, any number of each kind.

    Raises `ModelError` when the manifest is missing, malformed, or has two networks of one kind
    and name. Which of them look at a series: `dicomnode.inference.selection`.
    """
    path = folder / MANIFEST_NAME
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))["models"]
    except FileNotFoundError:
        raise ModelError(f"{path}: no manifest; run: dicomnode models pin {folder}") from None
    except OSError as error:
        raise ModelError(f"{path}: can't be read: {error.strerror}") from None
    except (KeyError, TypeError, ValueError) as error:
        raise ModelError(f"{path}: not a model manifest: {error!r}") from None
    return models_of(folder, entries)


def models_of(folder: Path, entries: Sequence[Mapping[str, Any]]) -> tuple[Model, ...]:
    """The networks of the entries that the manifest of `folder` has, or is to have.

    Raises `ModelError` where they can't stand in one manifest.
    """
    path = folder / MANIFEST_NAME
    try:
        models = tuple(model_of(folder, entry) for entry in entries)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ModelError(f"{path}: not a model manifest: {error!r}") from None
    if not models:
        raise ModelError(f"{path}: no networks are pinned, so nothing could be examined")
    names = [(model.identity.kind, model.identity.name) for model in models]
    if twice := sorted(name for kind, name in set(names) if names.count((kind, name)) > 1):
        raise ModelError(
            f"{path}: two networks of a kind are called {twice[0]}: give one another name in its "
            "card.json"
        )
    return models


def model_of(folder: Path, entry: Mapping[str, Any]) -> Model:
    """The network of one manifest entry; raises what a malformed one makes Python raise."""
    model_folder = (folder / entry["folder"]).resolve()
    if not model_folder.is_relative_to(folder.resolve()):
        raise ValueError(f"{entry['folder']} climbs out of the models folder")
    identity = ModelIdentity(
        SegmentKind(entry["kind"]), entry["name"], entry["version"], entry["sha256"]
    )
    return Model(
        identity=identity,
        folder=model_folder,
        folds=tuple(entry["folds"]),
        checkpoint=entry["checkpoint"],
        modalities=tuple(entry["modalities"]),
        licence=entry["licence"],
        source=entry["source"],
        labels=tuple(int(label) for label in entry.get("labels", ())),
        trainer=str(entry.get("trainer", "")),
        stand_in=bool(entry.get("stand_in", False)),
        card=dict(entry.get("card", {})),
    )


def digest(model: Model) -> str:
    """SHA-256 over the names and contents of the model's files, in a fixed order.

    And over the labels, where they are named: another choice of labels is another answer.
    """
    whole = hashlib.sha256()
    for path in model.files:
        with path.open("rb") as file:
            content = hashlib.file_digest(file, "sha256").hexdigest()
        whole.update(f"{path.relative_to(model.folder).as_posix()} {content}\n".encode())
    if model.labels:
        whole.update(f"labels {sorted(set(model.labels))}\n".encode())
    return whole.hexdigest()


def verify(model: Model) -> None:
    """Raises `ModelError` unless every file is there and the digest is the pinned one."""
    name = model.identity.name
    for path in model.files:
        if not path.is_file():
            raise ModelError(f"model {name}: {path} is missing; install it again")
    found = digest(model)
    if found != model.identity.sha256:
        raise ModelError(
            f"model {name}: SHA-256 is {found}, the manifest pins {model.identity.sha256}; "
            "it is not loaded. Restore the files, or, if you changed them on purpose, "
            "run: dicomnode models pin FOLDER"
        )


def pin(folder: Path) -> tuple[Model, ...]:
    """Write `folder/manifest.json` from the `card.json` of each `DatasetNNN_name` in it.

    Raises `ModelError`, and leaves the manifest as it was, where they are not all as they should.
    """
    entries = [manifest_entry(folder, card) for card in sorted(folder.glob("Dataset*/card.json"))]
    if not entries:
        raise ModelError(f"{folder}: no Dataset*/card.json in it, so there is nothing to pin")
    models = models_of(folder, entries)
    for model in models:
        _require_one_ensemble(model)
    write_json(folder / MANIFEST_NAME, {"models": entries})
    return models


def _require_one_ensemble(model: Model) -> None:
    """`fold_all` learned from the cases that the numbered folds hold back: one or the others."""
    if "all" in model.folds and len(model.folds) > 1:
        raise ModelError(
            f"{model.folder}: holds fold_all and numbered folds, which nobody said to run "
            "together. Move away the folders fold_* that are not to be used and pin it again "
            "(dicomnode models install chooses by itself, or by --folds)"
        )


def manifest_entry(folder: Path, card_path: Path) -> dict[str, Any]:
    """The manifest's entry for the network beside `card_path`, with its digest."""
    try:
        card = json.loads(card_path.read_text(encoding="utf-8"))
        require_shape(card, str(card_path))
        return _entry_of_card(folder, card_path, card)
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise ModelError(f"{card_path}: not a model card: {error!r}") from None


def _entry_of_card(folder: Path, card_path: Path, card: dict[str, Any]) -> dict[str, Any]:
    plans = sorted(card_path.parent.glob("*/plans.json"))
    if len(plans) != 1:
        raise ModelError(f"{card_path.parent}: {len(plans)} trained configurations in it, not one")
    model_folder = plans[0].parent
    checkpoints = sorted(model_folder.glob("fold_*/checkpoint_*.pth"))
    if len({path.name for path in checkpoints}) != 1:
        raise ModelError(f"{model_folder}: needs one kind of checkpoint in its fold_* folders")
    entry = {
        "kind": card["kind"],
        "name": card["name"],
        "version": card["version"],
        "folder": model_folder.relative_to(folder).as_posix(),
        "folds": [path.parent.name.removeprefix("fold_") for path in checkpoints],
        "checkpoint": checkpoints[0].name,
        "modalities": card["modalities"],
        "licence": card["licence"],
        "source": card["source"],
        "sha256": "",
        "card": normalised(card),
    }
    entry |= {key: card[key] for key in ("labels", "trainer", "stand_in") if card.get(key)}
    return entry | {"sha256": digest(model_of(folder, entry))}
