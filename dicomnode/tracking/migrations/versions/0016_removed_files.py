"""Which instances have no file any more, because retention took it away."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from dicomnode.tracking.columns import counter

revision = "0016"
down_revision = "0015"


def upgrade() -> None:
    op.add_column("series", counter("removed_count"))
    op.add_column("series", sa.Column("removed_at", sa.DateTime(timezone=True)))
    op.add_column("instances", sa.Column("removed_at", sa.DateTime(timezone=True)))


def downgrade() -> None:
    op.drop_column("instances", "removed_at")
    op.drop_column("series", "removed_at")
    op.drop_column("series", "removed_count")
