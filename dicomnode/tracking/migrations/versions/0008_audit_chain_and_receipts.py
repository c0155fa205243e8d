"""The audit log becomes a chain that only grows; receipts of the gate.

A later migration that makes one of the two tables anew on SQLite has to make its triggers anew.
"""

from __future__ import annotations

import hashlib
import json
from datetime import UTC
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"

_CHUNK = 1000
_APPEND_ONLY = ("audit_events", "receipts")
_FUNCTION = "dicomnode_append_only"


def upgrade() -> None:
    op.add_column(
        "audit_events", sa.Column("sha256", sa.String(64), server_default="", nullable=False)
    )
    head = op.create_table(
        "audit_head",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("row_count", sa.Integer(), nullable=False),
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit_head")),
    )
    count, sha256 = _chain_what_is_there()
    # A process of an earlier version that still runs can't write rows without a hash then.
    with op.batch_alter_table("audit_events") as batch:
        batch.alter_column("sha256", server_default=None)
    op.bulk_insert(head, [{"id": 1, "row_count": count, "sha256": sha256}])
    _create_receipts()
    for table in _APPEND_ONLY:
        _guard(table)


def downgrade() -> None:
    if op.get_bind().dialect.name == "sqlite":
        for table in _APPEND_ONLY:
            for verb in ("update", "delete"):
                op.execute(f"DROP TRIGGER {table}_no_{verb}")
    else:
        op.execute(f"DROP FUNCTION {_FUNCTION} CASCADE")
    op.drop_table("receipts")
    op.drop_table("audit_head")
    op.drop_column("audit_events", "sha256")


def _create_receipts() -> None:
    op.create_table(
        "receipts",
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("study_instance_uid", sa.String(64), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("project", sa.String(64), server_default="", nullable=False),
        sa.Column("outcome", sa.String(16), nullable=False),
        sa.Column("key_id", sa.String(64), server_default="", nullable=False),
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.Column("document", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_receipts")),
    )
    op.create_index("ix_receipts_study_instance_uid", "receipts", ["study_instance_uid"])


def _chain_what_is_there() -> tuple[int, str]:
    """Number the rows without gaps and give each its hash; returns the head.

    A new number is never larger than the old one, so in this order none is taken yet.
    """
    connection = op.get_bind()
    events = sa.table(
        "audit_events",
        sa.column("id", sa.Integer),
        sa.column("at", sa.DateTime(timezone=True)),
        sa.column("event", sa.String),
        sa.column("subject", sa.String),
        sa.column("detail", sa.JSON),
        sa.column("sha256", sa.String),
    )
    lowest = connection.scalar(sa.select(sa.func.min(events.c.id)))
    if lowest is not None and lowest < 1:
        raise RuntimeError(f"audit_events has a row {lowest}: numbers begin with 1")
    count, sha256, last_id = 0, "0" * 64, 0
    while rows := _page(connection, events, last_id):
        for row in rows:
            count, sha256 = count + 1, _row_sha256(sha256, count + 1, row)
            change = events.update().where(events.c.id == row.id).values(id=count, sha256=sha256)
            connection.execute(change)
        last_id = rows[-1].id
    return count, sha256


def _page(connection: sa.Connection, events: Any, last_id: int) -> Any:
    query = sa.select(events).where(events.c.id > last_id).order_by(events.c.id).limit(_CHUNK)
    return connection.execute(query).all()


def _row_sha256(before: str, number: int, row: Any) -> str:
    at = row.at.replace(tzinfo=UTC) if row.at.tzinfo is None else row.at.astimezone(UTC)
    content = [before, number, at.isoformat(), row.event, row.subject, row.detail]
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode("ascii")).hexdigest()


def _guard(table: str) -> None:
    """Against accidents and careless scripts; who may drop triggers is found by the chain."""
    if op.get_bind().dialect.name == "sqlite":
        for verb in ("update", "delete"):
            op.execute(
                f"CREATE TRIGGER {table}_no_{verb} BEFORE {verb.upper()} ON {table} "
                f"BEGIN SELECT RAISE(ABORT, '{table} can only be appended to'); END"
            )
        return
    op.execute(
        f"CREATE OR REPLACE FUNCTION {_FUNCTION}() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN RAISE EXCEPTION '% can only be appended to', TG_TABLE_NAME; END $$"
    )
    op.execute(
        f"CREATE TRIGGER {table}_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON {table} "
        f"FOR EACH STATEMENT EXECUTE FUNCTION {_FUNCTION}()"
    )
