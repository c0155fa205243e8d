"""Where a series stands, as a word and as SQL over what counts for it now."""

from __future__ import annotations

from enum import StrEnum

import sqlalchemy as sa

from dicomnode.tracking.schema import examinations, refusals, revisions, series, verdicts


class SeriesState(StrEnum):
    """Where a series stands; only EXAMINED can have a verdict that counts.

    EXAMINED has at least one volume, REFUSED none; either may have images that were set aside.
    Of one that is NOT_RECEIVED it is only known that others count it in its study.
    """

    NOT_RECEIVED = "not received"
    RECEIVING = "receiving"
    WAITING = "waiting"
    EXAMINING = "examining"
    EXAMINED = "examined"
    REFUSED = "refused"
    FAILED = "failed"


def series_now() -> sa.FromClause:
    """Every series with its newest revision and the examination and verdict that count now."""
    r, e, v = revisions, examinations, verdicts
    return (
        series.outerjoin(r, sa.and_(r.c.series_id == series.c.id, r.c.is_current))
        .outerjoin(e, sa.and_(e.c.revision_id == r.c.id, e.c.is_current))
        .outerjoin(v, sa.and_(v.c.examination_id == e.c.id, v.c.is_current))
    )


def state_now() -> sa.ColumnElement[str]:
    """Of a row of `series_now`, as `findings` says it."""
    r, e, v = revisions.c, examinations.c, verdicts.c
    unrevised = sa.or_(series.c.instance_count != series.c.revised_count, r.id.is_(None))
    not_begun = sa.and_(e.id.is_(None), r.examination_started_at.is_(None))
    return sa.case(
        (unrevised, SeriesState.RECEIVING.value),
        (not_begun, SeriesState.WAITING.value),
        (e.id.is_(None), SeriesState.EXAMINING.value),
        (e.failure != "", SeriesState.FAILED.value),
        (v.id.is_(None), SeriesState.REFUSED.value),
        else_=SeriesState.EXAMINED.value,
    )


def set_aside_decided_by() -> sa.ScalarSelect[int | None]:
    """How many people decided on what was set aside of a series; NULL where nothing was."""
    return (
        sa.select(sa.func.max(refusals.c.decided_by))
        .where(refusals.c.examination_id == examinations.c.id)
        .correlate(examinations)
        .scalar_subquery()
    )
