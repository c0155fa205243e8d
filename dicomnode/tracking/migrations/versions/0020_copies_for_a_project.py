"""For which project the headers of a copy are de-identified."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0020"
down_revision = "0019"


def upgrade() -> None:
    op.add_column(
        "study_copies", sa.Column("project", sa.String(32), nullable=False, server_default="")
    )


def downgrade() -> None:
    op.drop_column("study_copies", "project")
