"""Modality Performed Procedure Steps as far as they count instances (PS3.4 F.7); no patient."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime
from enum import StrEnum

import sqlalchemy as sa

from dicomnode.tracking import expected
from dicomnode.tracking.completeness import Source
from dicomnode.tracking.database import insert_missing
from dicomnode.tracking.schema import procedure_steps, series


class StepStatus(StrEnum):
    """Performed Procedure Step Status (0040,0252); the last two are ends."""

    IN_PROGRESS = "IN PROGRESS"
    COMPLETED = "COMPLETED"
    DISCONTINUED = "DISCONTINUED"


class Change(StrEnum):
    """What became of the change of a step."""

    MADE = "made"
    NO_SUCH_STEP = "no such step"
    HAS_ENDED = "has ended"


def begin(
    c: sa.Connection,
    sop_instance_uid: str,
    study_instance_uids: Sequence[str],
    counts: Mapping[str, int],
) -> bool:
    """A new step, in progress; False where there is one with this UID."""
    p = procedure_steps.c
    if c.scalar(sa.select(p.status).where(p.sop_instance_uid == sop_instance_uid)) is not None:
        return False
    row = {
        "sop_instance_uid": sop_instance_uid,
        "status": StepStatus.IN_PROGRESS.value,
        "study_instance_uids": list(study_instance_uids),
        "series_counts": dict(counts),
        "at": datetime.now(UTC),
    }
    insert_missing(c, procedure_steps, [row])
    return True


def change(
    c: sa.Connection,
    sop_instance_uid: str,
    status: StepStatus | None,
    counts: Mapping[str, int] | None,
) -> Change:
    """None leaves what is there. The counts of a step that is COMPLETED now are believed."""
    p = procedure_steps.c
    mine = p.sop_instance_uid == sop_instance_uid
    row = c.execute(sa.select(procedure_steps).where(mine).with_for_update()).one_or_none()
    if row is None:
        return Change.NO_SUCH_STEP
    if row.status != StepStatus.IN_PROGRESS:
        return Change.HAS_ENDED
    now = datetime.now(UTC)
    status = status or StepStatus.IN_PROGRESS
    known: Mapping[str, int] = row.series_counts if counts is None else counts
    values = {"status": status.value, "series_counts": dict(known), "at": now}
    c.execute(procedure_steps.update().where(mine).values(values))
    if status is StepStatus.COMPLETED:
        for study_uid, series_uid in _made_in(c, row.study_instance_uids, known):
            count = known[series_uid]
            expected.expect_count(
                c, study_uid, series_uid, count, Source.MPPS, now, speaker=sop_instance_uid
            )
    return Change.MADE


def forget(
    c: sa.Connection, study_instance_uid: str, series_instance_uids: Collection[str]
) -> None:
    """No step names this study and these series of it; a step for no other study is gone."""
    p = procedure_steps.c
    names_it = sa.cast(p.study_instance_uids, sa.String).contains(f'"{study_instance_uid}"')
    for row in c.execute(sa.select(procedure_steps).where(names_it)).all():
        mine = p.sop_instance_uid == row.sop_instance_uid
        left = [uid for uid in row.study_instance_uids if uid != study_instance_uid]
        counts = {k: n for k, n in row.series_counts.items() if k not in series_instance_uids}
        if left:
            values = {"study_instance_uids": left, "series_counts": counts}
            c.execute(procedure_steps.update().where(mine).values(values))
        else:
            c.execute(procedure_steps.delete().where(mine))


def _made_in(
    c: sa.Connection, study_uids: Collection[str], series_uids: Collection[str]
) -> list[tuple[str, str]]:
    """Study and series of each that a step made, in order. A step for several studies doesn't say
    in which of them a series lies: only those are told that are here (group case, PS3.17 F)."""
    if len(study_uids) == 1:
        return [(study_uid, uid) for study_uid in study_uids for uid in sorted(series_uids)]
    s = series.c
    query = sa.select(s.study_instance_uid, s.series_instance_uid).where(
        s.study_instance_uid.in_(study_uids), s.series_instance_uid.in_(series_uids)
    )
    return sorted((row.study_instance_uid, row.series_instance_uid) for row in c.execute(query))
