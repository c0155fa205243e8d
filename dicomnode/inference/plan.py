"""What an installation is to install: which networks, which of their files, and their cards."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from dicomnode.domain import SegmentKind
from dicomnode.errors import ModelError
from dicomnode.inference.cards import UNKNOWN
from dicomnode.inference.catalogue import known_network
from dicomnode.inference.labels import segment_labels
from dicomnode.inference.layout import (
    CheckpointKind,
    Choice,
    TrainedNetwork,
    choose,
    find_networks,
    read_json,
    select,
)
from dicomnode.inference.origin import Origin


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
    known = known_network(network.dataset)
    usual_folds = known[1].folds if known is not None else ()
    choice = choose(network, wishes.folds, wishes.checkpoint, usual_folds)
    facts = _facts(network, origin)
    dataset = read_json(network.folder / "dataset.json")
    wanted = wishes.labels or tuple(str(label) for label in facts.get("labels") or ())
    labels, meaning = segment_labels(dataset, wanted)
    card = facts | {
        "kind": _kind(network, wishes.kind or facts.get("kind")).value,
        "name": network.dataset,
        "version": facts.get("version") or UNKNOWN,
        "modalities": facts.get("modalities") or _modalities(dataset),
        "licence": wishes.licence or facts.get("licence") or UNKNOWN,
        "labels": list(labels),
        "trainer": wishes.trainer or facts.get("trainer") or "",
        "chosen": [*choice.remarks, f"segment: {meaning}"],
        "installed": {
            "from": origin.source,
            "sha256_of_archive": origin.sha256 or "none: it was a folder",
            "at": datetime.now(UTC).isoformat(timespec="seconds"),
        },
    }
    return Planned(network, choice, card)


def _facts(network: TrainedNetwork, origin: Origin) -> dict[str, Any]:
    """What the archive's own card says, and over it what the catalogue knows."""
    path = network.folder.parent / "card.json"
    facts = read_json(path) if path.is_file() else {}
    facts.pop("stand_in", None)
    source = facts.get("source")
    if (known := known_network(network.dataset)) is not None:
        release, network_facts = known
        source = release.source
        facts |= network_facts.card
        facts |= {
            "kind": network_facts.kind.value,
            "version": network_facts.version,
            "meaning": network_facts.meaning,
            "modalities": list(network_facts.modalities),
            "labels": list(network_facts.labels),
        }
    installed = f"installed from {origin.source}"
    return facts | {"source": f"{source}; {installed}" if source else installed}


def _kind(network: TrainedNetwork, said: object) -> SegmentKind:
    try:
        return SegmentKind(str(said))
    except ValueError:
        raise ModelError(
            f"{network.dataset}: nobody says what it segments. Name it with --kind: "
            f"{', '.join(SegmentKind)}"
        ) from None


def _modalities(dataset: Mapping[str, Any]) -> list[str]:
    """nnU-Net takes a channel called CT in Hounsfield units; other names promise nothing."""
    channels = dataset.get("channel_names") or dataset.get("modality") or {}
    names = {str(name).upper() for name in channels.values()}
    return ["CT"] if names == {"CT"} else ["CT", "MR"]
