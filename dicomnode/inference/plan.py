"""What an installation is to install: which networks, which of their files, and their cards."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from dicomnode.domain import SegmentKind
from dicomnode.errors import ModelError
from dicomnode.inference.cards import UNKNOWN, require_shape
from dicomnode.inference.catalogue import KnownNetwork, Release, known_network
from dicomnode.inference.json_files import read_json
from dicomnode.inference.labels import channel_names, segment_labels
from dicomnode.inference.layout import (
    CheckpointKind,
    Choice,
    TrainedNetwork,
    choose,
    find_networks,
    select,
)
from dicomnode.inference.origin import Origin, named

# What a card says of the segment: none of it holds where the user says that it is of another kind.
_OF_THE_SEGMENT = ("kind", "meaning", "labels", "metrics")


@dataclass(frozen=True)
class Wishes:
    """What the user decided; everything else is found out, or is an error that asks."""

    kind: SegmentKind | None = None
    dataset: str | None = None
    configuration: str | None = None
    folds: tuple[str, ...] = ()
    checkpoint: CheckpointKind | None = None
    labels: tuple[str, ...] = ()
    trainer: str | None = None
    licence: str | None = None
    sha256: str | None = None
    replace: bool = False
    beside: bool = False


@dataclass(frozen=True)
class Planned:
    """One network to install; `card` becomes its card.json."""

    network: TrainedNetwork
    choice: Choice
    card: dict[str, Any]


def plan(origin: Origin, wishes: Wishes) -> list[Planned]:
    """Raises `ModelError` that asks where the user has to decide something."""
    with named(origin.source):
        networks = select(find_networks(origin.folder), wishes.dataset, wishes.configuration)
    there = ", ".join(network.dataset for network in networks)
    if len(networks) > 1 and (wishes.kind or wishes.labels or wishes.trainer):
        raise ModelError(
            f"--kind, --labels and --trainer are for one network, but there are {len(networks)}: "
            f"{there}. Install them one by one with --dataset"
        )
    planned = [_planned(network, origin, wishes) for network in networks]
    kinds = [item.card["kind"] for item in planned]
    if twice := sorted({kind for kind in kinds if kinds.count(kind) > 1}):
        raise ModelError(
            f"several networks of the kind {', '.join(twice)} ({there}): choose with --dataset"
        )
    return planned


def _planned(network: TrainedNetwork, origin: Origin, wishes: Wishes) -> Planned:
    with named(network.label):
        own = _own_card(network, wishes.kind)
        dataset = read_json(network.folder / "dataset.json")
        modalities = _modalities(dataset)
    known, recognised = _known(network, wishes.kind or own.get("kind"))
    choice = choose(network, wishes.folds, wishes.checkpoint, known[1].folds if known else ())
    facts = _facts(own, known, origin)
    wanted = wishes.labels or tuple(str(label) for label in facts.get("labels") or ())
    with named(network.label):
        labels, meaning = segment_labels(dataset, wanted)
    card = facts | {
        "kind": _kind(network, wishes.kind or facts.get("kind")).value,
        "name": network.dataset,
        "version": facts.get("version") or UNKNOWN,
        "modalities": facts.get("modalities") or modalities,
        "licence": wishes.licence or facts.get("licence") or UNKNOWN,
        "labels": list(labels),
        "trainer": wishes.trainer or facts.get("trainer") or "",
        "chosen": [*recognised, *choice.remarks, f"segment: {meaning}"],
        "installed": {
            "from": origin.source,
            "sha256_of_archive": origin.sha256 or "none: it was a folder",
            "at": datetime.now(UTC).isoformat(timespec="seconds"),
        },
    }
    return Planned(network, choice, card)


def _own_card(network: TrainedNetwork, kind: SegmentKind | None) -> dict[str, Any]:
    """What a card that came with the network says; nothing of a segment that the user denies."""
    path = network.folder.parent / "card.json"
    card = read_json(path) if path.is_file() else {}
    require_shape(card, path.name)
    other = kind is not None and card.get("kind") != kind
    left_out = ("stand_in", *(_OF_THE_SEGMENT if other else ()))
    return {key: value for key, value in card.items() if key not in left_out}


def _known(
    network: TrainedNetwork, said: str | None
) -> tuple[tuple[Release, KnownNetwork] | None, list[str]]:
    """What the catalogue has under the folder's name, and a sentence: a name proves nothing."""
    known = known_network(network.dataset)
    if known is None:
        return None, []
    release, listed = known
    if said and said != listed.kind:
        return None, [
            f"not taken for the network of {release.name} that its folder is named after: that one "
            f"is for {listed.kind}, this one for {said}"
        ]
    return known, [
        f"recognised as that of {release.name} by its folder's name only, not by its weights; the "
        "figures are those that its makers published"
    ]


def _facts(
    own: Mapping[str, Any], known: tuple[Release, KnownNetwork] | None, origin: Origin
) -> dict[str, Any]:
    """What the network's own card says, and over it what the catalogue knows."""
    facts, source = dict(own), own.get("source")
    if known is not None:
        release, listed = known
        source = release.source
        facts |= listed.card
        facts |= {
            "kind": listed.kind.value,
            "version": listed.version,
            "meaning": listed.meaning,
            "modalities": list(listed.modalities),
            "labels": list(listed.labels),
        }
    installed = f"installed from {origin.source}"
    return facts | {"source": f"{source}; {installed}" if source else installed}


def _kind(network: TrainedNetwork, said: str | None) -> SegmentKind:
    if said in list(SegmentKind):
        return SegmentKind(said)
    why = f'card.json says "{said}", which is no kind' if said else "nobody says what it segments"
    raise ModelError(f"{network.dataset}: {why}. Name it with --kind: {', '.join(SegmentKind)}")


def _modalities(dataset: Mapping[str, Any]) -> list[str]:
    """nnU-Net takes a channel called CT in Hounsfield units; other names promise nothing."""
    names = {name.upper() for name in channel_names(dataset)}
    return ["CT"] if names == {"CT"} else ["CT", "MR"]
