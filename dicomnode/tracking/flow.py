"""How the work flows, for a monitor: what waits and how long, and how long each way took.

What waits is counted by partial indexes that hold little else. Ways are added up from the rows that
came since the last look, by their keys, so a look costs what happened since, whatever the size of
the database. The sums begin with the process that keeps them, as Prometheus expects of counters.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from dicomnode.domain import OPEN_DELIVERIES, DeliveryState
from dicomnode.meters import LONG_SECONDS, OTHER, Distribution, Family, Labels, Meter, Value
from dicomnode.tracking.circuits import open_ones
from dicomnode.tracking.gate_schema import held_objects
from dicomnode.tracking.peers import last_deliveries
from dicomnode.tracking.schema import (
    audit_events,
    deliveries,
    examinations,
    pulls,
    revisions,
    segmentations,
    series,
    volumes,
)

_LARGEST_LOOK = 20_000
_UNEXAMINED = (
    "revisions.is_current AND NOT revisions.is_examined AND revisions.examination_started_at"
)


@dataclass(frozen=True)
class _Queue:
    """What waits in one place; `condition` in the words of its index."""

    since: sa.Column[datetime]
    condition: str


_QUEUES: Mapping[str, _Queue] = {
    "receive": _Queue(series.c.last_received_at, "series.is_arriving"),
    "examine": _Queue(revisions.c.created_at, f"{_UNEXAMINED} IS NULL"),
    "examining": _Queue(revisions.c.examination_started_at, f"{_UNEXAMINED} IS NOT NULL"),
    "deliver": _Queue(deliveries.c.created_at, "deliveries.state IN ('pending', 'stored')"),
    "pull": _Queue(pulls.c.created_at, "pulls.state <> 'done'"),
    "gate": _Queue(held_objects.c.at, "held_objects.state IN ('waiting', 'changed')"),
}

DEPTH = Meter("gauge", "What waits, by where.", ("queue",))
OLDEST = Meter("gauge", "How long the oldest of a queue has been there; 0: empty.", ("queue",))
PENDING = Meter("gauge", "Deliveries that wait, by destination.", ("destination",))
FAILING = Meter(
    "gauge", "1 where the newest delivery to a destination failed, else 0.", ("destination",)
)
CIRCUIT = Meter(
    "gauge", "1 where nothing is sent to a destination until it answers again.", ("destination",)
)
EVENTS = Meter("counter", "Events of the audit log, by name.", ("event",))
# Ways of a series, each from the arrival of its last instance.
WAYS: Mapping[str, Meter] = {
    name: Meter("histogram", help_, (), LONG_SECONDS)
    for name, help_ in (
        ("series_complete_seconds", "From the last instance until the series counted as whole."),
        ("series_verdict_seconds", "From the last instance to the verdict, or why there is none."),
        ("series_delivered_seconds", "From the last instance until a destination had a SEG."),
        ("examination_seconds", "From the start of an examination to its end."),
    )
}


def queues(c: sa.Connection, now: datetime) -> tuple[Family, Family]:
    """Depth of each queue, and the age of its oldest, in seconds."""
    depth: dict[Labels, Value] = {}
    oldest: dict[Labels, Value] = {}
    for name, queue in _QUEUES.items():
        query = sa.select(sa.func.count(), sa.func.min(queue.since)).where(sa.text(queue.condition))
        count, since = c.execute(query).one()
        depth[(name,)] = float(count)
        oldest[(name,)] = max((now - since).total_seconds(), 0.0) if since else 0.0
    return Family("queue_depth", DEPTH, depth), Family("queue_oldest_age_seconds", OLDEST, oldest)


def destinations(c: sa.Connection, named: Collection[str]) -> tuple[Family, Family, Family]:
    """Of the configured destinations; whoever else gets a SEG back counts as `other`.

    What was sent and is still to be proven waits, too.
    """
    query = sa.select(deliveries.c.destination, sa.func.count())
    is_open = deliveries.c.state.in_([state.value for state in OPEN_DELIVERIES])
    query = query.where(is_open).group_by(deliveries.c.destination)
    pending: dict[Labels, Value] = {(name,): 0.0 for name in named}
    for name, count in c.execute(query).tuples():
        key = (name if name in named else OTHER,)
        pending[key] = float(pending.get(key, 0.0)) + count  # type: ignore[arg-type]
    failing: dict[Labels, Value] = {}
    for last in last_deliveries(c):
        if last.destination in named:
            fails = bool(last.last_error) and last.state is not DeliveryState.DELIVERED
            failing[(last.destination,)] = float(fails)
    opened = open_ones(c)
    circuits: dict[Labels, Value] = {(name,): float(name in opened) for name in named}
    return (
        Family("deliveries_pending", PENDING, pending),
        Family("destination_failing", FAILING, failing),
        Family("destination_circuit_open", CIRCUIT, circuits),
    )


class Flow:
    """Adds up what came after these rows, by default after the first look; for one thread at a
    time."""

    def __init__(self, examination_id: int = -1, event_id: int = -1) -> None:
        self._examination, self._event = examination_id, event_id
        self._ways: dict[str, Distribution] = {
            name: Distribution.of((), meter.bounds) for name, meter in WAYS.items()
        }
        self._events: dict[str, int] = {}

    def look(self, c: sa.Connection) -> tuple[Family, ...]:
        if self._event < 0:
            self._begin(c)
        else:
            self._add_examinations(c)
            self._add_events(c)
        return (
            Family("audit_events_total", EVENTS, {(k,): v for k, v in self._events.items()}),
            *(Family(name, WAYS[name], {(): value}) for name, value in self._ways.items()),
        )

    def _begin(self, c: sa.Connection) -> None:
        """Events are counted from the first on: an index knows their names."""
        newest = sa.select(sa.func.coalesce(sa.func.max(audit_events.c.id), 0))
        self._event = c.scalar(newest) or 0
        rows = c.execute(
            sa.select(audit_events.c.event, sa.func.count()).group_by(audit_events.c.event)
        )
        self._events = dict(rows.tuples().all())
        self._examination = c.scalar(sa.select(sa.func.max(examinations.c.id))) or 0

    def _add_examinations(self, c: sa.Connection) -> None:
        e, r, s = examinations, revisions, series
        rows = c.execute(
            sa.select(
                e.c.id,
                e.c.created_at.label("ended"),
                r.c.created_at.label("complete"),
                r.c.examination_started_at.label("started"),
                s.c.last_received_at.label("last"),
            )
            .join_from(e, r, r.c.id == e.c.revision_id)
            .join(s, s.c.id == e.c.series_id)
            .where(e.c.id > self._examination)
            .order_by(e.c.id)
            .limit(_LARGEST_LOOK)
        ).all()
        self._examination = rows[-1].id if rows else self._examination
        self._add("examination_seconds", [(row.started, row.ended) for row in rows])
        self._add("series_complete_seconds", [(row.last, row.complete) for row in rows])
        self._add("series_verdict_seconds", [(row.last, row.ended) for row in rows])

    def _add_events(self, c: sa.Connection) -> None:
        """The log has no gaps and its rows never change, so none is missed or counted twice."""
        a = audit_events.c
        query = sa.select(a.id, a.event, a.subject, a.at).where(a.id > self._event)
        rows = c.execute(query.order_by(a.id).limit(_LARGEST_LOOK)).all()
        self._event = rows[-1].id if rows else self._event
        for row in rows:
            self._events[row.event] = self._events.get(row.event, 0) + 1
        sent = [(row.subject, row.at) for row in rows if row.event == "delivered"]
        self._add("series_delivered_seconds", [(_last(c, uid), at) for uid, at in sent])

    def _add(self, name: str, spans: Sequence[tuple[datetime | None, datetime | None]]) -> None:
        """A series that grew since its revision has a last instance after its end: left out."""
        seconds = [(b - a).total_seconds() for a, b in spans if a and b and a <= b]
        self._ways[name] = self._ways[name].plus(Distribution.of(seconds, WAYS[name].bounds))


def _last(c: sa.Connection, seg_sop_instance_uid: str) -> datetime | None:
    """When the last instance of the series came that a SEG was made of."""
    query: sa.Select[Any] = (
        sa.select(series.c.last_received_at)
        .join_from(segmentations, volumes, volumes.c.id == segmentations.c.volume_id)
        .join(examinations, examinations.c.id == volumes.c.examination_id)
        .join(series, series.c.id == examinations.c.series_id)
        .where(segmentations.c.sop_instance_uid == seg_sop_instance_uid)
        .limit(1)
    )
    last: datetime | None = c.scalar(query)
    return last
