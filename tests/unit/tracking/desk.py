"""Series in every state, for tests of lists and queues."""

from __future__ import annotations

import sqlalchemy as sa

from dicomnode.domain import Examination, Revision, VerdictKind
from dicomnode.tracking import examinations, instances, series
from dicomnode.tracking.schema import series as series_table
from dicomnode.tracking.spool import Spool
from tests.unit.tracking.rows import at, examined, instance, refused


def receive(c: sa.Connection, study: str, uid: str, *numbers: int, seconds: float = 0.0) -> int:
    """The row of a series that gets instances; without numbers only one."""
    members = [instance(n, seconds, series=uid, study=study) for n in numbers or (1,)]
    instances.add(c, members)
    key = c.scalar(
        sa.select(series_table.c.id).where(
            series_table.c.study_instance_uid == study, series_table.c.series_instance_uid == uid
        )
    )
    assert key is not None
    return key


def complete(
    c: sa.Connection, spool: Spool, study: str, uid: str, *, seconds: float = 0.0
) -> Revision:
    key = receive(c, study, uid, seconds=seconds)
    revision = series.add_revision(c, key, spool, at(seconds + 30))
    assert revision is not None
    return revision


def judged(
    c: sa.Connection,
    spool: Spool,
    study: str,
    uid: str,
    found: VerdictKind | None = VerdictKind.DEFACED,
    *,
    seconds: float = 0.0,
) -> int:
    """Its examination; without a verdict it is refused."""
    revision = complete(c, spool, study, uid, seconds=seconds)
    examination = refused(revision) if found is None else examined(revision, found)
    return record(c, revision, examination, seconds)


def record(c: sa.Connection, revision: Revision, examination: Examination, seconds: float) -> int:
    return examinations.record(c, revision.id, examination, at(seconds + 60))
