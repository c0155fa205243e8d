"""The timeline of a study as lines: what happened to several series in a row is one of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby

from dicomnode.tracking.timeline import Happening, TimelineEvent
from dicomnode.web.desk import words

_SAID: Mapping[Happening, str] = {
    Happening.FIRST_INSTANCE: "first instance received",
    Happening.LAST_INSTANCE: "last instance received so far",
    Happening.COMPLETE: "complete",
    Happening.EXAMINATION_STARTED: "examination begun",
    Happening.EXAMINED: "examined",
    Happening.EXAMINATION_FAILED: "examination failed",
    Happening.DECISION: "decided",
    Happening.DELIVERY: "masks",
    Happening.RECEIPT: "receipt issued",
    Happening.EXPORT_STARTED: "begun to leave",
    Happening.EXPORTED: "left",
}
# Only who may see exports is told of them.
_OF_EXPORTS = (Happening.RECEIPT, Happening.EXPORT_STARTED, Happening.EXPORTED)


@dataclass(frozen=True)
class Step:
    """`at` is when the first of these happened; `series` a UID, how many, or empty."""

    at: datetime
    sentence: str
    series: str


def steps(events: Iterable[TimelineEvent], *, with_exports: bool) -> tuple[Step, ...]:
    shown = (each for each in events if with_exports or each.happening not in _OF_EXPORTS)
    alike = groupby(shown, key=lambda each: (each.happening, each.what, each.account))
    return tuple(step for _, group in alike for step in _steps(list(group)))


def _steps(alike: Sequence[TimelineEvent]) -> Iterator[Step]:
    first = alike[0]
    if len(alike) == 1:
        yield Step(first.at, _sentence(first, first.detail), first.series_instance_uid)
        return
    series = {each.series_instance_uid for each in alike}
    details = {each.detail for each in alike}
    detail = first.detail if len(details) == 1 else ""
    yield Step(first.at, _sentence(first, detail), f"{len(series)} series")


def _sentence(event: TimelineEvent, detail: str) -> str:
    parts = [_SAID[event.happening]]
    if event.what:
        parts.append(_word(event))
    if event.account:
        parts.append(f"by {event.account}")
    said = " ".join(parts)
    return f"{said}: {detail}" if detail else said


def _word(event: TimelineEvent) -> str:
    match event.happening:
        case Happening.EXAMINED:
            return words.VERDICTS[event.what].label if event.what in words.VERDICTS else "no volume"
        case Happening.DECISION:
            return words.badge("decision", event.what).label
        case Happening.COMPLETE:
            return f"by {event.what.lower().replace('_', ' ')}"
        case Happening.RECEIPT:
            return f"({event.what})"
        case Happening.EXPORT_STARTED | Happening.EXPORTED:
            return f"to {event.what}"
        case _:
            return event.what
