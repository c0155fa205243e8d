"""What happened that a person may have to answer for: appended, never changed.

The rows are a chain: each has the SHA-256 over its content and the hash of the row before. A row
of its own holds the head, the number of rows and the last hash, so a cut-off end is seen too.
Whoever appends locks the head until its transaction ends; so `Database.begin` collects the events
and writes them last. That keeps the lock short, and nobody who holds it waits for another one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa

from dicomnode.errors import DatabaseError
from dicomnode.tracking.audit_chain import AuditHead, JsonValue, row_sha256
from dicomnode.tracking.schema import audit_events, audit_head

# The option of a connection with the list of what its transaction is still to write.
PENDING = "dicomnode_audit_events"

# Made once: whoever holds the lock builds no statements.
_LOCK = (
    sa.select(audit_head.c.row_count, audit_head.c.sha256)
    .where(audit_head.c.id == 1)
    .with_for_update()
)
_ADVANCE = audit_head.update().where(audit_head.c.id == 1)


@dataclass(frozen=True)
class AuditEvent:
    """`subject` is a UID, an AE title or an address; `detail` holds no patient attribute.

    `number` is its place in the chain, from 1, and `sha256` its hash, once it is written.
    """

    event: str
    subject: str
    detail: Mapping[str, JsonValue]
    at: datetime
    number: int = 0
    sha256: str = ""


def append(
    c: sa.Connection,
    event: str,
    subject: str,
    detail: Mapping[str, JsonValue] | None = None,
    at: datetime | None = None,
) -> None:
    append_all(c, [AuditEvent(event, subject, detail or {}, at or datetime.now(UTC))])


def append_all(c: sa.Connection, events: Sequence[AuditEvent]) -> None:
    """Written at the end of the transaction where it is one of `Database.begin`, else now."""
    pending = c.get_execution_options().get(PENDING)
    if pending is None:
        _write(c, events)
    else:
        pending.extend(events)


def write_pending(c: sa.Connection) -> None:
    """Write what this transaction has collected; the head stays locked from here on."""
    pending = c.get_execution_options().get(PENDING)
    if pending:
        events = tuple(pending)
        pending.clear()
        _write(c, events)


def locked_head(c: sa.Connection) -> AuditHead:
    """The head after all that was appended; nobody else appends until the transaction ends.

    SQLite needs no lock: a writing transaction is alone. Raises `DatabaseError` where it is gone.
    """
    write_pending(c)
    return _lock(c)


def newest(
    c: sa.Connection,
    limit: int = 100,
    event: str | None = None,
    subject: str | None = None,
    before: int | None = None,
) -> list[AuditEvent]:
    """Newest first; `before` is the number of the last one of the page before."""
    query = sa.select(audit_events).order_by(audit_events.c.id.desc()).limit(limit)
    if event is not None:
        query = query.where(audit_events.c.event == event)
    if subject is not None:
        query = query.where(audit_events.c.subject == subject)
    if before is not None:
        query = query.where(audit_events.c.id < before)
    return [
        AuditEvent(row.event, row.subject, row.detail, row.at, row.id, row.sha256)
        for row in c.execute(query)
    ]


def _write(c: sa.Connection, events: Sequence[AuditEvent]) -> None:
    if not events:
        return
    head, rows = _lock(c), []
    for event in events:
        row = _row(head, event)
        rows.append(row)
        head = AuditHead(row["id"], row["sha256"])
    c.execute(audit_events.insert(), rows)
    c.execute(_ADVANCE, {"row_count": head.row_count, "sha256": head.sha256})


def _row(head: AuditHead, e: AuditEvent) -> dict[str, Any]:
    number, subject, detail = head.row_count + 1, e.subject[:128], dict(e.detail)
    return {
        "id": number,
        "at": e.at,
        "event": e.event,
        "subject": subject,
        "detail": detail,
        "sha256": row_sha256(head.sha256, number, e.at, e.event, subject, detail),
    }


def _lock(c: sa.Connection) -> AuditHead:
    row = c.execute(_LOCK).first()
    if row is None:
        raise DatabaseError(
            "the head of the audit log is gone, so nothing can be appended: somebody changed the "
            "database by hand (dicomnode audit verify)"
        )
    return AuditHead(row.row_count, row.sha256)
