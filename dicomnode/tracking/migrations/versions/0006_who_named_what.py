"""Counts by who says so, announced instances one by one, and indexes for large sites."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"

_UIDS = ("study_instance_uid", "series_instance_uid")


def upgrade() -> None:
    """The counts of notifications go: they never said which instances they were of."""
    _make_counts_again(with_speaker=True)
    op.create_table(
        "announced_instances",
        *(_uid(name) for name in (*_UIDS, "sop_instance_uid")),
        sa.PrimaryKeyConstraint(*_UIDS, "sop_instance_uid", name=op.f("pk_announced_instances")),
    )
    op.create_index(
        op.f("ix_segmentations_series_instance_uid"), "segmentations", ["series_instance_uid"]
    )
    op.create_index(
        "ix_examinations_current_examiner_digest",
        "examinations",
        ["examiner_digest"],
        sqlite_where=sa.text("is_current"),
        postgresql_where=sa.text("is_current"),
    )


def downgrade() -> None:
    op.drop_index("ix_examinations_current_examiner_digest", table_name="examinations")
    op.drop_index(op.f("ix_segmentations_series_instance_uid"), table_name="segmentations")
    op.drop_table("announced_instances")
    _make_counts_again(with_speaker=False)


def _make_counts_again(*, with_speaker: bool) -> None:
    """SQLite can't change a primary key. Of several speakers the largest count stays."""
    op.rename_table("expected_counts", "earlier_counts")
    if op.get_bind().dialect.name == "postgresql":
        op.execute("ALTER TABLE earlier_counts RENAME CONSTRAINT pk_expected_counts TO pk_earlier")
    speaker = [sa.Column("speaker", sa.String(64), nullable=False)] if with_speaker else []
    key = (*_UIDS, "source", *(column.name for column in speaker))
    op.create_table(
        "expected_counts",
        *map(_uid, _UIDS),
        sa.Column("source", sa.String(16), nullable=False),
        *speaker,
        sa.Column("instance_count", sa.Integer(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint(*key, name=op.f("pk_expected_counts")),
    )
    into, of = "instance_count, at", "max(instance_count), max(at)"
    if with_speaker:
        into, of = f"speaker, {into}", f"'', {of}"
    same = "study_instance_uid, series_instance_uid, source"
    op.execute(
        f"INSERT INTO expected_counts ({same}, {into}) SELECT {same}, {of} "
        f"FROM earlier_counts WHERE source <> 'IAN' GROUP BY {same}"
    )
    op.drop_table("earlier_counts")


def _uid(name: str) -> sa.Column[str]:
    return sa.Column(name, sa.String(64), nullable=False)
