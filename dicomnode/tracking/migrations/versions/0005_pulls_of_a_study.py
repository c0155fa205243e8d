"""The gate asks for the pulls of a study."""

from __future__ import annotations

from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    op.create_index("ix_pulls_study_instance_uid", "pulls", ["study_instance_uid"], unique=False)


def downgrade() -> None:
    op.drop_index("ix_pulls_study_instance_uid", table_name="pulls")
