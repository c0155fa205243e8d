"""The list of studies, newest first, page by page, with filters and a search by UID.

It reads `studies` alone, where every transaction keeps what is shown (`study_summaries`). A page
begins behind the last study of the one before, so studies that come meanwhile make no gap in it
and nothing comes twice.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa

from dicomnode.tracking.columns import UtcDateTime
from dicomnode.tracking.paging import CappedCount, capped
from dicomnode.tracking.schema import instances, series, studies
from dicomnode.tracking.states import SeriesState
from dicomnode.tracking.study_summaries import COUNTED_STATES

PAGE = 50
_UID_BEGINNING = re.compile(r"[0-9.]{1,64}")
_LAST = datetime(9999, 12, 31, tzinfo=UTC)
# In these words the indexes of those that are few in a large database are declared.
_SOME: Mapping[SeriesState, sa.TextClause] = {
    state: sa.text(f"studies.{state.value} > 0") for state in COUNTED_STATES
}
_NEVER = sa.text("1 = 0")
_DECIDED = sa.text("studies.decided > 0")


@dataclass(frozen=True)
class StudyFilter:
    """What a study has to meet; empty or None: anything.

    `verdict`: a `VerdictKind`, that of the whole study. `state`: of at least one of its series.
    `received_from` is within, `received_until` is not. `decided`: whether a person has decided on
    any of its series as it stands now.
    """

    verdict: str = ""
    state: SeriesState | None = None
    modality: str = ""
    received_from: datetime | None = None
    received_until: datetime | None = None
    decided: bool | None = None


@dataclass(frozen=True)
class StudyRow:
    """One study. `verdict` is the worst of its series, empty until each has ended.

    It is what was found: whether instances are missing, or another version examined them, the gate
    says (`gate.studies.decide_studies`). `states` has the number of series of every state in which
    there are any, `decided` that of series on which a person decided.
    """

    study_instance_uid: str
    first_received_at: datetime
    last_received_at: datetime
    series_count: int
    instance_count: int
    modalities: tuple[str, ...]
    verdict: str
    states: Mapping[SeriesState, int]
    decided: int

    @property
    def place(self) -> str:
        """Where the next page begins, for a link: after this study."""
        return f"{self.first_received_at.isoformat()}_{self.study_instance_uid}"


@dataclass(frozen=True)
class StudyPage:
    """`next_place` is what the next page is asked for with; empty where this is the last."""

    rows: tuple[StudyRow, ...]
    next_place: str


def page(
    c: sa.Connection, wanted: StudyFilter | None = None, after: str = "", limit: int = PAGE
) -> StudyPage:
    """Raises `ValueError` for an `after` that no page has given."""
    # Found in an index that has all that is asked for, so that even a filter that hardly anything
    # meets reads no row of the others.
    found = c.scalars(
        sa.select(studies.c.study_instance_uid)
        .where(*_conditions(wanted or StudyFilter(), after))
        .order_by(studies.c.first_received_at.desc(), studies.c.study_instance_uid.desc())
        .limit(limit + 1)
    ).all()
    by_uid = {row.study_instance_uid: row for row in rows(c, found[:limit])}
    shown = tuple(by_uid[uid] for uid in found[:limit])
    return StudyPage(shown, shown[-1].place if len(found) > limit else "")


def count(c: sa.Connection, wanted: StudyFilter | None = None) -> CappedCount:
    """How many studies there are of that kind, or that there are many."""
    matching = sa.select(sa.literal(1)).select_from(studies)
    return capped(c, matching.where(*_conditions(wanted or StudyFilter())))


def search(c: sa.Connection, beginning: str, limit: int = PAGE) -> tuple[StudyRow, ...]:
    """Studies by the beginning of a Study or Series Instance UID, or by a whole SOP Instance UID.

    Of very many some, in the order of their UIDs; none for what can be no UID.
    """
    given = beginning.strip()
    if not _UID_BEGINNING.fullmatch(given):
        return ()
    queries = (
        sa.select(studies.c.study_instance_uid).where(
            _begins(c, studies.c.study_instance_uid, given)
        ),
        sa.select(series.c.study_instance_uid).where(
            _begins(c, series.c.series_instance_uid, given)
        ),
        sa.select(series.c.study_instance_uid)
        .join(instances, instances.c.series_id == series.c.id)
        .where(instances.c.sop_instance_uid == given),
    )
    uids = {uid for query in queries for uid in c.scalars(query.limit(limit))}
    return rows(c, sorted(uids)[:limit])


def rows(c: sa.Connection, study_instance_uids: Sequence[str]) -> tuple[StudyRow, ...]:
    """Those of the studies that were received, in the order of their UIDs."""
    query = (
        sa.select(studies)
        .where(studies.c.study_instance_uid.in_(study_instance_uids))
        .order_by(studies.c.study_instance_uid)
    )
    return tuple(_row(row) for row in c.execute(query))


def _place(after: str) -> tuple[datetime, str]:
    if not after:
        return _LAST, ""
    at, _, uid = after.partition("_")
    received_at = datetime.fromisoformat(at)
    if received_at.tzinfo is None or not _UID_BEGINNING.fullmatch(uid):
        raise ValueError("this is no place in the list of studies")
    return received_at, uid


def _conditions(
    wanted: StudyFilter, after: str = ""
) -> list[sa.ColumnElement[bool] | sa.TextClause]:
    """The end of the time that is asked for is a place in the list too: no index is entered at a
    place and then read up to another one."""
    s = studies.c
    at, uid = min(_place(after), (wanted.received_until or _LAST, ""))
    newest = sa.tuple_(s.first_received_at, s.study_instance_uid)
    behind = newest < sa.tuple_(sa.literal(at, UtcDateTime), sa.literal(uid))
    found: list[sa.ColumnElement[bool] | sa.TextClause] = [behind]
    if wanted.verdict:
        found.append(s.verdict == wanted.verdict)
    if wanted.state is not None:
        found.append(_SOME.get(wanted.state, _NEVER))
    if wanted.modality:
        found.append(s.modalities.contains(f",{wanted.modality},", autoescape=True))
    if wanted.received_from is not None:
        found.append(s.first_received_at >= wanted.received_from)
    if wanted.decided is not None:
        found.append(_DECIDED if wanted.decided else s.decided == 0)
    return found


def _begins(c: sa.Connection, column: sa.Column[str], beginning: str) -> sa.ColumnElement[bool]:
    """Digits and dots only; the colon is what comes after the nine."""
    if c.dialect.name == "sqlite":
        return sa.and_(column >= beginning, column < f"{beginning}:")
    return column.like(f"{beginning}%")


def _row(row: sa.Row[Any]) -> StudyRow:
    counts = {state: getattr(row, state.value) for state in COUNTED_STATES}
    return StudyRow(
        study_instance_uid=row.study_instance_uid,
        first_received_at=row.first_received_at,
        last_received_at=row.last_received_at or row.first_received_at,
        series_count=row.series_count,
        instance_count=row.instance_count,
        modalities=tuple(part for part in row.modalities.split(",") if part),
        verdict=row.verdict,
        states={state: number for state, number in counts.items() if number},
        decided=row.decided,
    )
