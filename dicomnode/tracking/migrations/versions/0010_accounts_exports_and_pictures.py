"""Accounts with their logins and tokens, what left the house, what waits to leave, pictures."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"

_TIME = sa.DateTime(timezone=True)
# In the order in which they refer to each other.
_TABLES = (
    "accounts",
    "logins",
    "api_tokens",
    "exports",
    "exported_studies",
    "exported_instances",
    "held_objects",
    "notices",
)


def upgrade() -> None:
    op.add_column(
        "volumes",
        sa.Column("pictures", sa.JSON(), server_default=sa.text("'[]'"), nullable=False),
    )
    _create_accounts()
    _create_exports()
    _create_held_objects()
    _create_notices()


def downgrade() -> None:
    for table in reversed(_TABLES):
        op.drop_table(table)
    op.drop_column("volumes", "pictures")


def _create_accounts() -> None:
    op.create_table(
        "accounts",
        _number("id"),
        _text("name", 64),
        _text("role", 16),
        _text("password_hash", default=""),
        sa.Column("oidc_subject", sa.String(255)),
        sa.Column("is_enabled", sa.Boolean(), nullable=False),
        sa.Column("failed_logins", sa.Integer(), server_default="0", nullable=False),
        sa.Column("locked_until", _TIME),
        _time("created_at"),
        sa.PrimaryKeyConstraint("id", name="pk_accounts"),
        sa.UniqueConstraint("name", name="uq_accounts_name"),
        sa.UniqueConstraint("oidc_subject", name="uq_accounts_oidc_subject"),
    )
    op.create_table(
        "logins",
        _text("sha256", 64),
        _number("account_id"),
        _time("created_at"),
        _time("last_seen_at"),
        sa.PrimaryKeyConstraint("sha256", name="pk_logins"),
        *_foreign("logins", account_id="accounts.id"),
    )
    op.create_index("ix_logins_account_id", "logins", ["account_id"])
    op.create_table(
        "api_tokens",
        _number("id"),
        _text("sha256", 64),
        _text("name", 64),
        _number("account_id"),
        _text("role", 16),
        _time("created_at"),
        sa.Column("expires_at", _TIME),
        sa.Column("revoked_at", _TIME),
        sa.PrimaryKeyConstraint("id", name="pk_api_tokens"),
        sa.UniqueConstraint("sha256", name="uq_api_tokens_sha256"),
        *_foreign("api_tokens", account_id="accounts.id"),
    )
    op.create_index("ix_api_tokens_account_id", "api_tokens", ["account_id"])


def _create_exports() -> None:
    op.create_table(
        "exports",
        _number("id"),
        _time("at"),
        _text("project", 64),
        _text("destination", 255),
        _text("account", 64),
        sa.PrimaryKeyConstraint("id", name="pk_exports"),
    )
    op.create_index("ix_exports_project_destination", "exports", ["project", "destination"])
    op.create_table(
        "exported_studies",
        _number("id"),
        _number("export_id"),
        _text("study_instance_uid", 64),
        _number("receipt_number"),
        _text("state", 16),
        _number("instance_count"),
        _time("started_at"),
        sa.Column("left_at", _TIME),
        sa.PrimaryKeyConstraint("id", name="pk_exported_studies"),
        sa.UniqueConstraint(
            "export_id",
            "study_instance_uid",
            "receipt_number",
            name="uq_exported_studies_export_id_study_instance_uid_receipt_number",
        ),
        *_foreign("exported_studies", export_id="exports.id", receipt_number="receipts.number"),
    )
    op.create_index(
        "ix_exported_studies_study_instance_uid", "exported_studies", ["study_instance_uid"]
    )
    op.create_table(
        "exported_instances",
        _number("exported_study_id"),
        _text("sop_instance_uid", 64),
        _time("at"),
        sa.PrimaryKeyConstraint(
            "exported_study_id", "sop_instance_uid", name="pk_exported_instances"
        ),
        *_foreign("exported_instances", exported_study_id="exported_studies.id"),
    )


def _create_held_objects() -> None:
    op.create_table(
        "held_objects",
        _number("id"),
        _time("at"),
        _text("project", 64),
        _text("study_instance_uid", 64),
        _text("series_instance_uid", 64),
        _text("sop_instance_uid", 64),
        _text("sop_class_uid", 64),
        _text("transfer_syntax_uid", 64),
        _text("name", 80),
        _text("file_sha256", 64),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        _text("reason", default=""),
        _text("calling_ae_title", 64),
        _text("peer_address", 64),
        _text("state", 16),
        _time("updated_at"),
        sa.PrimaryKeyConstraint("id", name="pk_held_objects"),
        sa.UniqueConstraint("name", name="uq_held_objects_name"),
    )
    op.create_index(
        "ix_held_objects_state_study_instance_uid",
        "held_objects",
        ["state", "study_instance_uid"],
    )


def _create_notices() -> None:
    op.create_table(
        "notices",
        _number("id"),
        _text("topic", 32),
        _text("subject", 160),
        _time("first_seen_at"),
        sa.Column("told_at", _TIME),
        sa.PrimaryKeyConstraint("id", name="pk_notices"),
        sa.UniqueConstraint("topic", "subject", name="uq_notices_topic_subject"),
    )
    op.create_index("ix_notices_told_at", "notices", ["told_at"])


def _time(name: str) -> sa.Column[Any]:
    return sa.Column(name, _TIME, nullable=False)


def _text(name: str, length: int | None = None, *, default: str | None = None) -> sa.Column[Any]:
    kind = sa.Text() if length is None else sa.String(length)
    return sa.Column(name, kind, server_default=default, nullable=False)


def _number(name: str) -> sa.Column[Any]:
    return sa.Column(name, sa.Integer(), nullable=False)


def _foreign(table: str, **columns: str) -> list[sa.ForeignKeyConstraint]:
    return [
        sa.ForeignKeyConstraint(
            [column], [target], name=f"fk_{table}_{column}_{target.split('.')[0]}"
        )
        for column, target in columns.items()
    ]
