"""What was found in a series, and what people said of it."""

from __future__ import annotations

import sqlalchemy as sa

from dicomnode.tracking.columns import (
    counter,
    current,
    judgement,
    key,
    only_one_current,
    partial,
    text,
    time,
    title,
    uid,
)
from dicomnode.tracking.schema.metadata import METADATA

examinations = sa.Table(
    "examinations",
    METADATA,
    key(),
    sa.Column("series_id", sa.ForeignKey("series.id"), nullable=False, index=True),
    sa.Column("revision_id", sa.ForeignKey("revisions.id"), nullable=False, index=True),
    time("created_at"),
    # Why the examination itself failed: a sentence; empty for an examination that ended.
    text("failure"),
    title("software_version"),
    # What examined: networks, rules and thresholds together; if it is not the wanted one, the
    # verdict was made by another version.
    title("examiner_digest"),
    # What the choice of networks looks at in its volumes (`tracking.outdated`).
    sa.Column("subjects", sa.Text, nullable=False, default="[]", server_default="[]"),
    current(),
    only_one_current("examinations"),
    partial("ix_examinations_failed", "is_current AND failure <> ''", "id"),
)

# The verdict of a series: the worst of the volumes of its examination.
verdicts = sa.Table(
    "verdicts",
    METADATA,
    key(),
    sa.Column("series_id", sa.ForeignKey("series.id"), nullable=False),
    sa.Column("examination_id", sa.ForeignKey("examinations.id"), nullable=False, unique=True),
    *judgement(),
    time("created_at"),
    current(),
    # By how many people, of this very examination.
    counter("decided_by"),
    # Whether a project wants a person for its kind, by the tables of this digest (`kinds`).
    sa.Column(
        "is_asked_by_kind", sa.Boolean, nullable=False, default=False, server_default=sa.false()
    ),
    title("kinds_digest"),
    only_one_current("verdicts"),
    partial("ix_verdicts_review", "is_current", "kind", "decided_by", "examination_id"),
    partial(
        "ix_verdicts_asked",
        "is_current AND is_asked_by_kind",
        "decided_by",
        "examination_id",
    ),
    partial("ix_verdicts_unmarked", "is_current", "kinds_digest"),
)

volumes = sa.Table(
    "volumes",
    METADATA,
    key(),
    sa.Column("examination_id", sa.ForeignKey("examinations.id"), nullable=False),
    # 1, 2, ... in the order in which they were examined.
    sa.Column("number", sa.Integer, nullable=False),
    text("label"),
    sa.Column("images", sa.Integer, nullable=False),
    sa.Column("evidence", sa.JSON, nullable=False),
    *judgement(),
    # What a person looks at (`domain.Picture`): views and files in the results folder.
    sa.Column("pictures", sa.JSON, nullable=False, default=list, server_default=sa.text("'[]'")),
    sa.UniqueConstraint("examination_id", "number"),
)

# Images of which no volume was made. Rows are never deleted, so their counts only grow.
refusals = sa.Table(
    "refusals",
    METADATA,
    key(),
    sa.Column("examination_id", sa.ForeignKey("examinations.id"), nullable=False, index=True),
    sa.Column("code", sa.String(32), nullable=False, index=True),
    sa.Column("sentence", sa.Text, nullable=False),
    text("attribute"),
    sa.Column("attribute_values", sa.JSON, nullable=False),
    sa.Column("images", sa.Integer, nullable=False),
    time("created_at"),
    # Of the examination that counts now.
    sa.Column("is_current", sa.Boolean, nullable=False, server_default=sa.true()),
    counter("decided_by"),
    partial("ix_refusals_review", "is_current", "code", "decided_by", "examination_id"),
)

segmentations = sa.Table(
    "segmentations",
    METADATA,
    key(),
    sa.Column("volume_id", sa.ForeignKey("volumes.id"), nullable=False, unique=True),
    # The kinds of segments 1, 2, ...
    sa.Column("segments", sa.JSON, nullable=False),
    uid("sop_instance_uid", index=True),
    uid("series_instance_uid", index=True),
    sa.Column("path", sa.Text, nullable=False),
    sa.Column("sha256", sa.String(64), nullable=False),
    # Empty where it was written before this was kept: it is not known when it comes back.
    sa.Column("pixel_sha256", sa.String(64), nullable=False, server_default=""),
)

# What people said of a series: rows are added, never changed. The last one of an account counts.
human_decisions = sa.Table(
    "human_decisions",
    METADATA,
    key(),
    sa.Column("series_id", sa.ForeignKey("series.id"), nullable=False, index=True),
    sa.Column("kind", sa.String(16), nullable=False),
    sa.Column("account", sa.String(64), nullable=False),
    text("note"),
    time("at"),
    # What the person saw.
    sa.Column("revision_digest", sa.String(64), nullable=False),
    sa.Column("examination_id", sa.ForeignKey("examinations.id"), nullable=False),
)
