"""Beside each examination what the choice of networks looks at; the index on digests goes."""

from __future__ import annotations

import json
from itertools import groupby
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"

_INDEX = "ix_examinations_current_examiner_digest"


def upgrade() -> None:
    op.drop_index(_INDEX, table_name="examinations")
    op.add_column(
        "examinations", sa.Column("subjects", sa.Text(), server_default="[]", nullable=False)
    )
    _fill_subjects()


def downgrade() -> None:
    op.drop_column("examinations", "subjects")
    op.create_index(
        _INDEX,
        "examinations",
        ["examiner_digest"],
        sqlite_where=sa.text("is_current"),
        postgresql_where=sa.text("is_current"),
    )


def _fill_subjects() -> None:
    """Of those that count now; the modality that the networks saw was not kept before."""
    connection = op.get_bind()
    volumes = connection.execute(
        sa.text(
            "SELECT v.examination_id, v.evidence FROM volumes v JOIN examinations e "
            "ON e.id = v.examination_id WHERE e.is_current ORDER BY v.examination_id, v.number"
        ).columns(evidence=sa.JSON())
    )
    filled = [
        {"id": key, "subjects": _encoded([row.evidence for row in rows])}
        for key, rows in groupby(volumes, key=lambda row: row.examination_id)
    ]
    if filled:
        update = sa.text("UPDATE examinations SET subjects = :subjects WHERE id = :id")
        connection.execute(update, filled)


def _encoded(evidence: list[dict[str, Any]]) -> str:
    subjects = [
        [
            "",
            (one["claims"]["body_part_examined"] or "").strip().upper(),
            [round(millimetres, 3) for millimetres in one["spacing_mm"]],
        ]
        for one in evidence
    ]
    if all(subject == subjects[0] for subject in subjects):
        del subjects[1:]
    return json.dumps(subjects, separators=(",", ":"))
