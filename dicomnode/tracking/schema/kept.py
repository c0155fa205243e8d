"""What is never changed: the audit log and receipts."""

from __future__ import annotations

import sqlalchemy as sa

from dicomnode.tracking.columns import (
    key,
    time,
    title,
    uid,
)
from dicomnode.tracking.schema.metadata import METADATA

audit_events = sa.Table(
    "audit_events",
    METADATA,
    key(),
    time("at"),
    sa.Column("event", sa.String(64), nullable=False),
    sa.Column("subject", sa.String(128), nullable=False),
    sa.Column("detail", sa.JSON, nullable=False),
    # Over its content and the hash of the row before (`tracking.audit_chain`); `id` counts the
    # rows without a gap. Triggers of migration 0008 refuse to change or delete a row.
    sa.Column("sha256", sa.String(64), nullable=False),
    # The newest of a kind are found without sorting all of them.
    sa.Index("ix_audit_events_event", "event", "id"),
    sa.Index("ix_audit_events_subject", "subject", "id"),
)

# One row: the end of the chain of `audit_events`. Who appends locks it.
audit_head = sa.Table(
    "audit_head",
    METADATA,
    key(),
    sa.Column("row_count", sa.Integer, nullable=False),
    sa.Column("sha256", sa.String(64), nullable=False),
)

# Kept as they were signed (`gate.receipts`); triggers refuse to change or delete one.
receipts = sa.Table(
    "receipts",
    METADATA,
    # 1, 2, ... without a gap: each receipt names the hash of the one before.
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
    uid("study_instance_uid", index=True),
    time("at"),
    title("project"),
    sa.Column("outcome", sa.String(16), nullable=False),
    title("key_id"),
    sa.Column("sha256", sa.String(64), nullable=False),
    sa.Column("document", sa.Text, nullable=False),
)
