"""Series that are complete, and their revisions."""

from __future__ import annotations

from datetime import datetime

import sqlalchemy as sa

from dicomnode.config import CompletenessSettings
from dicomnode.domain import Revision, revision_digest
from dicomnode.tracking import expected, senders, study_summaries
from dicomnode.tracking.completeness import Completion, decide
from dicomnode.tracking.examinations import void
from dicomnode.tracking.facts import unrevised
from dicomnode.tracking.schema import (
    instances,
    revisions,
    series,
)
from dicomnode.tracking.spool import Spool


def complete(
    c: sa.Connection, series_id: int, spool: Spool, settings: CompletenessSettings, now: datetime
) -> Revision | None:
    """Give a series that is complete its revision, and learn how its sender works.

    None where it isn't complete (any more), or where its newest revision holds all of it.
    """
    _lock(c, series_id)
    completion = next(
        (decide(facts, settings, now) for facts in unrevised(c, now, series_id)), None
    )
    if completion is None:
        return None
    senders.learn(c, series_id, settings, now)
    expected.forget_announced(c, series_id)
    return add_revision(c, series_id, spool, now, completion)


def add_revision(
    c: sa.Connection,
    series_id: int,
    spool: Spool,
    now: datetime,
    completion: Completion | None = None,
) -> Revision | None:
    """Make the instances of a series its newest revision and void what was said of the older one.

    None when the newest revision already holds exactly these instances.
    """
    _lock(c, series_id)
    members = c.execute(
        sa.select(instances.c.sop_instance_uid, instances.c.pixel_sha256).where(
            instances.c.series_id == series_id
        )
    ).all()
    digest = revision_digest((row.sop_instance_uid, row.pixel_sha256) for row in members)
    newest = c.execute(
        sa.select(revisions.c.number, revisions.c.digest).where(
            revisions.c.series_id == series_id, revisions.c.is_current
        )
    ).one_or_none()
    c.execute(series.update().where(series.c.id == series_id).values(revised_count=len(members)))
    study_summaries.touch(c, series_id)
    if not members or (newest is not None and newest.digest == digest):
        return None
    _void(c, series_id)
    number = 1 if newest is None else newest.number + 1
    said = {} if completion is None else _said(completion)
    revision_id = _insert(
        c, series_id, number, digest=digest, instance_count=len(members), created_at=now, **said
    )
    return load_revision(c, revision_id, spool)


def load_revision(c: sa.Connection, revision_id: int, spool: Spool) -> Revision:
    """The revision with the paths of its files; raises `LookupError` for an unknown id."""
    row = c.execute(
        sa.select(revisions, series.c.study_instance_uid, series.c.series_instance_uid)
        .add_columns(series.c.modality)
        .join(series, series.c.id == revisions.c.series_id)
        .where(revisions.c.id == revision_id)
    ).one_or_none()
    if row is None:
        raise LookupError(f"there is no revision {revision_id}")
    members = c.execute(
        sa.select(instances.c.name, instances.c.calling_ae_title, instances.c.peer_address)
        .where(instances.c.series_id == row.series_id, instances.c.first_revision <= row.number)
        .order_by(instances.c.id)
    ).all()
    return Revision(
        id=row.id,
        number=row.number,
        digest=row.digest,
        study_instance_uid=row.study_instance_uid,
        series_instance_uid=row.series_instance_uid,
        modality=row.modality,
        paths=tuple(spool.path(member.name) for member in members),
        calling_ae_title=members[0].calling_ae_title,
        peer_address=members[0].peer_address,
        completed_by=row.completed_by,
        completion=row.completion,
    )


def removed_at(c: sa.Connection, revision_id: int) -> datetime | None:
    """When retention took away files that the revision is of; None where all are here."""
    query = sa.select(series.c.removed_at).join(revisions, revisions.c.series_id == series.c.id)
    return c.scalar(query.where(revisions.c.id == revision_id))


def is_current(c: sa.Connection, revision_id: int) -> bool:
    """Whether that revision is the newest of its series."""
    return bool(c.scalar(sa.select(revisions.c.is_current).where(revisions.c.id == revision_id)))


def _void(c: sa.Connection, series_id: int) -> None:
    c.execute(
        revisions.update()
        .where(revisions.c.series_id == series_id, revisions.c.is_current)
        .values(is_current=False)
    )
    void(c, series_id)


def _said(completion: Completion) -> dict[str, str]:
    return {"completed_by": completion.signal.value, "completion": completion.sentence}


def _lock(c: sa.Connection, series_id: int) -> None:
    """Until the end of the transaction."""
    c.execute(sa.select(series.c.id).where(series.c.id == series_id).with_for_update())


def _insert(c: sa.Connection, series_id: int, number: int, **values: object) -> int:
    c.execute(
        instances.update()
        .where(instances.c.series_id == series_id, instances.c.first_revision.is_(None))
        .values(first_revision=number)
    )
    inserted = c.execute(
        revisions.insert().values(series_id=series_id, number=number, is_current=True, **values)
    )
    key = inserted.inserted_primary_key
    assert key is not None
    return int(key[0])
