"""Counters in the text format of Prometheus; codes and states as labels, never a UID."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from dicomnode.tracking.totals import Total

MEDIA_TYPE = "text/plain; version=0.0.4; charset=utf-8"


def exposition(totals: Iterable[Total]) -> str:
    return "".join(line + "\n" for total in totals for line in _lines(total))


def _lines(total: Total) -> Iterator[str]:
    name = f"dicomnode_{total.name}"
    yield f"# HELP {name} {total.help}"
    yield f"# TYPE {name} {'counter' if total.name.endswith('_total') else 'gauge'}"
    for value, count in sorted(total.counts.items()):
        label = f'{{{total.label}="{_escaped(value)}"}}' if total.label else ""
        yield f"{name}{label} {count}"


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
