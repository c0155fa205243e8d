"""Copies of studies without their faces: asked for, made, and proven or not.

Whoever asks adds a row; the working process makes a job of it. What is copied stands in the row,
so that a job that runs again copies the same. What was made of it is in `copied_series`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from pydantic import TypeAdapter

from dicomnode.domain import (
    OPEN_COPIES,
    CopyState,
    VerdictKind,
)
from dicomnode.tracking import audit
from dicomnode.tracking.database import insert_missing
from dicomnode.tracking.schema import series, series_copies, study_copies, verdicts
from dicomnode.tracking.schema.copied import UNFINISHED

MOST_AT_ONCE = 2000
# Begins `asked_by` where the policy of a project asks: no account is called so.
BY_PROJECT = "project:"
_OPEN = [state.value for state in OPEN_COPIES]
_VAIN = [CopyState.FAILED.value, CopyState.CANCELLED.value]


@dataclass(frozen=True)
class PlannedSeries:
    """One series to copy; `unchanged` are the labels of its volumes that show no face."""

    revision_id: int
    revision_digest: str
    series_instance_uid: str
    unchanged: tuple[str, ...]


_PLAN = TypeAdapter(tuple[PlannedSeries, ...])


@dataclass(frozen=True)
class LeftOut:
    """What has no copy, and why."""

    series_instance_uid: str
    sentence: str


@dataclass(frozen=True)
class StudyCopy:
    """`plan` is what is copied, in this order; `left_out` what isn't, as far as it is known.

    `project`: by whose settings headers are de-identified; empty: they stay as they came.
    """

    id: int
    study_instance_uid: str
    copy_study_instance_uid: str
    state: CopyState
    asked_by: str
    project: str
    plan: tuple[PlannedSeries, ...]
    left_out: tuple[LeftOut, ...]
    sentence: str
    job_id: str
    created_at: datetime
    updated_at: datetime

    @property
    def is_automatic(self) -> bool:
        return self.asked_by.startswith(BY_PROJECT)


def ask(
    c: sa.Connection,
    study_instance_uid: str,
    copy_study_instance_uid: str,
    plan: Sequence[PlannedSeries],
    left_out: Sequence[LeftOut],
    *,
    by: str,
    project: str = "",
    now: datetime | None = None,
) -> StudyCopy:
    """The row of this copy; a new one, or one that failed or was cancelled, is asked for now."""
    s, at = study_copies.c, now or datetime.now(UTC)
    values = {
        "study_instance_uid": study_instance_uid,
        "copy_study_instance_uid": copy_study_instance_uid,
        "state": CopyState.CANCELLED.value,
        "asked_by": by,
        "project": project,
        "plan": _PLAN.dump_python(tuple(plan), mode="json"),
        "left_out": _left_out(left_out),
        "created_at": at,
        "updated_at": at,
    }
    insert_missing(c, study_copies, [values])
    row = _one(c, s.copy_study_instance_uid == copy_study_instance_uid)
    return ask_again(c, replace(row, asked_by=by), at)


def ask_again(c: sa.Connection, copy: StudyCopy, now: datetime | None = None) -> StudyCopy:
    """By whoever `copy` names, where it has failed or was cancelled; else as it stands."""
    s, at = study_copies.c, now or datetime.now(UTC)
    ended = sa.and_(s.id == copy.id, s.state.in_(_VAIN))
    values = {"state": CopyState.ASKED.value, "asked_by": copy.asked_by, "sentence": ""}
    if c.execute(study_copies.update().where(ended).values(values | {"updated_at": at})).rowcount:
        detail = {"copy": copy.copy_study_instance_uid, "account": copy.asked_by}
        detail |= {"project": copy.project} if copy.project else {}
        audit.append(c, "copy without faces asked for", copy.study_instance_uid, detail, at)
    return load(c, copy.id)


def load(c: sa.Connection, copy_id: int) -> StudyCopy:
    """Raises `LookupError` where there is none."""
    return _one(c, study_copies.c.id == copy_id)


def asked(c: sa.Connection, limit: int = 20) -> list[StudyCopy]:
    """Those without a job, oldest first."""
    query = sa.select(study_copies).where(sa.text("state = 'asked'")).order_by(study_copies.c.id)
    return [_study_copy(row) for row in c.execute(query.limit(limit))]


def listed(c: sa.Connection, *, everything: bool, limit: int = 1000) -> list[StudyCopy]:
    """Newest first; without `everything` only what waits, runs or failed."""
    query = sa.select(study_copies).order_by(study_copies.c.id.desc()).limit(limit)
    if not everything:
        query = query.where(sa.text(UNFINISHED))
    return [_study_copy(row) for row in c.execute(query)]


def of_study(c: sa.Connection, study_instance_uid: str) -> list[StudyCopy]:
    """The copies of a study, newest first; and where it is one itself, its own row."""
    s = study_copies.c
    either = sa.or_(
        s.study_instance_uid == study_instance_uid, s.copy_study_instance_uid == study_instance_uid
    )
    query = sa.select(study_copies).where(either).order_by(s.id.desc())
    return [_study_copy(row) for row in c.execute(query)]


def set_state(
    c: sa.Connection,
    copy_id: int,
    state: CopyState,
    *,
    sentence: str = "",
    job_id: str | None = None,
    now: datetime | None = None,
) -> bool:
    """False where it has ended already: only `ask` takes it up again."""
    s = study_copies.c
    values: dict[str, Any] = {
        "state": state.value,
        "sentence": sentence,
        "updated_at": now or datetime.now(UTC),
    }
    if job_id is not None:
        values["job_id"] = job_id
    is_open = sa.and_(s.id == copy_id, s.state.in_(_OPEN))
    changed = c.execute(study_copies.update().where(is_open).values(values)).rowcount > 0
    if changed and state not in OPEN_COPIES:
        one = load(c, copy_id)
        detail = {"copy": one.copy_study_instance_uid, "sentence": sentence}
        audit.append(c, f"copy without faces {state.value}", one.study_instance_uid, detail)
    return changed


def waits_for(c: sa.Connection, copy_id: int, job_id: str) -> bool:
    """Whether a copy that has not ended rests on this job of the engine."""
    s = study_copies.c
    query = sa.select(s.id).where(s.id == copy_id, s.job_id == job_id, s.state.in_(_OPEN))
    return c.scalar(query) is not None


def forget(c: sa.Connection, study_instance_uid: str) -> None:
    """All that is known of it as a copy; of its own copies only those that were not made.

    What a proof says of a copy that is here goes on holding it.
    """
    copies, of_series = forgotten_with(study_instance_uid)
    c.execute(series_copies.delete().where(series_copies.c.id.in_(of_series)))
    c.execute(study_copies.delete().where(study_copies.c.id.in_(copies)))


def forgotten_with(study_instance_uid: str) -> tuple[sa.Select[Any], sa.Select[Any]]:
    """The keys that `forget` deletes: of `study_copies`, and of `series_copies`."""
    s, r = study_copies.c, series_copies.c
    made = sa.exists().where(r.study_copy_id == s.id)
    vain = sa.and_(s.study_instance_uid == study_instance_uid, ~made)
    itself = s.copy_study_instance_uid == study_instance_uid
    of_series = sa.select(r.id).join(study_copies, s.id == r.study_copy_id).where(itself)
    return sa.select(s.id).where(sa.or_(itself, vain)), of_series


def shows_a_face(c: sa.Connection, after: int) -> list[tuple[int, str]]:
    """The first `MOST_AT_ONCE` verdicts behind the row `after` that say so and count now, each
    with its study."""
    v = verdicts.c
    query = (
        sa.select(v.id, series.c.study_instance_uid)
        .join(series, series.c.id == v.series_id)
        .where(v.id > after, v.kind == VerdictKind.FACE_VISIBLE.value, v.is_current)
    )
    return [(key, uid) for key, uid in c.execute(query.order_by(v.id).limit(MOST_AT_ONCE)).tuples()]


def newest_verdict(c: sa.Connection) -> int:
    """The number of its row; 0 where there is none."""
    return c.scalar(sa.select(sa.func.max(verdicts.c.id))) or 0


def is_being_made() -> sa.ColumnElement[bool]:
    """Whether the study of the row of `series` is being copied, or is to be."""
    s = study_copies.c
    mine = s.study_instance_uid == series.c.study_instance_uid
    return sa.exists().where(mine, s.state.in_(_OPEN))


def note_left_out(c: sa.Connection, copy_id: int, left_out: Sequence[LeftOut]) -> None:
    mine = study_copies.c.id == copy_id
    c.execute(study_copies.update().where(mine).values(left_out=_left_out(left_out)))


def _one(c: sa.Connection, condition: sa.ColumnElement[bool]) -> StudyCopy:
    row = c.execute(sa.select(study_copies).where(condition)).one_or_none()
    if row is None:
        raise LookupError("there is no such copy of a study")
    return _study_copy(row)


def _study_copy(row: sa.Row[Any]) -> StudyCopy:
    return StudyCopy(
        id=row.id,
        study_instance_uid=row.study_instance_uid,
        copy_study_instance_uid=row.copy_study_instance_uid,
        state=CopyState(row.state),
        asked_by=row.asked_by,
        project=row.project,
        plan=_PLAN.validate_python(row.plan),
        left_out=tuple(LeftOut(*each) for each in row.left_out),
        sentence=row.sentence,
        job_id=row.job_id,
        created_at=row.created_at,
        updated_at=row.updated_at,
    )


def _left_out(left_out: Sequence[LeftOut]) -> list[list[str]]:
    return [[each.series_instance_uid, each.sentence] for each in left_out]
