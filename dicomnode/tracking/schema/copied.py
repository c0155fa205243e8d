"""Copies of studies without their faces."""

from __future__ import annotations

import sqlalchemy as sa

from dicomnode.tracking.columns import key, partial, text, time, uid
from dicomnode.tracking.schema.metadata import METADATA

# What waits, runs or failed; a query has to say it in these words.
UNFINISHED = "state <> 'done' AND state <> 'cancelled'"

study_copies = sa.Table(
    "study_copies",
    METADATA,
    key(),
    # What is copied, and what the copy is called.
    uid("study_instance_uid", index=True),
    uid("copy_study_instance_uid", unique=True),
    sa.Column("state", sa.String(16), nullable=False),
    # An account, or the project whose policy asks.
    sa.Column("asked_by", sa.String(64), nullable=False),
    # By whose settings headers are de-identified; empty: they stay as they came.
    sa.Column("project", sa.String(32), nullable=False, server_default=""),
    # Which revisions are copied, and which of their volumes as they are.
    sa.Column("plan", sa.JSON, nullable=False),
    # [Series Instance UID, sentence] of all that has no copy.
    sa.Column("left_out", sa.JSON, nullable=False),
    # Why it failed.
    text("sentence"),
    # Of the engine; empty until it is queued.
    text("job_id"),
    time("created_at"),
    time("updated_at"),
    partial("ix_study_copies_asked", "state = 'asked'", "id"),
    partial("ix_study_copies_unfinished", UNFINISHED, "id"),
)

# A row is there before the first object of the series is received. It outlives the original.
series_copies = sa.Table(
    "series_copies",
    METADATA,
    key(),
    sa.Column("study_copy_id", sa.ForeignKey("study_copies.id"), nullable=False, index=True),
    uid("source_series_instance_uid", index=True),
    # Of the volume in its series.
    text("label"),
    sa.Column("way", sa.String(16), nullable=False),
    uid("series_instance_uid", unique=True),
    sa.Column("images", sa.Integer, nullable=False),
    # Why the proof is not given: sentences, which hold the copy.
    sa.Column("objections", sa.JSON, nullable=False),
    # `domain.DefacingProof`; none where no face was removed.
    sa.Column("proof", sa.JSON),
    # Before and after (`domain.Picture`).
    sa.Column("pictures", sa.JSON, nullable=False),
)
