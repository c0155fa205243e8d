"""What a series' own rows don't say, as columns of a query over `series`: the gate holds by it."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from dicomnode.tracking.expected import count_announced, total_count
from dicomnode.tracking.pulls import PullState
from dicomnode.tracking.quarantine import CONFLICT
from dicomnode.tracking.schema import (
    association_series,
    associations,
    expected_counts,
    instances,
    pulls,
    quarantine,
    segmentations,
    series,
)

_SEGMENTATION_STORAGE = "1.2.840.10008.5.1.4.1.1.66.4"


def is_being_sent() -> sa.ColumnElement[bool]:
    """An association that isn't settled has sent to it: rows may be missing (`associations`)."""
    return (
        sa.select(sa.literal(1))
        .select_from(
            association_series.join(
                associations, associations.c.id == association_series.c.association_id
            )
        )
        .where(association_series.c.series_id == series.c.id, ~associations.c.is_settled)
        .correlate(series)
        .exists()
    )


def open_from() -> sa.ScalarSelect[str]:
    """The sender of the oldest open association that sent to its study; NULL: none is open."""
    return _oldest_open(associations.c.calling_ae_title)


def open_since() -> sa.ScalarSelect[Any]:
    """When that one was opened."""
    return _oldest_open(associations.c.opened_at)


def expected_count() -> sa.ScalarSelect[int]:
    """The largest number of instances that any source counts; NULL where none does."""
    return _largest(total_count())


def expected_by() -> sa.ScalarSelect[str]:
    """Which one."""
    return _largest(expected_counts.c.source)


def announced_elsewhere() -> sa.ScalarSelect[int]:
    """How many instances were announced that aren't here."""
    return count_announced(instances.c.id.is_(None))


def unfinished_pull() -> sa.ScalarSelect[str]:
    """A source that its study is still to be pulled from; NULL where there is none."""
    return (
        sa.select(sa.func.min(pulls.c.source))
        .where(
            pulls.c.study_instance_uid == series.c.study_instance_uid,
            pulls.c.state != PullState.DONE.value,
        )
        .correlate(series)
        .scalar_subquery()
    )


def quarantined() -> sa.ColumnElement[int]:
    """How many objects in quarantine belong to it, by what they say or by whose UID they took.

    Three counts that don't overlap, each by its index: objects that name the series, those that
    name only its study, and those that took the UID of one of its instances but name another.
    """
    q = quarantine.c
    same_study = q.study_instance_uid.in_([series.c.study_instance_uid, ""])
    by_series = _count(q.series_instance_uid == series.c.series_instance_uid, same_study, _open())
    by_study = _count(
        q.series_instance_uid == "",
        q.study_instance_uid == series.c.study_instance_uid,
        _open(),
    )
    named = sa.and_(
        q.series_instance_uid.in_([series.c.series_instance_uid, ""]),
        q.study_instance_uid.in_([series.c.study_instance_uid, ""]),
        sa.or_(q.series_instance_uid != "", q.study_instance_uid != ""),
    )
    by_instance = _count(
        q.sop_instance_uid.in_(
            sa.select(instances.c.sop_instance_uid)
            .where(instances.c.series_id == series.c.id)
            .correlate(series)
        ),
        q.reason == CONFLICT,
        ~named,
    )
    return by_series + by_study + by_instance


def is_own_segmentation() -> sa.ColumnElement[bool]:
    """It has instances, and each is a SEG that this node made, by UID and by pixel data.

    Anybody who can read the UID can send something else under it.
    """
    # Not IN: for that PostgreSQL would read all SEGs that the node ever made.
    made_here = (
        sa.select(sa.literal(1))
        .select_from(segmentations)
        .where(
            segmentations.c.sop_instance_uid == instances.c.sop_instance_uid,
            segmentations.c.pixel_sha256 == instances.c.pixel_sha256,
            segmentations.c.pixel_sha256 != "",
        )
        .correlate(instances)
        .exists()
    )
    own = sa.and_(instances.c.sop_class_uid == _SEGMENTATION_STORAGE, made_here)
    return sa.and_(series.c.instance_count > 0, ~_has_instance(~own))


def _oldest_open(column: sa.Column[Any]) -> sa.ScalarSelect[Any]:
    sibling = series.alias("sibling")
    return (
        sa.select(column)
        .join(association_series, association_series.c.association_id == associations.c.id)
        .join(sibling, sibling.c.id == association_series.c.series_id)
        .where(
            sibling.c.study_instance_uid == series.c.study_instance_uid,
            ~associations.c.is_settled,
            associations.c.closed_at.is_(None),
        )
        .order_by(associations.c.opened_at, associations.c.id)
        .limit(1)
        .correlate(series)
        .scalar_subquery()
    )


def _largest(column: sa.ColumnElement[Any]) -> sa.ScalarSelect[Any]:
    e = expected_counts.c
    return (
        sa.select(column)
        .where(
            e.study_instance_uid == series.c.study_instance_uid,
            e.series_instance_uid == series.c.series_instance_uid,
        )
        .group_by(e.source)
        .order_by(total_count().desc(), e.source)
        .limit(1)
        .correlate(series)
        .scalar_subquery()
    )


def _has_instance(condition: sa.ColumnElement[bool]) -> sa.ColumnElement[bool]:
    members = sa.select(sa.literal(1)).select_from(instances)
    return members.where(instances.c.series_id == series.c.id, condition).correlate(series).exists()


def _count(*conditions: sa.ColumnElement[bool]) -> sa.ScalarSelect[Any]:
    count = sa.select(sa.func.count()).select_from(quarantine)
    return count.where(*conditions).correlate(series).scalar_subquery()


def _open() -> sa.ColumnElement[bool]:
    """A conflict, or an object whose good copy isn't stored where it says that it belongs."""
    home = series.alias("home")
    arrived = (
        sa.select(sa.literal(1))
        .select_from(instances.join(home, home.c.id == instances.c.series_id))
        .where(
            instances.c.sop_instance_uid == quarantine.c.sop_instance_uid,
            sa.or_(
                quarantine.c.series_instance_uid == "",
                quarantine.c.series_instance_uid == home.c.series_instance_uid,
            ),
            sa.or_(
                quarantine.c.study_instance_uid == "",
                quarantine.c.study_instance_uid == home.c.study_instance_uid,
            ),
        )
        .correlate(quarantine)
        .exists()
    )
    return sa.or_(quarantine.c.reason == CONFLICT, ~arrived)
