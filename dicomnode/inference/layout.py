"""Which trained networks lie in a folder, in the layouts that nnU-Net v2 and people leave.

`DatasetNNN_name/<trainer>__<plans>__<configuration>/` with `dataset.json`, `plans.json` and
`fold_*/checkpoint_*.pth`, below any number of wrapper folders; or only such a folder's inside.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from dicomnode.errors import ModelError
from dicomnode.inference.json_files import read_json

CheckpointKind = Literal["final", "best"]

_DATASET = re.compile(r"Dataset\d{3}_[A-Za-z0-9_.-]+")
_FOLD = re.compile(r"fold_(all|\d+)")
_CHECKPOINT = re.compile(r"checkpoint_(final|best|latest)\.pth")


@dataclass(frozen=True)
class TrainedNetwork:
    """One trained configuration as it was found; `checkpoints`: the kinds in each fold."""

    dataset: str
    folder: Path
    checkpoints: Mapping[str, frozenset[str]]

    @property
    def place(self) -> str:
        """`trainer__plans__configuration`; a folder whose inside alone was packed has no name."""
        return self.folder.name if self.folder.name.count("__") >= 2 else "network"

    @property
    def label(self) -> str:
        """What a user has to write to name it."""
        return f"{self.dataset}/{self.place}"


@dataclass(frozen=True)
class Choice:
    """What of a trained network is installed, and a sentence for each thing that was chosen."""

    network: TrainedNetwork
    folds: tuple[str, ...]
    checkpoint: str  # the file's name
    remarks: tuple[str, ...]


def find_networks(folder: Path) -> tuple[TrainedNetwork, ...]:
    """Every trained configuration below `folder`.

    Raises `ModelError` with what was looked for where there is none; like those of `select`, it
    leaves to the caller how the user calls the folder.
    """
    found = tuple(
        TrainedNetwork(_dataset_name(path, folder), path, _checkpoints(path))
        for path in sorted(_candidates(folder))
    )
    if not found:
        raise ModelError(
            "no trained nnU-Net v2 in it. Looked for folders that hold plans.json, dataset.json "
            "and fold_*/checkpoint_final.pth (or checkpoint_best.pth)"
        )
    return found


def select(
    networks: Sequence[TrainedNetwork], dataset: str | None, configuration: str | None
) -> tuple[TrainedNetwork, ...]:
    """One network a dataset, as the options name them.

    `configuration` is a folder's whole name (trainer__plans__configuration) or its last part.
    Raises `ModelError` that lists what there is where an option names none, or too little.
    """
    chosen = [n for n in networks if dataset is None or _named(n.dataset, dataset)]
    if not chosen:
        there = ", ".join(sorted({n.dataset for n in networks}))
        raise ModelError(f"no dataset {dataset} in it; there are: {there}")
    if configuration is not None:
        chosen = [n for n in chosen if _is_configuration(n.place, configuration)]
        if not chosen:
            raise ModelError(
                f"no configuration {configuration} in it; there are: {_list(networks)}"
            )
    for name in sorted({n.dataset for n in chosen}):
        own = [n for n in chosen if n.dataset == name]
        if len(own) > 1:
            raise ModelError(
                f"{name}: {len(own)} trained configurations; say which with --configuration "
                f"(and --dataset, where they are of several datasets): {_list(own)}"
            )
    return tuple(chosen)


def choose(
    network: TrainedNetwork,
    folds: Sequence[str] = (),
    checkpoint: CheckpointKind | None = None,
    usual_folds: Sequence[str] = (),
) -> Choice:
    """The folds and the checkpoint to install; `folds` and `checkpoint` are the user's wish.

    Without a wish: `usual_folds` where all are there, else every numbered fold, as nnU-Net itself
    does, else `all`; and `checkpoint_final` before `checkpoint_best`.
    """
    there = network.checkpoints
    if missing := [fold for fold in folds if fold not in there]:
        raise ModelError(
            f"{network.label}: no fold {', '.join(missing)}; there are: {', '.join(there)}"
        )
    kind = checkpoint or _kind(network, folds)
    ready = [fold for fold, kinds in there.items() if kind in kinds]
    lacking = [fold for fold in folds or there if fold not in ready]
    if lacking and (folds or not ready):
        raise ModelError(
            f"{network.label}: no checkpoint_{kind}.pth in fold {', '.join(lacking)}"
            f"{_unfinished(network, lacking)}"
        )
    used = tuple(folds) or _usual(ready, usual_folds)
    remarks = [f"fold {', '.join(used)}, checkpoint_{kind}"]
    if left := [fold for fold in there if fold not in used]:
        why = f" (no checkpoint_{kind}.pth in {', '.join(lacking)})" if lacking else ""
        remarks.append(f"not used: fold {', '.join(left)}{why}; --folds chooses otherwise")
    return Choice(network, used, f"checkpoint_{kind}.pth", tuple(remarks))


def _candidates(folder: Path) -> Iterator[Path]:
    """Folders that hold what a predictor needs; those that macOS puts into archives are not."""
    for plans in folder.rglob("plans.json"):
        own = plans.parent
        hidden = any(
            part.startswith(".") or part == "__MACOSX" for part in own.relative_to(folder).parts
        )
        if not hidden and (own / "dataset.json").is_file() and _checkpoints(own):
            yield own


def _checkpoints(folder: Path) -> dict[str, frozenset[str]]:
    """Fold -> kinds of checkpoints in it, numbered folds first."""
    kinds: dict[str, set[str]] = {}
    for path in folder.glob("fold_*/checkpoint_*.pth"):
        fold, kind = _FOLD.fullmatch(path.parent.name), _CHECKPOINT.fullmatch(path.name)
        if fold and kind and path.is_file():
            kinds.setdefault(fold[1], set()).add(kind[1])
    order = sorted(kinds, key=lambda fold: (fold == "all", int(fold) if fold.isdigit() else 0))
    return {fold: frozenset(kinds[fold]) for fold in order}


def _dataset_name(folder: Path, root: Path) -> str:
    """By the folder above, else, where only its inside was packed, by the plans."""
    if _DATASET.fullmatch(folder.parent.name):
        return folder.parent.name
    plans = folder / "plans.json"
    called = plans.relative_to(root).as_posix()
    said = str(read_json(plans, called).get("dataset_name", ""))
    if _DATASET.fullmatch(said):
        return said
    raise ModelError(
        f"{called}: names no dataset, and neither does the folder above its own; put its folder "
        "into one called DatasetNNN_name, with three digits"
    )


def _named(dataset: str, wanted: str) -> bool:
    """`803`, `Dataset803` or the whole name, as nnU-Net's own commands take them."""
    number = dataset.removeprefix("Dataset")[:3]
    return wanted in (dataset, f"Dataset{number}") or (
        wanted.isdigit() and int(wanted) == int(number)
    )


def _is_configuration(folder_name: str, wanted: str) -> bool:
    return folder_name == wanted or folder_name.endswith(f"__{wanted}")


def _list(networks: Sequence[TrainedNetwork]) -> str:
    return ", ".join(network.label for network in networks)


def _kind(network: TrainedNetwork, folds: Sequence[str]) -> CheckpointKind:
    """Final where any of the folds has it: a fold without it is left out, or an error."""
    kinds = [network.checkpoints[fold] for fold in folds or network.checkpoints]
    if not any("final" in own for own in kinds) and any("best" in own for own in kinds):
        return "best"
    return "final"


def _usual(ready: Sequence[str], usual_folds: Sequence[str]) -> tuple[str, ...]:
    if usual_folds and all(fold in ready for fold in usual_folds):
        return tuple(usual_folds)
    return tuple(fold for fold in ready if fold != "all") or tuple(ready)


def _unfinished(network: TrainedNetwork, folds: Sequence[str]) -> str:
    kinds: set[str] = set().union(*(network.checkpoints[fold] for fold in folds))
    if kinds == {"latest"}:
        return ": its training isn't finished (there is only checkpoint_latest.pth)"
    return f"; there is: {', '.join(f'checkpoint_{kind}.pth' for kind in sorted(kinds))}"
