"""What senders say of their series, and which signal found one whole."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.create_table(
        "expected_counts",
        sa.Column("study_instance_uid", sa.String(length=64), nullable=False),
        sa.Column("series_instance_uid", sa.String(length=64), nullable=False),
        sa.Column("source", sa.String(length=16), nullable=False),
        sa.Column("instance_count", sa.Integer(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint(
            "study_instance_uid", "series_instance_uid", "source", name=op.f("pk_expected_counts")
        ),
    )
    op.create_table(
        "procedure_steps",
        sa.Column("sop_instance_uid", sa.String(length=64), nullable=False),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("study_instance_uids", sa.JSON(), nullable=False),
        sa.Column("series_counts", sa.JSON(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("sop_instance_uid", name=op.f("pk_procedure_steps")),
    )
    op.create_table(
        "senders",
        sa.Column("calling_ae_title", sa.String(length=64), nullable=False),
        sa.Column("quiet_seconds", sa.Float(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("calling_ae_title", name=op.f("pk_senders")),
    )
    for table, column in _added():
        op.add_column(table, column)


def downgrade() -> None:
    for table, column in reversed(_added()):
        op.drop_column(table, column.name)
    for table in ("senders", "procedure_steps", "expected_counts"):
        op.drop_table(table)


def _added() -> list[tuple[str, sa.Column[object]]]:
    """What was received before says nothing of its size, and nobody noted what completed it."""
    title = sa.String(length=64)
    return [
        ("instances", sa.Column("acquisition_number", sa.Integer(), nullable=True)),
        ("instances", sa.Column("images_in_acquisition", sa.Integer(), nullable=True)),
        ("instances", sa.Column("number_of_frames", sa.Integer(), nullable=True)),
        (
            "instances",
            sa.Column("concatenation_uid", title, server_default="", nullable=False),
        ),
        ("instances", sa.Column("in_concatenation_total", sa.Integer(), nullable=True)),
        ("revisions", sa.Column("completed_by", title, server_default="", nullable=False)),
        ("revisions", sa.Column("completion", sa.Text(), server_default="", nullable=False)),
    ]
