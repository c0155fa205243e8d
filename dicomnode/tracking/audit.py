"""What happened that a person may have to answer for: appended, never changed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import sqlalchemy as sa

from dicomnode.tracking.schema import audit_events

JsonValue = str | int | float | bool | None


@dataclass(frozen=True)
class AuditEvent:
    """`subject` is a UID, an AE title or an address; `detail` holds no patient attribute."""

    event: str
    subject: str
    detail: Mapping[str, JsonValue]
    at: datetime


def append(
    c: sa.Connection,
    event: str,
    subject: str,
    detail: Mapping[str, JsonValue] | None = None,
    at: datetime | None = None,
) -> None:
    append_all(c, [AuditEvent(event, subject, detail or {}, at or datetime.now(UTC))])


def append_all(c: sa.Connection, events: Sequence[AuditEvent]) -> None:
    rows = [
        {"at": e.at, "event": e.event, "subject": e.subject[:128], "detail": dict(e.detail)}
        for e in events
    ]
    if rows:
        c.execute(audit_events.insert(), rows)


def newest(c: sa.Connection, limit: int = 100, event: str | None = None) -> list[AuditEvent]:
    query = sa.select(audit_events).order_by(audit_events.c.id.desc()).limit(limit)
    if event is not None:
        query = query.where(audit_events.c.event == event)
    return [AuditEvent(row.event, row.subject, row.detail, row.at) for row in c.execute(query)]
