"""The tables of people and of what leaves: accounts, the export ledger, what waits at the gate.

The rules of `schema` hold here too.
"""

from __future__ import annotations

import sqlalchemy as sa

from dicomnode.tracking.columns import key, partial, text, time, uid
from dicomnode.tracking.schema import METADATA as METADATA

# Who may use the review desk and the HTTP door (`tracking.accounts`).
accounts = sa.Table(
    "accounts",
    METADATA,
    key(),
    sa.Column("name", sa.String(64), nullable=False, unique=True),
    sa.Column("role", sa.String(16), nullable=False),
    # Argon2; empty for an account that logs in elsewhere.
    text("password_hash"),
    sa.Column("oidc_subject", sa.String(255), unique=True),
    sa.Column("is_enabled", sa.Boolean, nullable=False),
    sa.Column("failed_logins", sa.Integer, nullable=False, default=0, server_default="0"),
    time("locked_until", nullable=True),
    time("created_at"),
)

# Who is logged in: the SHA-256 of what the browser holds.
logins = sa.Table(
    "logins",
    METADATA,
    sa.Column("sha256", sa.String(64), primary_key=True),
    sa.Column("account_id", sa.ForeignKey("accounts.id"), nullable=False, index=True),
    time("created_at"),
    time("last_seen_at"),
)

# For programs; a token acts for its account, with a role that is no more than the account's.
api_tokens = sa.Table(
    "api_tokens",
    METADATA,
    key(),
    sa.Column("sha256", sa.String(64), nullable=False, unique=True),
    sa.Column("name", sa.String(64), nullable=False),
    sa.Column("account_id", sa.ForeignKey("accounts.id"), nullable=False, index=True),
    sa.Column("role", sa.String(16), nullable=False),
    time("created_at"),
    time("expires_at", nullable=True),
    time("revoked_at", nullable=True),
)

# The export ledger: what left, when, to whom, under which receipt.
exports = sa.Table(
    "exports",
    METADATA,
    key(),
    time("at"),
    sa.Column("project", sa.String(64), nullable=False),
    sa.Column("destination", sa.String(255), nullable=False),
    sa.Column("account", sa.String(64), nullable=False),
    sa.Index("ix_exports_project_destination", "project", "destination"),
    sa.Index("ix_exports_destination", "destination"),
)

# A row is there before the first byte leaves.
exported_studies = sa.Table(
    "exported_studies",
    METADATA,
    key(),
    sa.Column("export_id", sa.ForeignKey("exports.id"), nullable=False),
    uid("study_instance_uid", index=True),
    sa.Column("receipt_number", sa.ForeignKey("receipts.number"), nullable=False),
    sa.Column("state", sa.String(16), nullable=False),
    sa.Column("instance_count", sa.Integer, nullable=False),
    time("started_at"),
    time("left_at", nullable=True),
    sa.UniqueConstraint("export_id", "study_instance_uid", "receipt_number"),
    partial("ix_exported_studies_leaving", "state = 'leaving'", "id"),
)

exported_instances = sa.Table(
    "exported_instances",
    METADATA,
    sa.Column("exported_study_id", sa.ForeignKey("exported_studies.id"), primary_key=True),
    uid("sop_instance_uid", primary_key=True),
    time("at"),
)

# Objects that somebody sent through the gate and that may not leave, or not yet.
held_objects = sa.Table(
    "held_objects",
    METADATA,
    key(),
    time("at"),
    sa.Column("project", sa.String(64), nullable=False),
    uid("study_instance_uid"),
    uid("series_instance_uid"),
    uid("sop_instance_uid"),
    uid("sop_class_uid"),
    uid("transfer_syntax_uid"),
    sa.Column("name", sa.String(80), nullable=False, unique=True),
    sa.Column("file_sha256", sa.String(64), nullable=False),
    sa.Column("size_bytes", sa.BigInteger, nullable=False),
    text("reason"),
    sa.Column("calling_ae_title", sa.String(64), nullable=False),
    sa.Column("peer_address", sa.String(64), nullable=False),
    sa.Column("state", sa.String(16), nullable=False),
    time("updated_at"),
    sa.Index("ix_held_objects_state_study_instance_uid", "state", "study_instance_uid"),
)

# What a person should know of, and when people were told.
notices = sa.Table(
    "notices",
    METADATA,
    key(),
    sa.Column("topic", sa.String(32), nullable=False),
    sa.Column("subject", sa.String(160), nullable=False),
    time("first_seen_at"),
    time("told_at", nullable=True),
    sa.UniqueConstraint("topic", "subject"),
    sa.Index("ix_notices_told_at", "told_at"),
)
