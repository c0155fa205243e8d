"""What the list of studies shows, kept in `studies` by every transaction that changes a series.

Told anew from the rows of the study's series, never counted on, so a summary can't drift. That is
done at the end of the transaction (`Database.begin`): whoever holds a study's row then waits for no
series' row, so there is no circle.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from itertools import groupby
from typing import Any

import sqlalchemy as sa

from dicomnode.domain import VerdictKind, worst_verdict
from dicomnode.tracking.schema import series, studies, verdicts
from dicomnode.tracking.states import SeriesState, series_now, set_aside_decided_by, state_now

# The option of a connection with the series that its transaction has changed.
TOUCHED = "dicomnode_touched_series"

COUNTED_STATES = tuple(state for state in SeriesState if state is not SeriesState.NOT_RECEIVED)
_ENDED = (SeriesState.EXAMINED, SeriesState.REFUSED)
_AT_A_TIME = 400  # SQLite takes a bounded number of parameters per statement


def touch(c: sa.Connection, series_id: int) -> None:
    """The series has changed: its study is told anew at the end of a transaction of
    `Database.begin`, in any other one at once."""
    touched = c.get_execution_options().get(TOUCHED)
    if touched is None:
        _tell_anew(c, [series_id])
    else:
        touched.add(series_id)


def write_touched(c: sa.Connection) -> None:
    touched = c.get_execution_options().get(TOUCHED)
    if touched:
        ids = sorted(touched)
        touched.clear()
        _tell_anew(c, ids)


def tell_all_anew(c: sa.Connection) -> None:
    """Every study of the database."""
    after = ""
    query = sa.select(studies.c.study_instance_uid).order_by(studies.c.study_instance_uid)
    while uids := c.scalars(query.where(studies.c.study_instance_uid > after).limit(5000)).all():
        for few in _few(uids):
            _tell(c, few)
        after = uids[-1]


def _tell_anew(c: sa.Connection, series_ids: Sequence[int]) -> None:
    uids: set[str] = set()
    for ids in _few(series_ids):
        uids.update(c.scalars(sa.select(series.c.study_instance_uid).where(series.c.id.in_(ids))))
    for few in _few(sorted(uids)):
        # Looked at only after the lock: what another transaction did to the study is seen then.
        c.execute(
            sa.select(studies.c.study_instance_uid)
            .where(studies.c.study_instance_uid.in_(few))
            .order_by(studies.c.study_instance_uid)
            .with_for_update(key_share=True)
        )
        _tell(c, few)


def _tell(c: sa.Connection, study_instance_uids: Collection[str]) -> None:
    query = (
        sa.select(
            series.c.study_instance_uid,
            series.c.modality,
            series.c.last_received_at,
            series.c.instance_count,
            state_now().label("state"),
            verdicts.c.kind,
            verdicts.c.decided_by,
            set_aside_decided_by().label("set_aside_decided_by"),
        )
        .select_from(series_now())
        .where(series.c.study_instance_uid.in_(study_instance_uids))
        .order_by(series.c.study_instance_uid)
    )
    rows = c.execute(query).all()
    told = [
        {"uid": uid} | _summary(list(of_study))
        for uid, of_study in groupby(rows, key=lambda row: row.study_instance_uid)
    ]
    if told:
        c.execute(_UPDATE, told)


def _summary(rows: Sequence[sa.Row[Any]]) -> dict[str, Any]:
    states = [row.state for row in rows]
    modalities = sorted({row.modality for row in rows if row.modality})
    return {
        "last_received_at": max(row.last_received_at for row in rows),
        "series_count": len(rows),
        "instance_count": sum(row.instance_count for row in rows),
        "modalities": f",{','.join(modalities)}," if modalities else "",
        "verdict": _verdict(rows),
        "decided": sum(bool(row.decided_by or row.set_aside_decided_by) for row in rows),
        **{state.value: states.count(state.value) for state in COUNTED_STATES},
    }


def _verdict(rows: Sequence[sa.Row[Any]]) -> str:
    """The worst, empty until every series has ended; images that were set aside prove nothing."""
    if any(row.state not in _ENDED for row in rows):
        return ""
    kinds = [VerdictKind(row.kind) for row in rows if row.kind is not None]
    if any(row.kind is None or row.set_aside_decided_by is not None for row in rows):
        kinds.append(VerdictKind.UNDETERMINED)
    return worst_verdict(kinds).value


def _few(values: Sequence[Any]) -> Iterator[Sequence[Any]]:
    return (values[start : start + _AT_A_TIME] for start in range(0, len(values), _AT_A_TIME))


_TOLD = (
    "last_received_at",
    "series_count",
    "instance_count",
    "modalities",
    "verdict",
    "decided",
    *(state.value for state in COUNTED_STATES),
)
_UPDATE = (
    studies.update()
    .where(studies.c.study_instance_uid == sa.bindparam("uid"))
    .values({name: sa.bindparam(name) for name in _TOLD})
)
