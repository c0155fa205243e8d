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
    here = sa.text("instance_count > removed_count")
    op.create_index("ix_series_here", "series", ["id"], sqlite_where=here, postgresql_where=here)


def downgrade() -> None:
    op.drop_index("ix_series_here", "series")
    op.drop_column("instances", "removed_at")
    op.drop_column("series", "removed_at")
    op.drop_column("series", "removed_count")
