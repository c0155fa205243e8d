"""What others say that there is, and what is fetched from them."""

from __future__ import annotations

import sqlalchemy as sa

from dicomnode.tracking.columns import (
    key,
    partial,
    text,
    time,
    uid,
)
from dicomnode.tracking.schema.metadata import METADATA

# How many instances a series has, by what others say: one row for each that says so. The speaker
# is the AE title or name of a PACS, or the SOP Instance UID of a procedure step.
expected_counts = sa.Table(
    "expected_counts",
    METADATA,
    uid("study_instance_uid", primary_key=True),
    uid("series_instance_uid", primary_key=True),
    sa.Column("source", sa.String(16), primary_key=True),
    sa.Column("speaker", sa.String(64), primary_key=True),
    sa.Column("instance_count", sa.Integer, nullable=False),
    time("at"),
)

# Instances that a PACS said are available, until a revision holds them.
announced_instances = sa.Table(
    "announced_instances",
    METADATA,
    uid("study_instance_uid", primary_key=True),
    uid("series_instance_uid", primary_key=True),
    uid("sop_instance_uid", primary_key=True),
)

# Modality Performed Procedure Steps; their counts are believed when they are COMPLETED.
procedure_steps = sa.Table(
    "procedure_steps",
    METADATA,
    uid("sop_instance_uid", primary_key=True),
    sa.Column("status", sa.String(16), nullable=False),
    sa.Column("study_instance_uids", sa.JSON, nullable=False),
    # Series Instance UID -> number of instances.
    sa.Column("series_counts", sa.JSON, nullable=False),
    time("at"),
)

# How long each sender pauses within a series, learned from what it sent.
senders = sa.Table(
    "senders",
    METADATA,
    sa.Column("calling_ae_title", sa.String(64), primary_key=True),
    sa.Column("quiet_seconds", sa.Float, nullable=False),
    time("at"),
)

pulls = sa.Table(
    "pulls",
    METADATA,
    key(),
    sa.Column("source", sa.String(32), nullable=False),
    uid("study_instance_uid"),
    sa.Column("state", sa.String(16), nullable=False),
    sa.Column("attempts", sa.Integer, nullable=False),
    # What the source said there is, and what of it was here after the last attempt.
    sa.Column("expected_instances", sa.Integer, nullable=False, default=0, server_default="0"),
    sa.Column("received_instances", sa.Integer, nullable=False, default=0, server_default="0"),
    text("last_error"),
    time("created_at"),
    time("updated_at"),
    sa.UniqueConstraint("source", "study_instance_uid"),
    sa.Index("ix_pulls_source_state", "source", "state"),
    sa.Index("ix_pulls_study_instance_uid", "study_instance_uid"),
    partial("ix_pulls_unfinished", "state <> 'done'", "id"),
)
