"""What no volume could be made of, counted by its code."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import sqlalchemy as sa

from dicomnode.tracking.schema import examinations, refusals


@dataclass(frozen=True)
class RefusalCount:
    """`recorded`: how often ever; `current`: how often in what counts for a series now."""

    code: str
    recorded: int
    current: int


def counts(c: sa.Connection) -> Mapping[str, int]:
    """How often each code was ever recorded; superseded examinations count too, so it only grows.

    The codes are those of the database: a later version may no longer know one.
    """
    return _counts(c, sa.select(refusals.c.code, sa.func.count()))


def current(c: sa.Connection) -> Mapping[str, int]:
    """The same for the current examinations."""
    query = (
        sa.select(refusals.c.code, sa.func.count())
        .join(examinations, examinations.c.id == refusals.c.examination_id)
        .where(examinations.c.is_current)
    )
    return _counts(c, query)


def summary(c: sa.Connection) -> tuple[RefusalCount, ...]:
    """Both counts of every code that was ever recorded, the most frequent first."""
    now = current(c)
    found = [RefusalCount(code, count, now.get(code, 0)) for code, count in counts(c).items()]
    return tuple(sorted(found, key=lambda item: (-item.recorded, item.code)))


def _counts(c: sa.Connection, query: sa.Select[str, int]) -> dict[str, int]:
    return dict(c.execute(query.group_by(refusals.c.code)).tuples().all())
