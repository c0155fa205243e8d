"""What a process counts and times for a monitor: counters, gauges and histograms.

`METERS` is all there may be, with the labels that each has. A label is a code, a state or a name
from the configuration: never a UID, and nothing that a peer chose. The values of one process are
its own; `tracking.pulses` brings them to the role that is asked for them.
"""

from __future__ import annotations

import threading
import time
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

Kind = Literal["counter", "gauge", "histogram"]
Labels = tuple[str, ...]

SHORT_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
LONG_SECONDS = (1, 2.5, 5, 10, 20, 30, 60, 120, 300, 600, 1800, 3600, 14400, 86400)
OTHER = "other"
_MOST_LABEL_SETS = 100


@dataclass(frozen=True)
class Meter:
    """One thing that is measured; a histogram has the upper `bounds` of its buckets, in seconds."""

    kind: Kind
    help: str
    labels: Labels = ()
    bounds: tuple[float, ...] = ()


@dataclass(frozen=True)
class Distribution:
    """The value of a histogram: how many in each bucket (the last: above all bounds), their sum."""

    counts: tuple[int, ...]
    sum: float

    @classmethod
    def of(cls, values: Sequence[float], bounds: Sequence[float]) -> Distribution:
        counts = [0] * (len(bounds) + 1)
        for value in values:
            counts[bisect_left(bounds, value)] += 1
        return cls(tuple(counts), sum(values))

    def plus(self, other: Distribution) -> Distribution:
        counts = tuple(a + b for a, b in zip(self.counts, other.counts, strict=True))
        return Distribution(counts, self.sum + other.sum)


Value = float | Distribution


@dataclass(frozen=True)
class Family:
    """All values of one meter, by the values of its labels."""

    name: str
    meter: Meter
    values: Mapping[Labels, Value]


METERS: Mapping[str, Meter] = MappingProxyType(
    {
        "receive_seconds": Meter(
            "histogram",
            "From a whole object to its answer: written, durable, on record.",
            ("way",),
            SHORT_SECONDS,
        ),
        "objects_received_total": Meter(
            "counter", "Objects that were sent to the node, by answer.", ("way", "outcome")
        ),
        "associations_accepted_total": Meter(
            "counter", "Associations by sender: a configured name, or other.", ("sender",)
        ),
        "associations_rejected_total": Meter(
            "counter", "Associations that were not let in, by reason.", ("reason",)
        ),
        "sender_last_seen_timestamp_seconds": Meter(
            "gauge", "When a sender last opened an association.", ("sender",)
        ),
        "gate_decisions_total": Meter(
            "counter", "Decisions of the gate, by door and outcome.", ("door", "outcome")
        ),
        "examination_stage_seconds": Meter(
            "histogram", "How long each stage of an examination took.", ("stage",), LONG_SECONDS
        ),
        "delivery_attempt_seconds": Meter(
            "histogram", "How long an attempt to deliver took.", ("destination",), LONG_SECONDS
        ),
        "delivery_attempts_total": Meter(
            "counter", "Attempts to deliver, by how they ended.", ("destination", "outcome")
        ),
        "destination_last_success_timestamp_seconds": Meter(
            "gauge", "When a destination last took what it was sent.", ("destination",)
        ),
        "gpu_memory_used_bytes": Meter("gauge", "Memory in use on a GPU.", ("gpu",)),
        "gpu_memory_total_bytes": Meter("gauge", "Memory of a GPU.", ("gpu",)),
        "gpu_utilisation_ratio": Meter("gauge", "How busy a GPU is, 0 to 1.", ("gpu",)),
        "resident_memory_bytes": Meter("gauge", "Memory of a process of the node."),
        "configuration_reloads_total": Meter(
            "counter", "How often a configuration was read again, by outcome.", ("outcome",)
        ),
    }
)


class Meters:
    """The values of one process; safe between threads.

    A meter has so many sets of label values at most; what comes later counts as `other`. An unknown
    name or label is a mistake of the program and raises `KeyError`.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._values: dict[str, dict[Labels, Value]] = {}

    def count(self, name: str, amount: float = 1, **labels: str) -> None:
        with self._lock:
            values, key = self._place(name, labels)
            before = values.get(key, 0.0)
            assert not isinstance(before, Distribution)
            values[key] = before + amount

    def set(self, name: str, value: float, **labels: str) -> None:
        with self._lock:
            values, key = self._place(name, labels)
            values[key] = value

    def observe(self, name: str, seconds: float, **labels: str) -> None:
        new = Distribution.of([seconds], METERS[name].bounds)
        with self._lock:
            values, key = self._place(name, labels)
            before = values.get(key)
            values[key] = before.plus(new) if isinstance(before, Distribution) else new

    @contextmanager
    def timing(self, name: str, **labels: str) -> Iterator[None]:
        began = time.monotonic()
        try:
            yield
        finally:
            self.observe(name, time.monotonic() - began, **labels)

    def families(self) -> tuple[Family, ...]:
        with self._lock:
            return tuple(
                Family(name, METERS[name], dict(values)) for name, values in self._values.items()
            )

    def _place(self, name: str, labels: Mapping[str, str]) -> tuple[dict[Labels, Value], Labels]:
        key = tuple(labels[label] for label in METERS[name].labels)
        values = self._values.setdefault(name, {})
        if key not in values and len(values) >= _MOST_LABEL_SETS:
            key = (OTHER,) * len(key)
        return values, key
