"""The digest of the data set without its file meta, which every archive writes anew."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"


def upgrade() -> None:
    """Of objects received before it is unknown: their files are known by all their bytes only."""
    column = sa.Column("data_set_sha256", sa.String(64), server_default="", nullable=False)
    op.add_column("instances", column)


def downgrade() -> None:
    op.drop_column("instances", "data_set_sha256")
