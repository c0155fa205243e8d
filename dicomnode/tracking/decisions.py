"""What people decided of a series: rows that are only ever added.

The last row of an account is what it says now; taking a decision back is a row as well. A decision
is of the revision and the examination that the person saw: after a new one it is stale.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

import sqlalchemy as sa

from dicomnode.domain import Role
from dicomnode.errors import DecisionError
from dicomnode.tracking import accounts, audit, study_summaries
from dicomnode.tracking.account_names import account_name
from dicomnode.tracking.schema import (
    examinations,
    human_decisions,
    refusals,
    revisions,
    series,
    verdicts,
)

_LONGEST_NOTE = 500


class DecisionKind(StrEnum):
    """What a person can say of a series."""

    DEFACED = "defaced"
    NOT_DEFACED = "not_defaced"
    NOT_APPLICABLE = "not_applicable"
    REVOKED = "revoked"


@dataclass(frozen=True)
class HumanDecision:
    """One row. `note` is the person's own words, which name no patient.

    The revision and the examination are those that the person saw.
    """

    id: int
    kind: DecisionKind
    account: str
    note: str
    at: datetime
    revision_digest: str
    examination_id: int

    def is_of(self, revision_digest: str | None, examination_id: int | None) -> bool:
        """Whether the person saw what stands there now."""
        return (self.revision_digest, self.examination_id) == (revision_digest, examination_id)


def record(
    c: sa.Connection,
    series_instance_uid: str,
    kind: DecisionKind,
    *,
    account: str,
    note: str = "",
    seen_examination_id: int | None = None,
    now: datetime | None = None,
) -> HumanDecision:
    """Add a decision on what counts for the series now, with its audit event.

    `seen_examination_id` is what the person looked at; None: whatever counts now. Raises
    `DecisionError` where there is nothing to decide on, it has changed meanwhile, or `account` is
    no reviewer's.
    """
    account, note = account_name(account, DecisionError), _checked_note(kind, note)
    if reason := accounts.why_not(c, account, Role.REVIEWER):
        raise DecisionError(f"{account} can't decide: {reason}")
    series_id = _locked_series(c, series_instance_uid)
    if kind is DecisionKind.REVOKED:
        digest, examination_id = _standing(c, series_id, series_instance_uid, account)
    else:
        digest, examination_id = _examined_now(
            c, series_id, series_instance_uid, seen_examination_id
        )
    values = {
        "kind": kind.value,
        "account": account,
        "revision_digest": digest,
        "examination_id": examination_id,
    }
    at = now or datetime.now(UTC)
    insert = human_decisions.insert().values(series_id=series_id, note=note, at=at, **values)
    row = c.execute(insert.returning(human_decisions)).one()
    audit.append(c, "human decision", series_instance_uid, values | {"decision": row.id}, at)
    _count(c, series_id)
    study_summaries.touch(c, series_id)
    return _decision(row)


def standing(
    c: sa.Connection, series_ids: Collection[int]
) -> Mapping[int, Sequence[HumanDecision]]:
    """By series: the last decision of each account, without those taken back; stale ones too."""
    d = human_decisions
    query = sa.select(d).where(d.c.series_id.in_(series_ids)).order_by(d.c.series_id, d.c.id)
    last: dict[int, dict[str, HumanDecision]] = {}
    for row in c.execute(query):
        last.setdefault(row.series_id, {})[row.account] = _decision(row)
    return {
        series_id: tuple(
            sorted(
                (one for one in of_accounts.values() if one.kind is not DecisionKind.REVOKED),
                key=lambda one: one.id,
            )
        )
        for series_id, of_accounts in last.items()
    }


def history(c: sa.Connection, series_instance_uid: str) -> tuple[HumanDecision, ...]:
    """Every row of a series, the oldest first. Raises `DecisionError` for an unknown series."""
    ids = _ids(c, series_instance_uid)
    d = human_decisions
    query = sa.select(d).where(d.c.series_id.in_(ids)).order_by(d.c.id)
    return tuple(_decision(row) for row in c.execute(query))


def examination_now(c: sa.Connection, series_instance_uid: str) -> int | None:
    """The examination that can be decided on now; None where there is none."""
    with suppress(DecisionError):
        (series_id,) = _ids(c, series_instance_uid)[:1]
        return _examined_now(c, series_id, series_instance_uid, None)[1]
    return None


def _checked_note(kind: DecisionKind, given: str) -> str:
    note = given.strip()
    if not note and kind is not DecisionKind.REVOKED:
        raise DecisionError("a decision needs a note that says why, without a patient's name")
    if len(note) > _LONGEST_NOTE or not note.isprintable():
        raise DecisionError(f"a note is one line of up to {_LONGEST_NOTE} characters")
    return note


def _ids(c: sa.Connection, series_instance_uid: str) -> Sequence[int]:
    ids = c.scalars(
        sa.select(series.c.id).where(series.c.series_instance_uid == series_instance_uid)
    ).all()
    if not ids:
        raise DecisionError(f"{series_instance_uid}: no series of this UID was received")
    return ids


def _locked_series(c: sa.Connection, series_instance_uid: str) -> int:
    """No examination is recorded for it until the end of the transaction."""
    ids = _ids(c, series_instance_uid)
    if len(ids) > 1:
        raise DecisionError(
            f"{series_instance_uid}: {len(ids)} studies have a series of this UID, so it isn't "
            "clear which one was looked at"
        )
    c.execute(sa.select(series.c.id).where(series.c.id == ids[0]).with_for_update())
    return ids[0]


def _examined_now(
    c: sa.Connection, series_id: int, series_instance_uid: str, seen_examination_id: int | None
) -> tuple[str, int]:
    e, r = examinations.c, revisions.c
    whole = series.c.instance_count == series.c.revised_count
    query = (
        sa.select(r.digest.label("revision_digest"), e.id.label("examination_id"))
        .join(revisions, r.id == e.revision_id)
        .join(series, sa.and_(series.c.id == e.series_id, whole))
        .where(e.series_id == series_id, e.is_current, r.is_current, e.failure == "")
    )
    row = c.execute(query).one_or_none()
    if row is None:
        raise DecisionError(
            f"{series_instance_uid}: it has no examination of all that was received, so there is "
            f"nothing to decide on yet (dicomnode status {series_instance_uid})"
        )
    if seen_examination_id not in (None, row.examination_id):
        raise DecisionError(
            f"{series_instance_uid}: examination {row.examination_id} has replaced "
            f"{seen_examination_id}, which you saw: look again"
        )
    return row.revision_digest, row.examination_id


def _count(c: sa.Connection, series_id: int) -> None:
    """Beside what waits for a person: how many have decided on the examination that counts now."""
    now = sa.select(examinations.c.id).where(
        examinations.c.series_id == series_id, examinations.c.is_current
    )
    examination_id = c.scalar(now)
    people = sum(
        one.examination_id == examination_id for one in standing(c, [series_id]).get(series_id, ())
    )
    for table in (verdicts, refusals):
        mine = table.c.examination_id == examination_id
        c.execute(table.update().where(mine).values(decided_by=people))


def _standing(
    c: sa.Connection, series_id: int, series_instance_uid: str, account: str
) -> tuple[str, int]:
    for decision in standing(c, [series_id]).get(series_id, ()):
        if decision.account == account:
            return decision.revision_digest, decision.examination_id
    raise DecisionError(
        f"{series_instance_uid}: no decision of {account} stands there that could be taken back "
        "(each account takes back its own)"
    )


def _decision(row: sa.Row[Any]) -> HumanDecision:
    return HumanDecision(
        id=row.id,
        kind=DecisionKind(row.kind),
        account=row.account,
        note=row.note,
        at=row.at,
        revision_digest=row.revision_digest,
        examination_id=row.examination_id,
    )
