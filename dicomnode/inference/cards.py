"""Model cards: what is known of a network, and, where nothing is, that it is unknown."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dicomnode.errors import ModelError

UNKNOWN = "unknown"

# What a reader looks for first, in this order. The manifest's entry itself has the rest.
SUBJECTS = (
    "training_data",
    "licence",
    "metrics",
    "known_failures",
    "modality_limits",
    "spacing_limits",
)
# These stand in the manifest's entry already.
_ENTRY = ("kind", "name", "version", "source", "modalities", "labels", "trainer", "stand_in")

_TEXTS = ("kind", "name", "version", "source", "licence", "trainer", "meaning")
_MODALITIES = ("CT", "MR")


def require_shape(card: Mapping[str, Any], where: str) -> None:
    """Raises `ModelError` that names the key whose value the node can't take; null says nothing."""
    said = {key: value for key, value in card.items() if value is not None}
    for key in _TEXTS:
        if not isinstance(said.get(key, ""), str):
            raise ModelError(f"{where}: {key} has to be a text in quotes")
    if not _is_list_of_plain(said.get("labels", [])):
        raise ModelError(f"{where}: labels has to be a list such as [1, 2]")
    modalities = said.get("modalities", ["CT"])
    if not (_is_list_of_plain(modalities) and modalities and {*modalities} <= {*_MODALITIES}):
        raise ModelError(f'{where}: modalities has to be ["CT"], ["MR"] or ["CT", "MR"]')


def _is_list_of_plain(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(item, int | str) for item in value)


def normalised(card: Mapping[str, Any]) -> dict[str, Any]:
    """The card of a manifest entry: every subject, `unknown` where `card` is silent on it."""
    subjects = {subject: card.get(subject) or UNKNOWN for subject in SUBJECTS}
    others = {key: value for key, value in card.items() if key not in (*SUBJECTS, *_ENTRY)}
    return subjects | others


def lines(card: Mapping[str, Any], indent: str = "") -> list[str]:
    """The card as indented text, one fact a line."""
    found: list[str] = []
    for key, value in card.items():
        title = f"{indent}{key.replace('_', ' ')}"
        if isinstance(value, Mapping):
            found += [f"{title}:", *lines(value, indent + "  ")]
        elif isinstance(value, list | tuple) and any(isinstance(item, Mapping) for item in value):
            found.append(f"{title}:")
            for item in value:
                found += [f"{indent}  -", *lines(item, indent + "    ")]
        elif isinstance(value, list | tuple) and any(isinstance(item, str) for item in value):
            found += [f"{title}:", *(f"{indent}  - {item}" for item in value)]
        elif isinstance(value, list | tuple):
            found.append(f"{title}: {' x '.join(map(str, value))}")
        else:
            found.append(f"{title}: {value}")
    return found
