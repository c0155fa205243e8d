"""The quiet time of each sender, learned from the pauses that it made within a series.

A sender that splits series over associations pauses between them; the longest such pause, and
half as much again, is how long it has to be quiet. It rises at once, also after a series that was
found complete too early, and sinks slowly with series that came without a pause. What comes later
than `longest_quiet_seconds` is a late slice, not a pause.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from dicomnode.config import CompletenessSettings
from dicomnode.tracking.completeness import (
    learned_wait_seconds,
    longest_wait_seconds,
)
from dicomnode.tracking.database import insert_missing
from dicomnode.tracking.facts import ended_at
from dicomnode.tracking.schema import (
    association_series,
    associations,
    instances,
    senders,
    series,
)

_MARGIN = 1.5
_SHARE_OF_THE_LATEST = 0.05


@dataclass(frozen=True)
class Piece:
    """What one association brought of a series; `is_new`: no revision holds any of it yet."""

    association_id: str
    calling_ae_title: str
    first_at: datetime
    last_at: datetime
    is_new: bool


@dataclass(frozen=True)
class Span:
    """From the opening of an association that sent to the study to its end."""

    association_id: str
    opened_at: datetime
    ended_at: datetime


def learn(c: sa.Connection, series_id: int, settings: CompletenessSettings, now: datetime) -> None:
    """From a series that is found complete now, before its instances are in a revision."""
    pieces = _pieces(c, series_id)
    pause = longest_pause(pieces, _spans(c, series_id), longest_wait_seconds(settings))
    title = pieces[-1].calling_ae_title if pieces else ""
    if pause is None or not title:
        return
    s = senders
    first = {"calling_ae_title": title, "quiet_seconds": settings.quiet_seconds, "at": now}
    insert_missing(c, s, [first])
    # Locked, so that two workers never lose what one of them learned.
    mine = sa.select(s.c.quiet_seconds).where(s.c.calling_ae_title == title)
    known = c.scalars(mine.with_for_update()).one()
    learned = next_quiet_seconds(known, pause, settings)
    c.execute(s.update().where(s.c.calling_ae_title == title).values(quiet_seconds=learned, at=now))


def longest_pause(
    pieces: Sequence[Piece], spans: Sequence[Span], longest_seconds: float
) -> float | None:
    """Seconds of quiet in the study before a new piece of the series; None: nothing to learn.

    `pieces` in the order in which they began. Some senders open an association for each image, so
    neither is compared with all of the other.
    """
    timeline = _Timeline(spans)
    pauses: list[float] = []
    last_at: datetime | None = None
    for piece in pieces:
        if piece.is_new:
            pauses.append(0.0 if last_at is None else _quiet_before(piece, last_at, timeline))
        last_at = piece.last_at if last_at is None else max(last_at, piece.last_at)
    return max((pause for pause in pauses if pause <= longest_seconds), default=None)


def next_quiet_seconds(known: float, pause: float, settings: CompletenessSettings) -> float:
    """Up at once, down slowly, within the bounds."""
    adapting = settings.model_copy(update={"adaptive": True})
    known = learned_wait_seconds(known, adapting)
    needed = learned_wait_seconds(pause * _MARGIN, adapting)
    return max(needed, known + _SHARE_OF_THE_LATEST * (needed - known))


class _Timeline:
    """When associations were open, sorted once."""

    def __init__(self, spans: Sequence[Span]) -> None:
        self._by_end = sorted(spans, key=lambda span: span.ended_at)
        self._ends = [span.ended_at for span in self._by_end]
        lasting = [span for span in spans if span.opened_at < span.ended_at]
        self._opened = sorted(span.opened_at for span in lasting)
        self._closed = sorted(span.ended_at for span in lasting)
        self._of: dict[str, list[Span]] = {}
        for span in lasting:
            self._of.setdefault(span.association_id, []).append(span)

    def another_is_open(self, association_id: str, at: datetime) -> bool:
        open_then = bisect_right(self._opened, at) - bisect_right(self._closed, at)
        mine = self._of.get(association_id, ())
        return open_then > sum(span.opened_at <= at < span.ended_at for span in mine)

    def last_end_of_another(self, association_id: str, at: datetime) -> datetime | None:
        ended = bisect_right(self._ends, at)
        while ended > 0 and self._by_end[ended - 1].association_id == association_id:
            ended -= 1
        return self._ends[ended - 1] if ended > 0 else None


def _quiet_before(piece: Piece, last_at: datetime, timeline: _Timeline) -> float:
    """The quiet time counts from the last end, and not while an association is open."""
    if timeline.another_is_open(piece.association_id, piece.first_at):
        return 0.0
    end = timeline.last_end_of_another(piece.association_id, piece.first_at)
    since = last_at if end is None else max(end, last_at)
    return max(0.0, (piece.first_at - since).total_seconds())


def _pieces(c: sa.Connection, series_id: int) -> list[Piece]:
    i = instances.c
    first_at = sa.func.min(i.received_at)
    query = (
        sa.select(
            i.association_id,
            i.calling_ae_title,
            first_at.label("first_at"),
            sa.func.max(i.received_at).label("last_at"),
            sa.func.count(i.first_revision).label("revised"),
        )
        .where(i.series_id == series_id)
        .group_by(i.association_id, i.calling_ae_title)
        .order_by(first_at)
    )
    return [
        Piece(row.association_id, row.calling_ae_title, row.first_at, row.last_at, not row.revised)
        for row in c.execute(query)
    ]


def _spans(c: sa.Connection, series_id: int) -> list[Span]:
    """Of the associations that sent to the study of the series."""
    sibling = series.alias("sibling")
    study = sa.select(series.c.study_instance_uid).where(series.c.id == series_id)
    query = (
        sa.select(associations.c.id, associations.c.opened_at, ended_at().label("ended_at"))
        .join(association_series, association_series.c.association_id == associations.c.id)
        .join(sibling, sibling.c.id == association_series.c.series_id)
        .where(sibling.c.study_instance_uid == study.scalar_subquery())
        .distinct()
    )
    return [Span(row.id, row.opened_at, row.ended_at) for row in c.execute(query)]
