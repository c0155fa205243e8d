"""What dataset.json says of a network: its input images, and which answers are the segment."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from dicomnode.errors import ModelError


def channel_names(dataset: Mapping[str, Any]) -> tuple[str, ...]:
    """The input images; `modality` is how nnU-Net v1 called them.

    Raises `ModelError` where they are not as nnU-Net writes them.
    """
    for key in ("channel_names", "modality"):
        if channels := dataset.get(key):
            if not isinstance(channels, Mapping):
                raise ModelError(f'dataset.json: {key} has to be an object such as {{"0": "CT"}}')
            return tuple(map(str, channels.values()))
    return ()


def segment_labels(
    dataset: Mapping[str, Any], wanted: Sequence[str]
) -> tuple[tuple[int, ...], str]:
    """The label values that make up the segment, and a sentence with their names.

    `dataset`: nnU-Net's dataset.json. `wanted`: values or names of labels; none: every label but
    background, which is the empty tuple. Raises `ModelError` for a label that there isn't.
    """
    values = {name: value for name, value in _labels(dataset).items() if value != (0,)}
    if not values:
        raise ModelError("dataset.json names no label but background, so there is no segment")
    if not wanted:
        names = ", ".join(values)
        return (), f"every label but background ({names})"
    chosen: set[int] = set()
    for item in wanted:
        found = values.get(item) or _value(item, values)
        if found is None:
            there = ", ".join(f"{'/'.join(map(str, v))} ({name})" for name, v in values.items())
            raise ModelError(f"no label {item} in dataset.json; there are: {there}")
        chosen.update(found)
    names = ", ".join(name for name, own in values.items() if set(own) <= chosen)
    return tuple(sorted(chosen)), f"label {', '.join(map(str, sorted(chosen)))} ({names})"


def _labels(dataset: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
    """Name -> values; regions have several."""
    try:
        return {
            str(name): tuple(map(int, value)) if isinstance(value, list) else (int(value),)
            for name, value in dataset["labels"].items()
            if name != "ignore"
        }
    except (KeyError, TypeError, ValueError, AttributeError):
        raise ModelError('dataset.json: labels has to be an object such as {"face": 1}') from None


def _value(item: str, values: Mapping[str, tuple[int, ...]]) -> tuple[int, ...] | None:
    known = {value for own in values.values() for value in own if value != 0}
    return (int(item),) if item.isdigit() and int(item) in known else None
