"""The export ledger: what left, when, to whom, under which receipt, by whom.

A row is there before the first byte of a study leaves, and each instance is noted when it has
left. So what a killed export was at is known: a row that is `leaving`, and instances that have no
row. At most one of those may have left all the same: the one that was in flight.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

import sqlalchemy as sa

from dicomnode.tracking import audit
from dicomnode.tracking.database import insert_missing
from dicomnode.tracking.gate_schema import exported_instances, exported_studies, exports


class ExportState(StrEnum):
    """LEAVING: under way, or the process that was at it died. STOPPED: ended before all left."""

    LEAVING = "leaving"
    LEFT = "left"
    STOPPED = "stopped"


@dataclass(frozen=True)
class Export:
    """Who lets out, for which project, and where to: a folder, or the name of an archive."""

    project: str
    destination: str
    account: str


@dataclass(frozen=True)
class Leaving:
    """A study under way; `remaining` are the SOP Instance UIDs that have still to leave."""

    export_id: int
    exported_study_id: int
    remaining: frozenset[str]


@dataclass(frozen=True)
class ExportedStudy:
    """`instance_count` are the instances that were to leave, `left_count` those that have left."""

    id: int
    export_id: int
    project: str
    destination: str
    account: str
    study_instance_uid: str
    receipt_number: int
    state: ExportState
    instance_count: int
    left_count: int
    started_at: datetime
    left_at: datetime | None


@dataclass(frozen=True)
class LeftInstance:
    sop_instance_uid: str
    at: datetime


def begin(
    c: sa.Connection,
    export: Export,
    study_instance_uid: str,
    receipt_number: int,
    named: Collection[str],
    *,
    export_id: int | None = None,
    again: bool = False,
    alike: Collection[int] = (),
    now: datetime | None = None,
) -> Leaving | None:
    """Note that the instances named are about to leave; None where all of them have left before.

    What left for this destination under the same receipt, or one that is `alike` (their numbers),
    is not to leave again, unless `again`. A
    row that the same account left unfinished goes on (`again`: only one of the same run); those of
    others end as STOPPED. `export_id` is the run, None for one that begins with this study.
    """
    at = now or datetime.now(UTC)
    gone = set() if again else _gone(c, export, study_instance_uid, {receipt_number, *alike})
    remaining = frozenset(named) - gone
    if not remaining:
        return None
    going_on = _of_run(export_id) if again else _unfinished(export)
    found = _newest_row(c, export, study_instance_uid, receipt_number, going_on)
    if not again:
        _stop_others(c, export, study_instance_uid, found.id if found else 0)
    if found is not None:
        count = len(_recorded(c, found.id) | remaining)
        _set(c, found.id, state=ExportState.LEAVING.value, instance_count=count, left_at=None)
        leaving = Leaving(found.export_id, found.id, remaining)
    else:
        run = export_id if export_id is not None else _insert_export(c, export, at)
        row = {
            "export_id": run,
            "study_instance_uid": study_instance_uid,
            "receipt_number": receipt_number,
            "state": ExportState.LEAVING.value,
            "instance_count": len(remaining),
            "started_at": at,
        }
        leaving = Leaving(run, _insert(c, exported_studies, row), remaining)
    detail = asdict(export) | {"receipt": receipt_number, "instances": len(remaining)}
    audit.append(c, "study leaves", study_instance_uid, detail, at)
    return leaving


def record(
    c: sa.Connection, exported_study_id: int, sop_instance_uid: str, now: datetime | None = None
) -> None:
    """Note that an instance has left."""
    at = now or datetime.now(UTC)
    row = {"exported_study_id": exported_study_id, "sop_instance_uid": sop_instance_uid, "at": at}
    insert_missing(c, exported_instances, [row])


def finish(c: sa.Connection, exported_study_id: int, now: datetime | None = None) -> None:
    """All that was to leave of it has left: as many as are on record."""
    at, left = now or datetime.now(UTC), len(_recorded(c, exported_study_id))
    _set(c, exported_study_id, state=ExportState.LEFT.value, instance_count=left, left_at=at)
    _note(c, "study left", exported_study_id, at, {})


def stop(
    c: sa.Connection, exported_study_id: int, reason: str, now: datetime | None = None
) -> None:
    """It ended before all that was to leave has left."""
    _set(c, exported_study_id, state=ExportState.STOPPED.value)
    detail = {"reason": reason}
    _note(c, "study stopped leaving", exported_study_id, now or datetime.now(UTC), detail)


def stop_unfinished(c: sa.Connection, account_prefix: str) -> int:
    """Of accounts that begin so, end what a process that died was at; how many studies."""
    query = (
        sa.select(exported_studies.c.id)
        .join(exports, exports.c.id == exported_studies.c.export_id)
        .where(
            sa.text("exported_studies.state = 'leaving'"),  # in the words of its partial index
            exports.c.account.startswith(account_prefix, autoescape=True),
        )
    )
    ids = c.scalars(query).all()
    for each in ids:
        stop(c, each, "the process that was at it died")
    return len(ids)


def newest(
    c: sa.Connection,
    limit: int = 100,
    *,
    before: int | None = None,
    study_instance_uid: str | None = None,
    project: str | None = None,
    destination: str | None = None,
) -> list[ExportedStudy]:
    """A page, the newest first; `before` is the id of the last row of the page before."""
    wanted = (
        (exported_studies.c.study_instance_uid, study_instance_uid),
        (exports.c.project, project),
        (exports.c.destination, destination),
    )
    conditions = [column == value for column, value in wanted if value is not None]
    if before is not None:
        conditions.append(exported_studies.c.id < before)
    query = _select().where(*conditions).order_by(exported_studies.c.id.desc()).limit(limit)
    return [_exported_study(row) for row in c.execute(query)]


def one(c: sa.Connection, exported_study_id: int) -> ExportedStudy | None:
    row = c.execute(_select().where(exported_studies.c.id == exported_study_id)).one_or_none()
    return None if row is None else _exported_study(row)


def instances_of(
    c: sa.Connection, exported_study_id: int, limit: int = 1000, after: str = ""
) -> list[LeftInstance]:
    """A page of what has left, in the order of the UIDs, behind `after`."""
    i = exported_instances.c
    query = (
        sa.select(i.sop_instance_uid, i.at)
        .where(i.exported_study_id == exported_study_id, i.sop_instance_uid > after)
        .order_by(i.sop_instance_uid)
        .limit(limit)
    )
    return [LeftInstance(*row) for row in c.execute(query)]


def _gone(
    c: sa.Connection, export: Export, study_uid: str, receipt_numbers: Collection[int]
) -> set[str]:
    query = (
        sa.select(exported_instances.c.sop_instance_uid)
        .join(exported_studies, exported_studies.c.id == exported_instances.c.exported_study_id)
        .join(exports, exports.c.id == exported_studies.c.export_id)
        .where(_to(export, study_uid), exported_studies.c.receipt_number.in_(receipt_numbers))
    )
    return set(c.scalars(query))


def _unfinished(export: Export) -> sa.ColumnElement[bool]:
    """What the same account left unfinished, in whichever run."""
    is_open = exported_studies.c.state != ExportState.LEFT.value
    return sa.and_(exports.c.account == export.account, is_open)


def _of_run(export_id: int | None) -> sa.ColumnElement[bool]:
    return exported_studies.c.export_id == (export_id or 0)


def _newest_row(
    c: sa.Connection,
    export: Export,
    study_uid: str,
    receipt_number: int,
    condition: sa.ColumnElement[bool],
) -> sa.Row[int, int] | None:
    s = exported_studies.c
    query = (
        sa.select(s.id, s.export_id)
        .join(exports, exports.c.id == s.export_id)
        .where(_to(export, study_uid), s.receipt_number == receipt_number, condition)
        .order_by(s.id.desc())
    )
    return c.execute(query.limit(1)).first()


def _stop_others(c: sa.Connection, export: Export, study_uid: str, own_id: int) -> None:
    s = exported_studies.c
    query = (
        sa.select(s.id)
        .join(exports, exports.c.id == s.export_id)
        .where(_to(export, study_uid), s.state == ExportState.LEAVING.value, s.id != own_id)
    )
    for each in c.scalars(query).all():
        stop(c, each, "another export of the study began")


def _to(export: Export, study_uid: str) -> sa.ColumnElement[bool]:
    return sa.and_(
        exported_studies.c.study_instance_uid == study_uid,
        exports.c.project == export.project,
        exports.c.destination == export.destination,
    )


def _recorded(c: sa.Connection, exported_study_id: int) -> set[str]:
    i = exported_instances.c
    query = sa.select(i.sop_instance_uid).where(i.exported_study_id == exported_study_id)
    return set(c.scalars(query))


def _insert_export(c: sa.Connection, export: Export, at: datetime) -> int:
    return _insert(c, exports, asdict(export) | {"at": at})


def _insert(c: sa.Connection, table: sa.Table, row: dict[str, Any]) -> int:
    return int(c.execute(table.insert().values(row).returning(table.c.id)).scalar_one())


def _set(c: sa.Connection, exported_study_id: int, **values: Any) -> None:
    of_it = exported_studies.c.id == exported_study_id
    c.execute(exported_studies.update().where(of_it).values(values))


def _note(
    c: sa.Connection, event: str, exported_study_id: int, at: datetime, detail: dict[str, Any]
) -> None:
    found = one(c, exported_study_id)
    if found is not None:
        detail |= {
            "project": found.project,
            "destination": found.destination,
            "account": found.account,
            "receipt": found.receipt_number,
            "instances": found.left_count,
        }
        audit.append(c, event, found.study_instance_uid, detail, at)


def _select() -> sa.Select[Any]:
    left = (
        sa.select(sa.func.count())
        .select_from(exported_instances)
        .where(exported_instances.c.exported_study_id == exported_studies.c.id)
        .correlate(exported_studies)
        .scalar_subquery()
    )
    return sa.select(
        exported_studies,
        exports.c.project,
        exports.c.destination,
        exports.c.account,
        left.label("left_count"),
    ).join(exports, exports.c.id == exported_studies.c.export_id)


def _exported_study(row: sa.Row[Any]) -> ExportedStudy:
    return ExportedStudy(**(dict(row._mapping) | {"state": ExportState(row.state)}))
