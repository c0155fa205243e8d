"""Installing trained networks into a site's models folder: all of it, or nothing.

Found, chosen, staged beside the folder, loaded and built once, then moved in; the rename of the
manifest is the moment of change.
"""

from __future__ import annotations

import itertools
import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dicomnode.domain import SegmentKind
from dicomnode.errors import ModelError
from dicomnode.inference.json_files import read_json, write_json
from dicomnode.inference.models import (
    MANIFEST_NAME,
    STARTER_FOLDER,
    Model,
    load_manifest,
    manifest_entry,
    model_of,
    models_of,
)
from dicomnode.inference.origin import Origin, Progress, discard, open_source
from dicomnode.inference.plan import Planned, Wishes, plan
from dicomnode.inference.workplace import (
    Workplace,
    move_in,
    require_own_folder,
    take,
    workplace,
)

Entry = Mapping[str, Any]


@dataclass(frozen=True)
class Installed:
    """What the models folder gained and lost, and a sentence for each thing that was chosen."""

    models: tuple[Model, ...]
    stand_ins: tuple[Model, ...]
    replaced: tuple[str, ...]
    remarks: tuple[str, ...]


def install(source: str, folder: Path, wishes: Wishes, progress: Progress) -> Installed:
    """Install every chosen network of `source` into `folder`, and starters for kinds without one.

    Raises `ModelError`, and leaves `folder` as it was, where anything is missing, ambiguous,
    unsafe, or does not load.
    """
    folder = folder.resolve()
    require_own_folder(folder)
    if wishes.replace and wishes.beside:
        raise ModelError(
            "--replace takes the network of this kind out, --beside leaves it: name one of them"
        )
    before = _manifest(folder)
    with workplace(folder) as work:
        origin = open_source(source, wishes.sha256, work, progress)
        planned = plan(origin, wishes)
        kept, leaving = _after(before, planned, wishes, folder)
        staged = [_stage(item, origin, folder, work, progress) for item in planned]
        stand_ins = _stage_stand_ins([*kept, *staged], folder, work)
        entries = _ordered([*kept, *staged, *stand_ins])
        models_of(folder, entries)  # raises where these can't stand side by side
        move_in(folder, sorted(work.staged.glob("Dataset*")), entries)
        if origin.fetched is not None:
            discard(origin.fetched)
    _remove(leaving, entries, folder)
    return Installed(
        models=tuple(model_of(folder, entry) for entry in staged),
        stand_ins=tuple(model_of(folder, entry) for entry in stand_ins),
        replaced=tuple(str(entry["name"]) for entry in leaving),
        remarks=(
            *(f"{item.network.label}: {line}" for item in planned for line in item.card["chosen"]),
            *_gaps(entries),
        ),
    )


def _manifest(folder: Path) -> list[Entry]:
    """The entries as they stand, so that what is not known here survives."""
    if not (folder / MANIFEST_NAME).exists():
        if any(folder.glob("Dataset*")):
            raise ModelError(
                f"{folder}: holds networks that no manifest pins; run first: "
                f"dicomnode models pin {folder}"
            )
        return []
    load_manifest(folder)  # raises for what is none
    entries: list[Entry] = json.loads((folder / MANIFEST_NAME).read_text("utf-8"))["models"]
    return entries


def _after(
    before: Sequence[Entry], planned: Sequence[Planned], wishes: Wishes, folder: Path
) -> tuple[list[Entry], list[Entry]]:
    """The entries that stay and those that go; raises `ModelError` where one would go unasked."""
    if wishes.beside:
        _require_new_names(before, planned, folder)
        return list(before), []
    kinds = {item.card["kind"] for item in planned}
    leaving = [entry for entry in before if entry["kind"] in kinds]
    unasked = [entry for entry in leaving if not entry.get("stand_in")]
    if unasked and not wishes.replace:
        there = ", ".join(f"{entry['kind']} by {entry['name']}" for entry in unasked)
        raise ModelError(
            f"there is a network already for {there}. To put the new one in its place: --replace"
            "; to have both: --beside"
        )
    return [entry for entry in before if entry not in leaving], leaving


def _require_new_names(before: Sequence[Entry], planned: Sequence[Planned], folder: Path) -> None:
    """A rule names a network by kind and name, so that two can't share both."""
    there = {(entry["kind"], entry["name"]) for entry in before}
    for kind, name in ((item.card["kind"], item.card["name"]) for item in planned):
        if (kind, name) in there:
            raise ModelError(
                f"{folder}: there is a {kind} network called {name} already, and rules tell "
                f"networks apart by name. To put the new one in place of every {kind} network: "
                "--replace; to have both, install it from a folder of another name, DatasetNNN_name"
            )


def _stage(
    planned: Planned, origin: Origin, folder: Path, work: Workplace, progress: Progress
) -> Entry:
    """Take what the network needs, load and build it; its manifest entry."""
    from dicomnode.inference.nnunet import check, substitute_trainer

    root = _free_place(planned.network.dataset, folder, work)
    _take_files(planned, root / planned.network.place, origin)
    model = model_of(work.staged, _described(root, planned.card))
    step = f"checking {planned.network.dataset}"
    size_bytes = sum(file.stat().st_size for file in model.files)
    progress(step, 0, size_bytes)
    substitute = substitute_trainer(model)
    if substitute is not None:
        planned.card["trainer"] = substitute.trainer
        planned.card["chosen"].append(substitute.remark)
        model = model_of(work.staged, _described(root, planned.card))
    try:
        check(model)
    except ModelError as error:
        if substitute is None:
            raise
        raise ModelError(f"{error}\n{substitute.otherwise}") from None
    progress(step, size_bytes, size_bytes)
    return manifest_entry(work.staged, root / "card.json")


def _take_files(planned: Planned, own: Path, origin: Origin) -> None:
    folds = (Path(f"fold_{fold}", planned.choice.checkpoint) for fold in planned.choice.folds)
    for name in (Path("dataset.json"), Path("plans.json"), *folds):
        take(planned.network.folder / name, own / name, move=origin.ours)


def _described(root: Path, card: Mapping[str, Any]) -> Entry:
    write_json(root / "card.json", card)
    return manifest_entry(root.parent, root / "card.json")


def _free_place(name: str, folder: Path, work: Workplace) -> Path:
    """Where to stage a network, under a name that nothing else has, here and in the models folder.

    There an old network stays whole until it leaves.
    """
    names = itertools.chain([name], (f"{name}-{number}" for number in itertools.count(2)))
    taken = (folder, work.staged)
    return work.staged / next(n for n in names if not any((at / n).exists() for at in taken))


def _stage_stand_ins(entries: Sequence[Entry], folder: Path, work: Workplace) -> list[Entry]:
    """The starter networks of the kinds that have none, so that every question has an answer."""
    missing = set(SegmentKind) - {SegmentKind(entry["kind"]) for entry in entries}
    staged: list[Entry] = []
    for starter in load_manifest(STARTER_FOLDER):
        if starter.identity.kind not in missing:
            continue
        root = _free_place(starter.folder.parent.name, folder, work)
        shutil.copytree(starter.folder.parent, root)
        staged.append(_described(root, read_json(root / "card.json") | {"stand_in": True}))
    return staged


def _gaps(entries: Sequence[Entry]) -> list[str]:
    """A sentence for each kind and modality that no network was made for."""
    examined = ("CT", "MR")
    made_for = {kind: set[str]() for kind in SegmentKind}
    for entry in entries:
        made_for[SegmentKind(entry["kind"])].update(entry["modalities"])
    missing = {kind: [m for m in examined if m not in made_for[kind]] for kind in SegmentKind}
    return [f"{k.value}: no network was made for {', '.join(m)}" for k, m in missing.items() if m]


def _ordered(entries: Sequence[Entry]) -> list[Entry]:
    kinds = list(SegmentKind)
    return sorted(entries, key=lambda entry: kinds.index(SegmentKind(entry["kind"])))


def _remove(leaving: Sequence[Entry], staying: Sequence[Entry], folder: Path) -> None:
    """Folders of networks that the manifest no longer names; a worker has its own in memory."""
    used = {Path(entry["folder"]).parts[0] for entry in staying}
    for name in {Path(entry["folder"]).parts[0] for entry in leaving} - used:
        shutil.rmtree(folder / name, ignore_errors=True)
