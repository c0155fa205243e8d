"""What waits for a person: examinations that count now and on which too few people have decided.

Verdicts and set-asides keep beside them how many people have decided (`decisions`), so each kind of
verdict or code is one range of an index, and a page is put together from a few of each.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from dicomnode.domain import RefusalCode, VerdictKind
from dicomnode.tracking.paging import CappedCount, capped
from dicomnode.tracking.schema import examinations, refusals, series, verdicts

PAGE = 50


@dataclass(frozen=True)
class ReviewFilter:
    """Which verdicts and refusal codes want a person, and how many different ones they want.

    `is_by_kind`: also series that are marked because of their kind (`kinds`).
    """

    kinds: tuple[VerdictKind, ...] = (VerdictKind.FACE_VISIBLE, VerdictKind.UNDETERMINED)
    codes: tuple[RefusalCode, ...] = tuple(RefusalCode)
    persons: int = 1
    is_by_kind: bool = False


@dataclass(frozen=True)
class ReviewItem:
    """A series that waits for a person, since its examination.

    `verdict` is empty where no volume was made, `codes` are those of images that were set aside.
    `why` is the first sentence of the verdict, or of what was set aside. `is_asked_by_kind`: a
    project wants a person for every series of its kind. `decided_by`: how many people have decided
    so far.
    """

    examination_id: int
    since: datetime
    study_instance_uid: str
    series_instance_uid: str
    modality: str
    verdict: str
    codes: tuple[str, ...]
    why: str
    is_asked_by_kind: bool
    decided_by: int


@dataclass(frozen=True)
class ReviewPage:
    """`next_after` is what the next page is asked for with; None where this is the last."""

    items: tuple[ReviewItem, ...]
    next_after: int | None


def page(
    c: sa.Connection, wanted: ReviewFilter | None = None, after: int = 0, limit: int = PAGE
) -> ReviewPage:
    """What waits behind the examination `after`, the oldest first."""
    ids = _ids(c, wanted or ReviewFilter(), after, limit + 1)
    items = tuple(_items(c, ids[:limit]))
    return ReviewPage(items, ids[limit - 1] if len(ids) > limit else None)


def next_for_review(
    c: sa.Connection, after: int, wanted: ReviewFilter | None = None
) -> ReviewItem | None:
    """The one that comes after an examination, which need not wait itself."""
    ids = _ids(c, wanted or ReviewFilter(), after, 1)
    return next(iter(_items(c, ids)), None)


def previous_for_review(
    c: sa.Connection, before: int, wanted: ReviewFilter | None = None
) -> ReviewItem | None:
    """The one that comes before it."""
    ids = _ids(c, wanted or ReviewFilter(), before, 1, backwards=True)
    return next(iter(_items(c, ids)), None)


def count(c: sa.Connection, wanted: ReviewFilter | None = None) -> CappedCount:
    """How many wait, or that many do; one with both a verdict and a code is counted twice."""
    ranges = [query for query, _ in _ranges(wanted or ReviewFilter())]
    return capped(c, sa.select(sa.union_all(*ranges).subquery())) if ranges else CappedCount(0)


def _ids(
    c: sa.Connection, wanted: ReviewFilter, place: int, limit: int, *, backwards: bool = False
) -> Sequence[int]:
    """The examinations on one side of a place, the nearest first."""
    nearest = [
        query.where(key < place if backwards else key > place)
        .order_by(key.desc() if backwards else key)
        .limit(limit)
        .subquery()
        for query, key in _ranges(wanted)
    ]
    if not nearest:
        return []
    found = set(c.scalars(sa.union_all(*(sa.select(each) for each in nearest))))
    return sorted(found, reverse=backwards)[:limit]


def _ranges(
    wanted: ReviewFilter,
) -> Iterable[tuple[sa.Select[Any], sa.Column[int]]]:
    """Each of them a range of a partial index, whose condition stands there in its words."""
    for people in range(wanted.persons):
        for table, column, names in (
            (verdicts, verdicts.c.kind, wanted.kinds),
            (refusals, refusals.c.code, wanted.codes),
        ):
            current, key = sa.text(f"{table.name}.is_current"), table.c.examination_id
            for name in names:
                matches = (column == name.value, table.c.decided_by == people)
                yield sa.select(key).where(current, *matches), key
        if wanted.is_by_kind:
            asked, key = sa.text("is_current AND is_asked_by_kind"), verdicts.c.examination_id
            yield sa.select(key).where(asked, verdicts.c.decided_by == people), key


def _items(c: sa.Connection, examination_ids: Sequence[int]) -> Iterable[ReviewItem]:
    """In the order of the ids."""
    e, v, r, s = examinations.c, verdicts.c, refusals.c, series.c
    columns = (e.id, e.created_at, s.study_instance_uid, s.series_instance_uid, s.modality)
    judged: sa.Select[Any] = (
        sa.select(*columns, v.kind, v.reasons, v.is_asked_by_kind, v.decided_by)
        .join(series, s.id == e.series_id)
        .outerjoin(verdicts, v.examination_id == e.id)
        .where(e.id.in_(examination_ids))
    )
    set_aside: sa.Select[Any] = (
        sa.select(r.examination_id, r.code, r.sentence, r.decided_by)
        .where(r.examination_id.in_(examination_ids))
        .order_by(r.examination_id, r.id)
    )
    found = {row.id: row for row in c.execute(judged)}
    aside: dict[int, list[sa.Row[Any]]] = {}
    for row in c.execute(set_aside):
        aside.setdefault(row.examination_id, []).append(row)
    for key in examination_ids:
        yield _item(found[key], aside.get(key, []))


def _item(row: sa.Row[Any], aside: Sequence[sa.Row[Any]]) -> ReviewItem:
    sentences = [*(row.reasons or ()), *(each.sentence for each in aside)]
    return ReviewItem(
        examination_id=row.id,
        since=row.created_at,
        study_instance_uid=row.study_instance_uid,
        series_instance_uid=row.series_instance_uid,
        modality=row.modality,
        verdict=row.kind or "",
        codes=tuple(dict.fromkeys(each.code for each in aside)),
        why=next(iter(sentences), ""),
        is_asked_by_kind=bool(row.is_asked_by_kind),
        decided_by=aside[0].decided_by if row.decided_by is None else row.decided_by,
    )
