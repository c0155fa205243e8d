"""Copies of studies without their faces, with the proof of each."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0019"
down_revision = "0018"


def upgrade() -> None:
    op.create_table(
        "study_copies",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("study_instance_uid", sa.String(64), nullable=False),
        sa.Column("copy_study_instance_uid", sa.String(64), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("asked_by", sa.String(64), nullable=False),
        sa.Column("plan", sa.JSON, nullable=False),
        sa.Column("left_out", sa.JSON, nullable=False),
        sa.Column("sentence", sa.Text, nullable=False, server_default=""),
        sa.Column("job_id", sa.Text, nullable=False, server_default=""),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_study_copies"),
        sa.UniqueConstraint(
            "copy_study_instance_uid", name="uq_study_copies_copy_study_instance_uid"
        ),
    )
    op.create_index("ix_study_copies_study_instance_uid", "study_copies", ["study_instance_uid"])
    _index("asked", "state = 'asked'")
    _index("unfinished", "state <> 'done' AND state <> 'cancelled'")
    op.create_table(
        "series_copies",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("study_copy_id", sa.Integer, nullable=False),
        sa.Column("source_series_instance_uid", sa.String(64), nullable=False),
        sa.Column("label", sa.Text, nullable=False, server_default=""),
        sa.Column("way", sa.String(16), nullable=False),
        sa.Column("series_instance_uid", sa.String(64), nullable=False),
        sa.Column("images", sa.Integer, nullable=False),
        sa.Column("objections", sa.JSON, nullable=False),
        sa.Column("proof", sa.JSON),
        sa.Column("pictures", sa.JSON, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_series_copies"),
        sa.ForeignKeyConstraint(
            ["study_copy_id"],
            ["study_copies.id"],
            name="fk_series_copies_study_copy_id_study_copies",
        ),
        sa.UniqueConstraint("series_instance_uid", name="uq_series_copies_series_instance_uid"),
    )
    op.create_index("ix_series_copies_study_copy_id", "series_copies", ["study_copy_id"])
    op.create_index(
        "ix_series_copies_source_series_instance_uid",
        "series_copies",
        ["source_series_instance_uid"],
    )


def downgrade() -> None:
    op.drop_table("series_copies")
    op.drop_table("study_copies")


def _index(name: str, condition: str) -> None:
    where = sa.text(condition)
    op.create_index(
        f"ix_study_copies_{name}",
        "study_copies",
        ["id"],
        sqlite_where=where,
        postgresql_where=where,
    )
