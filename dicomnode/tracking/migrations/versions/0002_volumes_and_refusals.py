"""Several volumes per examination, and what was set aside.

An examination of before becomes one with volume 1, without a label, or with one refusal; either
is of all images of its revision. Back again nothing fits: the results go, and everything is
examined anew.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    _create_volumes()
    _create_refusals()
    _move_volumes()
    _move_refusals()
    _hang_segmentations_on_volumes()
    for column in ("evidence", "refusal"):
        op.drop_column("examinations", column)


def _create_volumes() -> None:
    op.create_table(
        "volumes",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("examination_id", sa.Integer(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("label", sa.Text(), server_default="", nullable=False),
        sa.Column("images", sa.Integer(), nullable=False),
        sa.Column("evidence", sa.JSON(), nullable=False),
        sa.Column("kind", sa.String(length=32), nullable=False),
        sa.Column("rule_id", sa.String(length=64), nullable=False),
        sa.Column("rule_version", sa.Integer(), nullable=False),
        sa.Column("reasons", sa.JSON(), nullable=False),
        sa.Column("numbers", sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(
            ["examination_id"],
            ["examinations.id"],
            name=op.f("fk_volumes_examination_id_examinations"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_volumes")),
        sa.UniqueConstraint(
            "examination_id", "number", name=op.f("uq_volumes_examination_id_number")
        ),
    )


def _create_refusals() -> None:
    op.create_table(
        "refusals",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("examination_id", sa.Integer(), nullable=False),
        sa.Column("code", sa.String(length=32), nullable=False),
        sa.Column("sentence", sa.Text(), nullable=False),
        sa.Column("attribute", sa.Text(), server_default="", nullable=False),
        sa.Column("attribute_values", sa.JSON(), nullable=False),
        sa.Column("images", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["examination_id"],
            ["examinations.id"],
            name=op.f("fk_refusals_examination_id_examinations"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_refusals")),
    )
    op.create_index(op.f("ix_refusals_examination_id"), "refusals", ["examination_id"])
    op.create_index(op.f("ix_refusals_code"), "refusals", ["code"])


def _move_volumes() -> None:
    """An evidence without a verdict, which no version wrote, ends the migration with an error."""
    op.execute(
        "INSERT INTO volumes (examination_id, number, label, images, evidence,"
        " kind, rule_id, rule_version, reasons, numbers)"
        " SELECT e.id, 1, '', r.instance_count, e.evidence,"
        " v.kind, v.rule_id, v.rule_version, v.reasons, v.numbers"
        " FROM examinations e"
        " JOIN revisions r ON r.id = e.revision_id"
        " LEFT JOIN verdicts v ON v.examination_id = e.id"
        " WHERE e.evidence IS NOT NULL ORDER BY e.id"
    )


def _move_refusals() -> None:
    connection = op.get_bind()
    json, time = sa.JSON(), sa.DateTime(timezone=True)
    before = sa.text(
        "SELECT e.id, e.refusal, e.created_at, r.instance_count FROM examinations e"
        " JOIN revisions r ON r.id = e.revision_id WHERE e.refusal IS NOT NULL ORDER BY e.id"
    ).columns(refusal=json, created_at=time)
    after = sa.table(
        "refusals",
        *(sa.column(name) for name in ("examination_id", "code", "sentence", "attribute")),
        sa.column("attribute_values", json),
        sa.column("images"),
        sa.column("created_at", time),
    )
    rows = [
        {
            "examination_id": row.id,
            "code": row.refusal["code"],
            "sentence": row.refusal["sentence"],
            "attribute": row.refusal["attribute"],
            "attribute_values": row.refusal["values"],
            "images": row.instance_count,
            "created_at": row.created_at,
        }
        for row in connection.execute(before)
    ]
    if rows:
        connection.execute(after.insert(), rows)


def _hang_segmentations_on_volumes() -> None:
    op.add_column("segmentations", sa.Column("volume_id", sa.Integer(), nullable=True))
    op.execute(
        "UPDATE segmentations SET volume_id = (SELECT v.id FROM volumes v"
        " WHERE v.examination_id = segmentations.examination_id)"
    )
    with op.batch_alter_table("segmentations") as table:
        table.alter_column("volume_id", existing_type=sa.Integer(), nullable=False)
        table.drop_constraint(op.f("uq_segmentations_examination_id"), type_="unique")
        table.drop_constraint(
            op.f("fk_segmentations_examination_id_examinations"), type_="foreignkey"
        )
        table.drop_column("examination_id")
        table.create_foreign_key(
            op.f("fk_segmentations_volume_id_volumes"), "volumes", ["volume_id"], ["id"]
        )
        table.create_unique_constraint(op.f("uq_segmentations_volume_id"), ["volume_id"])


def downgrade() -> None:
    for name in ("deliveries", "segmentations", "verdicts", "refusals", "volumes", "examinations"):
        op.execute(f"DELETE FROM {name}")
    op.execute("UPDATE revisions SET examination_started_at = NULL")
    with op.batch_alter_table("segmentations") as table:
        table.drop_constraint(op.f("uq_segmentations_volume_id"), type_="unique")
        table.drop_constraint(op.f("fk_segmentations_volume_id_volumes"), type_="foreignkey")
        table.drop_column("volume_id")
        table.add_column(sa.Column("examination_id", sa.Integer(), nullable=False))
        table.create_foreign_key(
            op.f("fk_segmentations_examination_id_examinations"),
            "examinations",
            ["examination_id"],
            ["id"],
        )
        table.create_unique_constraint(op.f("uq_segmentations_examination_id"), ["examination_id"])
    for column in ("evidence", "refusal"):
        op.add_column("examinations", sa.Column(column, sa.JSON(none_as_null=True), nullable=True))
    op.drop_table("refusals")
    op.drop_table("volumes")
