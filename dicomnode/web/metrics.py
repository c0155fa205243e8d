"""Measurements in the text format of Prometheus; codes and states as labels, never a UID."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import accumulate

from dicomnode.meters import Distribution, Family, Labels, Meter, Value
from dicomnode.tracking.pulses import Beat
from dicomnode.tracking.totals import Total

MEDIA_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_HEARTBEAT = Meter("gauge", "Since a process was last heard of.", ("role", "process"))


def exposition(families: Iterable[Family]) -> str:
    return "".join(line + "\n" for family in families for line in _lines(family))


def family_of(total: Total) -> Family:
    kind, labels = ("counter" if total.name.endswith("_total") else "gauge"), (total.label,)
    if not total.label:
        return Family(total.name, Meter(kind, total.help), {(): total.counts[""]})  # type: ignore[arg-type]
    values = {(value,): float(count) for value, count in total.counts.items()}
    return Family(total.name, Meter(kind, total.help, labels), values)  # type: ignore[arg-type]


def of_processes(beats: Sequence[Beat]) -> tuple[Family, ...]:
    """What each living process measured, with its role and number before its own labels."""
    found: dict[str, tuple[Meter, dict[Labels, Value]]] = {}
    for beat in (beat for beat in beats if beat.is_alive):
        for family in beat.families:
            meter = replace(family.meter, labels=("role", "process", *family.meter.labels))
            _, values = found.setdefault(family.name, (meter, {}))
            for labels, value in family.values.items():
                values[(beat.role, beat.process, *labels)] = value
    ages: Mapping[Labels, Value] = {(b.role, b.process): b.age_seconds for b in beats}
    return (
        Family("heartbeat_age_seconds", _HEARTBEAT, ages),
        *(Family(name, meter, values) for name, (meter, values) in sorted(found.items())),
    )


def _lines(family: Family) -> Iterator[str]:
    name, meter = f"dicomnode_{family.name}", family.meter
    yield f"# HELP {name} {meter.help}"
    yield f"# TYPE {name} {meter.kind}"
    for labels, value in sorted(family.values.items()):
        pairs = list(zip(meter.labels, labels, strict=True))
        if isinstance(value, Distribution):
            yield from _buckets(name, meter, pairs, value)
        else:
            yield f"{name}{_labelled(pairs)} {_number(value)}"


def _buckets(
    name: str, meter: Meter, pairs: list[tuple[str, str]], value: Distribution
) -> Iterator[str]:
    bounds = [*(f"{bound:g}" for bound in meter.bounds), "+Inf"]
    for bound, count in zip(bounds, accumulate(value.counts), strict=True):
        yield f"{name}_bucket{_labelled([*pairs, ('le', bound)])} {count}"
    yield f"{name}_sum{_labelled(pairs)} {_number(value.sum)}"
    yield f"{name}_count{_labelled(pairs)} {sum(value.counts)}"


def _labelled(pairs: Sequence[tuple[str, str]]) -> str:
    inner = ",".join(f'{name}="{_escaped(value)}"' for name, value in pairs)
    return f"{{{inner}}}" if inner else ""


def _number(value: float) -> str:
    """Whole numbers as such; others so that they read back as the same number."""
    return str(int(value)) if value == int(value) else repr(float(value))


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
