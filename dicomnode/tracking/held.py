"""Objects that somebody sent through the gate's DICOM door and that may not leave, or not yet.

The bytes lie in a spool of their own (`gate-waiting`), under a name made of a hash. A row is
written before the sender is told that its object waits. Rows stay when an object is forwarded or
discarded; the bytes don't.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

import sqlalchemy as sa

from dicomnode.errors import GateError
from dicomnode.tracking import audit
from dicomnode.tracking.gate_schema import held_objects


class HeldState(StrEnum):
    """WAITING is looked at again and again; CHANGED can never leave; the last two are ends."""

    WAITING = "waiting"
    CHANGED = "changed"
    FORWARDED = "forwarded"
    DISCARDED = "discarded"


OPEN = (HeldState.WAITING.value, HeldState.CHANGED.value)


@dataclass(frozen=True)
class HeldFile:
    """What came: which object for which project, from whom, and under which name it lies."""

    project: str
    study_instance_uid: str
    series_instance_uid: str
    sop_instance_uid: str
    sop_class_uid: str
    transfer_syntax_uid: str
    name: str
    file_sha256: str
    size_bytes: int
    calling_ae_title: str
    peer_address: str


@dataclass(frozen=True)
class HeldObject:
    id: int
    at: datetime
    file: HeldFile
    reason: str
    state: HeldState
    updated_at: datetime


def hold(
    c: sa.Connection, file: HeldFile, state: HeldState, reason: str, now: datetime | None = None
) -> None:
    """Note that it waits, and why; the same object that comes again has the same row."""
    at = now or datetime.now(UTC)
    changing = {"state": state.value, "reason": reason, "updated_at": at}
    known = held_objects.c.name == file.name
    # Its bytes may have gone and come again since, under another file meta.
    there = {"file_sha256": file.file_sha256, "size_bytes": file.size_bytes}
    if c.execute(held_objects.update().where(known).values(changing | there)).rowcount == 0:
        c.execute(held_objects.insert().values(asdict(file) | changing | {"at": at}))
    _note(c, "object held at the gate", file, at, state=state.value)


def look_again(c: sa.Connection, held_id: int, state: HeldState, reason: str) -> None:
    """What holds it now; nothing is written where that is what held it before."""
    row = held_objects.c
    changed = sa.or_(row.reason != reason, row.state != state.value)
    values = {"state": state.value, "reason": reason, "updated_at": datetime.now(UTC)}
    c.execute(held_objects.update().where(row.id == held_id, changed).values(values))


def hold_study(c: sa.Connection, study_instance_uid: str, project: str, reason: str) -> None:
    """What holds all that waits of a study now; nothing is written where it was that before."""
    row = held_objects.c
    waits = (
        row.state == HeldState.WAITING.value,
        row.study_instance_uid == study_instance_uid,
        row.project == project,
        row.reason != reason,
    )
    values = {"reason": reason, "updated_at": datetime.now(UTC)}
    c.execute(held_objects.update().where(*waits).values(values))


def forwarded(c: sa.Connection, held: HeldObject, now: datetime | None = None) -> None:
    _end(c, held, HeldState.FORWARDED, now or datetime.now(UTC))


def discard(
    c: sa.Connection, held_id: int, *, account: str, now: datetime | None = None
) -> HeldObject:
    """A person settles it: it never leaves. Raises `GateError` where nothing of this id waits."""
    row = c.execute(sa.select(held_objects).where(held_objects.c.id == held_id)).one_or_none()
    if row is None or row.state not in OPEN:
        raise GateError(f"no object {held_id} waits at the gate (dicomnode gate waiting)")
    held = _held(row)
    _end(c, held, HeldState.DISCARDED, now or datetime.now(UTC), account=account)
    return held


def studies_waiting(
    c: sa.Connection, limit: int, after: tuple[str, str] = ("", "")
) -> list[tuple[str, str]]:
    """A page of (Study Instance UID, project) of what waits, in that order, behind `after`."""
    study, project = held_objects.c.study_instance_uid, held_objects.c.project
    behind = sa.or_(study > after[0], sa.and_(study == after[0], project > after[1]))
    query = (
        sa.select(study, project)
        .where(held_objects.c.state == HeldState.WAITING.value, study >= after[0], behind)
        .group_by(study, project)
        .order_by(study, project)
    )
    return [(row[0], row[1]) for row in c.execute(query.limit(limit))]


def waiting_of(
    c: sa.Connection, study_instance_uid: str, project: str, after: int, limit: int
) -> list[HeldObject]:
    """A page of what waits of a study, in the order in which it came, behind the id `after`."""
    row = held_objects.c
    query = sa.select(held_objects).where(
        row.state == HeldState.WAITING.value,
        row.study_instance_uid == study_instance_uid,
        row.project == project,
        row.id > after,
    )
    return [_held(one) for one in c.execute(query.order_by(row.id).limit(limit))]


def newest(
    c: sa.Connection,
    limit: int = 100,
    *,
    before: int | None = None,
    states: Sequence[HeldState] = (HeldState.WAITING, HeldState.CHANGED),
) -> list[HeldObject]:
    """A page of what waits, the newest first; `before` is the id of the last row seen."""
    row = held_objects.c
    query = sa.select(held_objects).where(row.state.in_([state.value for state in states]))
    if before is not None:
        query = query.where(row.id < before)
    return [_held(one) for one in c.execute(query.order_by(row.id.desc()).limit(limit))]


def names_open(c: sa.Connection, names: Sequence[str]) -> set[str]:
    """Those of the files' `names` that still wait; the others are of no use any more."""
    row = held_objects.c
    query = sa.select(row.name).where(row.name.in_(names), row.state.in_(OPEN))
    return set(c.scalars(query))


def _end(c: sa.Connection, held: HeldObject, state: HeldState, at: datetime, **detail: str) -> None:
    values = {"state": state.value, "updated_at": at}
    c.execute(held_objects.update().where(held_objects.c.id == held.id).values(values))
    _note(c, f"held object {state}", held.file, at, **detail)


def _note(c: sa.Connection, event: str, file: HeldFile, at: datetime, **detail: str) -> None:
    known = {
        "project": file.project,
        "study": file.study_instance_uid,
        "file_sha256": file.file_sha256,
        "calling_ae_title": file.calling_ae_title,
        "peer": file.peer_address,
    }
    audit.append(c, event, file.sop_instance_uid, known | detail, at)


_FILE_COLUMNS = tuple(HeldFile.__dataclass_fields__)


def _held(row: sa.Row[Any]) -> HeldObject:
    values = row._mapping
    return HeldObject(
        id=row.id,
        at=row.at,
        file=HeldFile(**{name: values[name] for name in _FILE_COLUMNS}),
        reason=row.reason,
        state=HeldState(row.state),
        updated_at=row.updated_at,
    )
