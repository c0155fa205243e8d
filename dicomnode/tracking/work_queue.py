"""The queue: what waits, what failed and why, oldest first (`reviews`: what waits for a person).

Each kind is a partial index that holds little else than what is listed here, in the order of its
keys, so a page costs the same in a large database as in a small one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

import sqlalchemy as sa

from dicomnode.tracking.paging import CappedCount, capped
from dicomnode.tracking.schema import (
    deliveries,
    examinations,
    expected_counts,
    pulls,
    quarantine,
    revisions,
    segmentations,
    series,
    volumes,
)

PAGE = 50


class QueueKind(StrEnum):
    """What waits or failed. EXPECTED: series of which others say that they exist, and nothing came.

    DELIVERY_FAILING is tried again, or proven again; DELIVERY_REFUSED is not. QUARANTINE has every
    object that was not accepted, also those whose good copy came later.
    """

    RECEIVING = "receiving"
    EXPECTED = "expected"
    WAITING = "waiting"
    EXAMINING = "examining"
    FAILED = "failed"
    DELIVERY_FAILING = "delivery failing"
    DELIVERY_REFUSED = "delivery refused"
    PULL = "pull unfinished"
    QUARANTINE = "quarantine"


@dataclass(frozen=True)
class QueueItem:
    """One thing that waits, or failed. UIDs are empty where it names none.

    `key` is the id of its row: of the series, revision, examination, delivery, pull or object.
    `what` is the signal, the destination, the source or the reason; `why` a sentence, or empty.
    """

    kind: QueueKind
    key: int
    since: datetime
    study_instance_uid: str
    series_instance_uid: str
    modality: str
    what: str
    why: str


@dataclass(frozen=True)
class QueuePage:
    """`next_after` is what the next page is asked for with; None where this is the last."""

    items: tuple[QueueItem, ...]
    next_after: int | None


def page(c: sa.Connection, kind: QueueKind, after: int = 0, limit: int = PAGE) -> QueuePage:
    """What is behind the row `after`, the oldest first."""
    key = _KEYS[kind]
    query = _matching(_QUERIES[kind](), kind).where(key > after).order_by(key).limit(limit + 1)
    items = [_item(kind, row) for row in c.execute(query)]
    return QueuePage(tuple(items[:limit]), items[limit - 1].key if len(items) > limit else None)


def counts(c: sa.Connection) -> Mapping[QueueKind, CappedCount]:
    """How many of each kind, or that there are many."""
    return {kind: count(c, kind) for kind in QueueKind}


def count(c: sa.Connection, kind: QueueKind) -> CappedCount:
    some = sa.select(sa.literal(1)).select_from(_KEYS[kind].table)
    return capped(c, _matching(some, kind))


_KEYS: Mapping[QueueKind, sa.Column[int]] = {
    QueueKind.RECEIVING: series.c.id,
    QueueKind.EXPECTED: series.c.id,
    QueueKind.WAITING: revisions.c.id,
    QueueKind.EXAMINING: revisions.c.id,
    QueueKind.FAILED: examinations.c.id,
    QueueKind.DELIVERY_FAILING: deliveries.c.id,
    QueueKind.DELIVERY_REFUSED: deliveries.c.id,
    QueueKind.PULL: pulls.c.id,
    QueueKind.QUARANTINE: quarantine.c.id,
}
_UNEXAMINED = (
    "revisions.is_current AND NOT revisions.is_examined AND revisions.examination_started_at"
)
# In the words of the partial indexes; NOT IN, since SQLite would search another index for an IN.
_CONDITIONS = {
    QueueKind.RECEIVING: "series.is_arriving",
    QueueKind.EXPECTED: "series.instance_count = 0",
    QueueKind.WAITING: f"{_UNEXAMINED} IS NULL",
    QueueKind.EXAMINING: f"{_UNEXAMINED} IS NOT NULL",
    QueueKind.FAILED: "examinations.is_current AND examinations.failure <> ''",
    QueueKind.DELIVERY_FAILING: (
        "deliveries.state NOT IN ('delivered', 'refused', 'cancelled')"
        " AND deliveries.last_error <> ''"
    ),
    QueueKind.DELIVERY_REFUSED: "deliveries.state = 'refused'",
    QueueKind.PULL: "pulls.state <> 'done'",
}
_NOTHING = sa.literal("")


def _matching(query: sa.Select[Any], kind: QueueKind) -> sa.Select[Any]:
    condition = _CONDITIONS.get(kind)
    return query if condition is None else query.where(sa.text(condition))


def _receiving() -> sa.Select[Any]:
    """With what others count, where they do."""
    e = expected_counts.c
    named = (
        sa.select(sa.func.max(e.instance_count))
        .where(
            e.study_instance_uid == series.c.study_instance_uid,
            e.series_instance_uid == series.c.series_instance_uid,
        )
        .correlate(series)
        .scalar_subquery()
    )
    here = sa.cast(series.c.instance_count, sa.String)
    of = sa.func.coalesce(sa.literal(" of ") + sa.cast(named, sa.String), "")
    what = here + of + sa.literal(" instances")
    return _columns(series.c.id, series.c.first_received_at, what, _NOTHING)


def _revisions(since: sa.Column[datetime]) -> Callable[[], sa.Select[Any]]:
    r = revisions
    columns = (r.c.id, since, r.c.completed_by, r.c.completion)
    return lambda: _columns(*columns).join_from(r, series, series.c.id == r.c.series_id)


def _failed() -> sa.Select[Any]:
    e = examinations
    query = _columns(e.c.id, e.c.created_at, e.c.software_version, e.c.failure)
    return query.join_from(e, series, series.c.id == e.c.series_id)


def _deliveries() -> sa.Select[Any]:
    d, e = deliveries, examinations
    return (
        _columns(d.c.id, d.c.created_at, d.c.destination, d.c.last_error)
        .join_from(d, segmentations, segmentations.c.id == d.c.segmentation_id)
        .join(volumes, volumes.c.id == segmentations.c.volume_id)
        .join(e, e.c.id == volumes.c.examination_id)
        .join(series, series.c.id == e.c.series_id)
    )


def _pulls() -> sa.Select[Any]:
    p = pulls.c
    columns = (p.id, p.created_at.label("since"), p.study_instance_uid)
    nothing = (_NOTHING.label("series_instance_uid"), _NOTHING.label("modality"))
    return sa.select(*columns, *nothing, p.source.label("what"), p.last_error.label("why"))


def _quarantine() -> sa.Select[Any]:
    q = quarantine.c
    columns = (q.id, q.at.label("since"), q.study_instance_uid, q.series_instance_uid)
    return sa.select(
        *columns, _NOTHING.label("modality"), q.reason.label("what"), q.sentence.label("why")
    )


_QUERIES: Mapping[QueueKind, Callable[[], sa.Select[Any]]] = {
    QueueKind.RECEIVING: _receiving,
    QueueKind.EXPECTED: _receiving,
    QueueKind.WAITING: _revisions(revisions.c.created_at),
    QueueKind.EXAMINING: _revisions(revisions.c.examination_started_at),
    QueueKind.FAILED: _failed,
    QueueKind.DELIVERY_FAILING: _deliveries,
    QueueKind.DELIVERY_REFUSED: _deliveries,
    QueueKind.PULL: _pulls,
    QueueKind.QUARANTINE: _quarantine,
}


def _columns(
    key: sa.Column[int],
    since: sa.ColumnElement[Any],
    what: sa.ColumnElement[str],
    why: sa.ColumnElement[str],
) -> sa.Select[Any]:
    s = series.c
    return sa.select(
        key,
        since.label("since"),
        s.study_instance_uid,
        s.series_instance_uid,
        s.modality,
        what.label("what"),
        why.label("why"),
    )


def _item(kind: QueueKind, row: sa.Row[Any]) -> QueueItem:
    return QueueItem(
        kind=kind,
        key=row.id,
        since=row.since,
        study_instance_uid=row.study_instance_uid,
        series_instance_uid=row.series_instance_uid,
        modality=row.modality,
        what=row.what,
        why=row.why,
    )
