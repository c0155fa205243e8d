"""Which verdicts other software, networks, rules or thresholds made than are in use now.

An examination keeps the digest of what examined it, and what the choice of networks looks at in its
volumes, so that what would be chosen now is known without reading an image or an evidence again.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from dicomnode.domain import Subject, WantedDigest
from dicomnode.tracking.schema import examinations, revisions, series

_PAGE = 1000

# A failed one is left to a person, who looks at its reason and retries it.
_COUNTS = sa.and_(examinations.c.is_current, examinations.c.failure == "")


@dataclass(frozen=True)
class Examined:
    """The examination that counts for a series now."""

    examination_id: int
    revision_id: int
    revision_digest: str
    series_instance_uid: str
    examiner_digest: str
    subjects: tuple[Subject, ...]
    removed_at: datetime | None = None

    def is_outdated(self, wanted: WantedDigest) -> bool:
        return self.examiner_digest != wanted(self.subjects)


def encode(subjects: Iterable[Subject]) -> str:
    """As a column keeps it; what is the same in all volumes stands there once."""
    found = list(subjects)
    if len(set(found)) == 1:
        del found[1:]
    values = [[one.modality, one.body_part, one.spacing_mm] for one in found]
    return json.dumps(values, separators=(",", ":"))


def decode(text: str) -> tuple[Subject, ...]:
    return tuple(Subject(modality, part, tuple(mm)) for modality, part, mm in json.loads(text))


def count(c: sa.Connection, wanted: WantedDigest) -> int:
    """How many series have a verdict, or a refusal, of another version; a walk over the table.

    All of them, without those of which more has arrived: these are few, and joining the others to
    their series takes ten times as long as counting them.
    """
    e = examinations.c
    query = (
        sa.select(e.examiner_digest, e.subjects, sa.func.count())
        .where(_COUNTS)
        .group_by(e.examiner_digest, e.subjects)
    )
    arriving = sa.and_(series.c.id == e.series_id, sa.text("series.is_arriving"))
    every, growing = c.execute(query).tuples(), c.execute(query.join(series, arriving)).tuples()
    counts = Counter({(digest, text): number for digest, text, number in every})
    counts.subtract({(digest, text): number for digest, text, number in growing})
    return sum(
        number for (digest, text), number in counts.items() if digest != wanted(decode(text))
    )


def examined_now(
    c: sa.Connection, after: int = 0, *, study: str = "", series_uid: str = ""
) -> list[Examined]:
    """A page of the examinations that count now, in the order of their ids, behind `after`."""
    e, r = examinations.c, revisions.c
    columns = (
        e.id.label("examination_id"),
        e.revision_id,
        r.digest.label("revision_digest"),
        series.c.series_instance_uid,
        e.examiner_digest,
        e.subjects,
        series.c.removed_at,
    )
    query = sa.select(*columns).select_from(_of_now()).where(_COUNTS, e.id > after)
    if study:
        query = query.where(series.c.study_instance_uid == study)
    if series_uid:
        query = query.where(series.c.series_instance_uid == series_uid)
    rows = c.execute(query.order_by(e.id).limit(_PAGE)).mappings()
    return [Examined(**{**row, "subjects": decode(row["subjects"])}) for row in rows]


def _of_now() -> sa.FromClause:
    """Without series of which more has arrived: that is examined anyway, with what is now."""
    e, r = examinations, revisions
    whole = sa.and_(series.c.id == r.c.series_id, sa.text("NOT series.is_arriving"))
    return e.join(r, sa.and_(r.c.id == e.c.revision_id, r.c.is_current)).join(series, whole)
