"""The hash chain of the audit log, and its check.

A row's hash is the SHA-256 of a JSON array in ASCII without spaces, keys sorted:
[hash of the row before, number, time (UTC, ISO 8601), event, subject, detail]. Before the first
row stand 64 zeros. Migration 0008 has its own copy of this rule: databases were written by it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa

from dicomnode.tracking.schema import audit_events, audit_head

JsonValue = str | int | float | bool | None
START = "0" * 64


@dataclass(frozen=True)
class AuditHead:
    """How many rows there are, and the hash of the last one."""

    row_count: int
    sha256: str


@dataclass(frozen=True)
class AuditCheck:
    """What the check of the chain found.

    `first_wrong` is the number of the first row that is not what was written there, and `fault`
    a sentence; None and empty where the chain is whole. `rows` were found right before that.
    """

    rows: int
    sha256: str
    first_wrong: int | None = None
    fault: str = ""


def row_sha256(
    before: str,
    number: int,
    at: datetime,
    event: str,
    subject: str,
    detail: Mapping[str, JsonValue],
) -> str:
    content = [before, number, at.astimezone(UTC).isoformat(), event, subject, detail]
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode("ascii")).hexdigest()


def verify(c: sa.Connection, witnesses: Sequence[AuditHead] = ()) -> AuditCheck:
    """Follow the chain from its first row to the head.

    `witnesses` are heads that were kept elsewhere, as in receipts: the chain has to go through
    each. Without one, somebody who can write the database can forge all of it consistently.
    """
    seen = {witness.row_count: witness.sha256 for witness in witnesses}
    last, kept = AuditHead(0, START), None
    # One statement is one view of the database: rows and head belong together.
    for row in c.execute(_rows_with_head()):
        kept = AuditHead(row.row_count, row.head_sha256)
        if row.id is None:
            break
        if fault := _fault(row, last, kept, seen):
            return AuditCheck(last.row_count, last.sha256, last.row_count + 1, fault)
        last = AuditHead(row.id, row.sha256)
    if fault := _fault_at_the_end(last, kept, max(seen, default=0)):
        return AuditCheck(last.row_count, last.sha256, last.row_count + 1, fault)
    return AuditCheck(last.row_count, last.sha256)


def _rows_with_head() -> sa.Select[Any]:
    return (
        sa.select(
            audit_head.c.row_count,
            audit_head.c.sha256.label("head_sha256"),
            audit_events,
        )
        .select_from(audit_head.outerjoin(audit_events, sa.true()))
        .where(audit_head.c.id == 1)
        .order_by(audit_events.c.id)
        .execution_options(yield_per=1000)
    )


def _fault(row: sa.Row[Any], last: AuditHead, kept: AuditHead, witnesses: Mapping[int, str]) -> str:
    number = last.row_count + 1
    if row.id > number:
        return f"row {number} was removed: row {row.id} stands in its place"
    if row.id < number:
        return f"row {row.id} was inserted before the first one"
    if number > kept.row_count:
        return f"row {number} was inserted: the head counts {kept.row_count} rows"
    expected = row_sha256(last.sha256, number, row.at, row.event, row.subject, row.detail)
    if row.sha256 != expected:
        return f"row {number} was edited, or isn't the one that followed row {last.row_count}"
    if witnesses.get(number, row.sha256) != row.sha256:
        return f"row {number}, or one before it, was written anew: a receipt has another hash of it"
    return ""


def _fault_at_the_end(last: AuditHead, kept: AuditHead | None, witnessed: int) -> str:
    if kept is None:
        return "the head of the chain was removed"
    if kept.row_count > last.row_count:
        return f"{_rows(last.row_count + 1, kept.row_count)} removed from the end"
    if kept.sha256 != last.sha256:
        return f"the head was edited: row {last.row_count} has another hash"
    if witnessed > last.row_count:
        return f"{_rows(last.row_count + 1, witnessed)} removed: a receipt counts more"
    return ""


def _rows(first: int, last: int) -> str:
    return f"row {first} was" if first == last else f"rows {first} to {last} were"
