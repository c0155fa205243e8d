"""When a series is complete, and its revisions.

Complete means: no instance came for `quiet_seconds`, no open association has sent to it, and it
holds instances that its newest revision doesn't. All of that is in the database, so a restart
changes nothing.
"""

from __future__ import annotations

from datetime import datetime, timedelta

import sqlalchemy as sa

from dicomnode.domain import Revision, revision_digest
from dicomnode.tracking.associations import is_open
from dicomnode.tracking.schema import (
    association_series,
    associations,
    examinations,
    instances,
    revisions,
    series,
    verdicts,
)
from dicomnode.tracking.spool import Spool


def complete_series(c: sa.Connection, now: datetime, quiet_seconds: float) -> list[int]:
    """Ids of the series that need a revision now, longest quiet first."""
    still_sending = (
        sa.select(sa.literal(1))
        .select_from(
            association_series.join(
                associations, associations.c.id == association_series.c.association_id
            )
        )
        .where(association_series.c.series_id == series.c.id, is_open(now))
        .exists()
    )
    query = (
        sa.select(series.c.id)
        # Written as in the partial index, so that both databases use it.
        .where(sa.text("series.instance_count <> series.revised_count"))
        .where(series.c.last_received_at <= now - timedelta(seconds=quiet_seconds))
        .where(~still_sending)
        .order_by(series.c.last_received_at, series.c.id)
    )
    return list(c.scalars(query))


def add_revision(c: sa.Connection, series_id: int, spool: Spool, now: datetime) -> Revision | None:
    """Make the instances of a series its newest revision and void what was said of the older one.

    None when the newest revision already holds exactly these instances.
    """
    c.execute(sa.select(series.c.id).where(series.c.id == series_id).with_for_update())
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
    if not members or (newest is not None and newest.digest == digest):
        return None
    _void(c, series_id)
    number = 1 if newest is None else newest.number + 1
    revision_id = _insert(c, series_id, number, digest, len(members), now)
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
    )


def is_current(c: sa.Connection, revision_id: int) -> bool:
    """Whether that revision is the newest of its series."""
    return bool(c.scalar(sa.select(revisions.c.is_current).where(revisions.c.id == revision_id)))


def _void(c: sa.Connection, series_id: int) -> None:
    for table in (revisions, examinations, verdicts):
        c.execute(
            table.update()
            .where(table.c.series_id == series_id, table.c.is_current)
            .values(is_current=False)
        )


def _insert(
    c: sa.Connection, series_id: int, number: int, digest: str, count: int, now: datetime
) -> int:
    c.execute(
        instances.update()
        .where(instances.c.series_id == series_id, instances.c.first_revision.is_(None))
        .values(first_revision=number)
    )
    inserted = c.execute(
        revisions.insert().values(
            series_id=series_id,
            number=number,
            digest=digest,
            instance_count=count,
            created_at=now,
            is_current=True,
        )
    )
    key = inserted.inserted_primary_key
    assert key is not None
    return int(key[0])
