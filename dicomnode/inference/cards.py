"""Model cards: what is known of a network, and, where nothing is, that it is unknown."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

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
