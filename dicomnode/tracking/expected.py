"""How many instances others say that a series has: MPPS, IAN, the sender, or a pull."""

from __future__ import annotations

from datetime import UTC, datetime

import sqlalchemy as sa

from dicomnode.tracking.completeness import Source
from dicomnode.tracking.database import insert_missing
from dicomnode.tracking.schema import expected_counts


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
