"""Series that some project wants a person for because of their kind, marked beside their verdict.

The tables of kinds stand in the configuration (`gate.asking`), so each mark names the tables that
it follows, and a verdict that follows others is marked anew.
"""

from __future__ import annotations

from collections.abc import Collection

import sqlalchemy as sa

from dicomnode.tracking.findings import SeriesFinding, findings
from dicomnode.tracking.schema import series, verdicts

_AT_A_TIME = 200


def unmarked(
    c: sa.Connection, tables_digest: str, limit: int = _AT_A_TIME
) -> tuple[SeriesFinding, ...]:
    """Some of the series whose current verdict follows other tables, or none yet."""
    column, current = verdicts.c.kinds_digest, sa.text("verdicts.is_current")
    # Both sides of a value are ranges of an index; "another value" is not.
    sides = [
        sa.select(verdicts.c.series_id).where(current, side).limit(limit).subquery()
        for side in (column < tables_digest, column > tables_digest)
    ]
    ids = c.scalars(sa.union_all(*(sa.select(side) for side in sides)).limit(limit)).all()
    return findings(c, series.c.id.in_(ids)) if ids else ()


def mark(
    c: sa.Connection,
    tables_digest: str,
    asked: Collection[int],
    not_asked: Collection[int],
) -> None:
    """By their examinations; both are a few hundred."""
    for ids, is_asked in ((asked, True), (not_asked, False)):
        values = {"is_asked_by_kind": is_asked, "kinds_digest": tables_digest}
        c.execute(verdicts.update().where(verdicts.c.examination_id.in_(ids)).values(values))
