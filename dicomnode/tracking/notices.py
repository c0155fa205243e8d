"""What waits for a person or failed, noted once for each channel, and told once.

A row of `notices` is one thing for one channel: `topic` is "channel/topic", `subject` the key of
the row that it is about. What stood there before a channel was first used is not told, but for
deliveries and copies that failed, whose state says so. What was settled before it was told is not
told either.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

import sqlalchemy as sa

from dicomnode.domain import CopyState, DeliveryState
from dicomnode.tracking import audit, disk_alerts
from dicomnode.tracking.columns import UtcDateTime
from dicomnode.tracking.database import insert_missing
from dicomnode.tracking.gate_schema import notices
from dicomnode.tracking.reviews import ReviewFilter
from dicomnode.tracking.schema import (
    audit_events,
    deliveries,
    examinations,
    quarantine,
    segmentations,
    series,
    series_copies,
    study_copies,
    verdicts,
    volumes,
)
from dicomnode.tracking.schema.copied import UNFINISHED

# So many rows are noted at a time. Rows become visible in another order than that of their keys
# where transactions overlap, hence the look back.
MOST_AT_A_TIME = 1000
LOOK_BACK = 500
MOST_STUDIES = 50


class Topic(StrEnum):
    FAILED = "failed"
    REFUSED = "refused"
    QUARANTINED = "quarantined"
    NEEDS_PERSON = "needs_person"
    DISK = "disk"
    COPY_FAILED = "copy_failed"
    COPY_HELD = "copy_held"


# Their rows are there long before it goes wrong: they are looked for by their state, from the first
# on.
_LATE = (Topic.REFUSED, Topic.COPY_FAILED)


@dataclass(frozen=True)
class Untold:
    """How many things of each topic still wait and were not told; `studies` names some of them.

    `last_id` is the newest notice that was counted.
    """

    counts: Mapping[Topic, int]
    studies: tuple[str, ...]
    last_id: int


@dataclass(frozen=True)
class Place:
    """Of a topic: after which key it began to be told, and up to which it was looked through."""

    began: int
    seen: int


def note(
    c: sa.Connection,
    channel: str,
    places: Mapping[Topic, Place],
    wanted: ReviewFilter,
    now: datetime,
) -> Mapping[Topic, Place]:
    """Add what is new; `places` is what it returned last, and is found out without that.

    Of `wanted` the verdicts and persons count; nobody is told of codes.
    """
    return {topic: _note(c, channel, topic, places.get(topic), wanted, now) for topic in Topic}


def untold(
    c: sa.Connection,
    channel: str,
    wanted: ReviewFilter,
    due: datetime,
    now: datetime | None = None,
) -> Untold | None:
    """What has to be told; None where nothing was noted at `due` or before.

    What was noted after `now` was noted before the clock was set back.
    """
    rows = c.execute(
        sa.select(
            sa.func.min(notices.c.first_seen_at, type_=UtcDateTime).label("oldest"),
            sa.func.max(notices.c.id).label("last_id"),
        ).where(_of(channel), notices.c.told_at.is_(None))
    ).one()
    if rows.last_id is None or due < rows.oldest <= (now or due):
        return None
    counts: dict[Topic, int] = {}
    studies: set[str] = set()
    for topic in Topic:
        found = _untold_of(_name(channel, topic), topic, wanted)
        counts[topic] = c.scalar(sa.select(sa.func.count()).select_from(found.subquery())) or 0
        studies.update(c.scalars(found.distinct().limit(MOST_STUDIES)))
    named = tuple(sorted(studies - {""})[:MOST_STUDIES])
    return Untold({t: n for t, n in counts.items() if n}, named, rows.last_id)


def _untold_of(name: str, topic: Topic, wanted: ReviewFilter) -> sa.Select[Any]:
    """The studies of what still waits, one for each thing."""
    waiting = _waiting(topic, wanted).subquery()
    of_it = sa.and_(
        notices.c.topic == name,
        sa.cast(notices.c.subject, sa.Integer) == waiting.c.key,
        notices.c.told_at.is_(None),
    )
    return sa.select(waiting.c.study_instance_uid).join_from(notices, waiting, of_it)


def mark_told(c: sa.Connection, channel: str, told: Untold, now: datetime) -> None:
    """Everything that was counted is told; an audit event says so, where there was anything."""
    untold_yet = (_of(channel), notices.c.told_at.is_(None), notices.c.id <= told.last_id)
    c.execute(notices.update().where(*untold_yet).values(told_at=now))
    if told.counts:
        detail = {topic.value: count for topic, count in told.counts.items()}
        audit.append(c, "people notified", channel, detail, now)


def _note(
    c: sa.Connection,
    channel: str,
    topic: Topic,
    place: Place | None,
    wanted: ReviewFilter,
    now: datetime,
) -> Place:
    name = _name(channel, topic)
    place = place or _place(c, name, topic, now)
    newest = c.scalar(sa.select(sa.func.max(_KEYS[topic]))) or 0
    keys = [row.key for row in c.execute(_new(name, topic, place, wanted))]
    _add(c, name, keys, now)
    return Place(place.began, keys[-1] if len(keys) == MOST_AT_A_TIME else newest)


def _place(c: sa.Connection, name: str, topic: Topic, now: datetime) -> Place:
    """The first row of a topic says where it began; a delivery may be refused after that."""
    subject = sa.cast(notices.c.subject, sa.Integer)
    mine = sa.select(subject).where(notices.c.topic == name)
    began = c.scalar(mine.order_by(notices.c.id).limit(1))
    if began is None:
        newest = c.scalar(sa.select(sa.func.max(_KEYS[topic]))) or 0
        began = 0 if topic in _LATE else newest
        _add(c, name, [began], now, told_at=now)
    seen = c.scalar(sa.select(sa.func.max(subject)).where(notices.c.topic == name))
    return Place(began, seen or began)


def _new(name: str, topic: Topic, place: Place, wanted: ReviewFilter) -> sa.Select[Any]:
    """What waits and was not noted, by its key."""
    key = _KEYS[topic]
    noted = sa.exists().where(
        notices.c.topic == name, notices.c.subject == sa.cast(key, sa.String(160))
    )
    new = _waiting(topic, wanted).where(~noted).order_by(key).limit(MOST_AT_A_TIME)
    if topic in _LATE:
        return new.where(key > place.began)
    return new.where(key > max(place.began, place.seen - LOOK_BACK))


def _add(
    c: sa.Connection,
    name: str,
    keys: Collection[int],
    now: datetime,
    told_at: datetime | None = None,
) -> None:
    rows = [
        {"topic": name, "subject": str(key), "first_seen_at": now, "told_at": told_at}
        for key in keys
    ]
    insert_missing(c, notices, rows)


def _name(channel: str, topic: Topic) -> str:
    return f"{channel}/{topic}"


def _of(channel: str) -> sa.ColumnElement[bool]:
    return notices.c.topic.in_([_name(channel, topic) for topic in Topic])


_KEYS: Mapping[Topic, sa.Column[int]] = {
    Topic.FAILED: examinations.c.id,
    Topic.REFUSED: deliveries.c.id,
    Topic.QUARANTINED: quarantine.c.id,
    Topic.NEEDS_PERSON: verdicts.c.id,
    Topic.DISK: audit_events.c.id,
    Topic.COPY_FAILED: study_copies.c.id,
    Topic.COPY_HELD: series_copies.c.id,
}


def _waiting(topic: Topic, wanted: ReviewFilter) -> sa.Select[Any]:
    """The `key` of whatever of a topic waits now, and its `study_instance_uid`."""
    return _SELECTS[topic](wanted)


def _failed(_: ReviewFilter) -> sa.Select[Any]:
    return (
        sa.select(examinations.c.id.label("key"), series.c.study_instance_uid)
        .join(series, series.c.id == examinations.c.series_id)
        .where(examinations.c.is_current, examinations.c.failure != "")
    )


def _refused(_: ReviewFilter) -> sa.Select[Any]:
    return (
        sa.select(deliveries.c.id.label("key"), series.c.study_instance_uid)
        .join(segmentations, segmentations.c.id == deliveries.c.segmentation_id)
        .join(volumes, volumes.c.id == segmentations.c.volume_id)
        .join(examinations, examinations.c.id == volumes.c.examination_id)
        .join(series, series.c.id == examinations.c.series_id)
        .where(deliveries.c.state == DeliveryState.REFUSED.value)
    )


def _quarantined(_: ReviewFilter) -> sa.Select[Any]:
    return sa.select(quarantine.c.id.label("key"), quarantine.c.study_instance_uid)


def _needs_person(wanted: ReviewFilter) -> sa.Select[Any]:
    return (
        sa.select(verdicts.c.id.label("key"), series.c.study_instance_uid)
        .join(series, series.c.id == verdicts.c.series_id)
        .where(
            verdicts.c.is_current,
            sa.or_(
                verdicts.c.kind.in_([kind.value for kind in wanted.kinds]),
                sa.and_(verdicts.c.is_asked_by_kind, sa.literal(wanted.is_by_kind)),
            ),
            verdicts.c.decided_by < wanted.persons,
        )
    )


def _disk(_: ReviewFilter) -> sa.Select[Any]:
    """Of no study."""
    no_study = sa.literal("").label("study_instance_uid")
    fills = disk_alerts.is_standing()
    return sa.select(audit_events.c.id.label("key"), no_study).where(fills)


def _copy_failed(_: ReviewFilter) -> sa.Select[Any]:
    """Of the study that was to be copied."""
    failed = sa.and_(sa.text(UNFINISHED), study_copies.c.state == CopyState.FAILED.value)
    return sa.select(study_copies.c.id.label("key"), study_copies.c.study_instance_uid).where(
        failed
    )


def _copy_held(_: ReviewFilter) -> sa.Select[Any]:
    """Series whose proof is not given; of the copy, which is where people look."""
    study = (
        sa.select(study_copies.c.copy_study_instance_uid)
        .where(study_copies.c.id == series_copies.c.study_copy_id)
        .scalar_subquery()
    )
    return sa.select(series_copies.c.id.label("key"), study.label("study_instance_uid")).where(
        sa.cast(series_copies.c.objections, sa.String) != "[]"
    )


_SELECTS: Mapping[Topic, Callable[[ReviewFilter], sa.Select[Any]]] = {
    Topic.FAILED: _failed,
    Topic.REFUSED: _refused,
    Topic.QUARANTINED: _quarantined,
    Topic.NEEDS_PERSON: _needs_person,
    Topic.DISK: _disk,
    Topic.COPY_FAILED: _copy_failed,
    Topic.COPY_HELD: _copy_held,
}
