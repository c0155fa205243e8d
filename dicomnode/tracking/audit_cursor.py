"""Up to which row the audit log was sent to the site's collector; kept as a row of `notices`."""

from __future__ import annotations

from datetime import UTC, datetime

import sqlalchemy as sa

from dicomnode.tracking.audit import AuditEvent
from dicomnode.tracking.gate_schema import notices
from dicomnode.tracking.schema import audit_events

_TOPIC = "syslog"


def unsent(c: sa.Connection, limit: int) -> list[AuditEvent]:
    """The next events in their order; all of them at first, so a collector gets the whole chain."""
    rows = c.execute(
        sa.select(audit_events)
        .where(audit_events.c.id > _sent(c))
        .order_by(audit_events.c.id)
        .limit(limit)
    )
    return [
        AuditEvent(row.event, row.subject, row.detail, row.at, row.id, row.sha256) for row in rows
    ]


def mark_sent(c: sa.Connection, number: int) -> None:
    now = datetime.now(UTC)
    values = {"subject": str(number), "told_at": now}
    updated = c.execute(notices.update().where(notices.c.topic == _TOPIC).values(values))
    if not updated.rowcount:
        c.execute(notices.insert().values(topic=_TOPIC, first_seen_at=now, **values))


def _sent(c: sa.Connection) -> int:
    return int(c.scalar(sa.select(notices.c.subject).where(notices.c.topic == _TOPIC)) or 0)
