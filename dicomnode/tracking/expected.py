"""How many instances others say that a series has: MPPS, IAN, the sender, or a pull."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

import sqlalchemy as sa

from dicomnode.tracking.completeness import NamedCount, Source
from dicomnode.tracking.database import insert_missing
from dicomnode.tracking.schema import expected_counts, segmentations, series


def expect_count(
    c: sa.Connection,
    study_instance_uid: str,
    series_instance_uid: str,
    count: int,
    source: str,
    now: datetime | None = None,
) -> None:
    """What one source says last of a series counts. Zero instances are no statement.

    Whoever tells of several series does so in their order, so that no two wait for each other.
    Raises `ValueError` for a source that isn't one of `Source`.
    """
    if count < 1:
        return
    e = expected_counts
    values = {"instance_count": count, "at": now or datetime.now(UTC)}
    key = {
        "study_instance_uid": study_instance_uid,
        "series_instance_uid": series_instance_uid,
        "source": Source(source).value,
    }
    insert_missing(c, e, [key | values])
    same = [e.c[name] == value for name, value in key.items()]
    c.execute(e.update().where(*same).values(values))


def never_received(c: sa.Connection, study_instance_uid: str) -> Mapping[str, NamedCount]:
    """Series that somebody counts in this study and of which nothing came, by their UID.

    Whoever counts most is named. Our own SEG series are none: the PACS has them from us.
    """
    e = expected_counts.c
    received = sa.select(series.c.id).where(
        series.c.study_instance_uid == e.study_instance_uid,
        series.c.series_instance_uid == e.series_instance_uid,
    )
    query = (
        sa.select(e.series_instance_uid, e.source, e.instance_count)
        .where(
            e.study_instance_uid == study_instance_uid,
            ~received.exists(),
            e.series_instance_uid.not_in(sa.select(segmentations.c.series_instance_uid)),
        )
        .order_by(e.series_instance_uid, e.instance_count, e.source.desc())
    )
    return {
        row.series_instance_uid: NamedCount(Source(row.source), row.instance_count)
        for row in c.execute(query)
    }
