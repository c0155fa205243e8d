"""That the disk fills, and that it has room again: one audit event each time this changes."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

import sqlalchemy as sa

from dicomnode.tracking import audit
from dicomnode.tracking.audit_chain import JsonValue
from dicomnode.tracking.schema import audit_events

FILLING, ROOM = "disk filling", "disk has room"


def note(
    c: sa.Connection, *, is_filling: bool, detail: Mapping[str, JsonValue], now: datetime
) -> bool:
    """Whether that is new."""
    event = FILLING if is_filling else ROOM
    if event == (_newest(c) or ROOM):
        return False
    audit.append(c, event, "node.data_folder", detail, now)
    return True


def is_standing() -> sa.ColumnElement[bool]:
    """An event that says that it fills, while no later one says that it has room."""
    e, later = audit_events.c, audit_events.alias().c
    room = sa.select(sa.func.max(later.id)).where(later.event == ROOM).scalar_subquery()
    return sa.and_(e.event == FILLING, e.id > sa.func.coalesce(room, 0))


def _newest(c: sa.Connection) -> str | None:
    e = audit_events.c
    query = sa.select(e.event).where(e.event.in_([FILLING, ROOM])).order_by(e.id.desc())
    return c.scalar(query.limit(1))
