"""Deliveries whose proof does not come are among those that fail."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"


def upgrade() -> None:
    _failing("state NOT IN ('delivered', 'refused', 'cancelled') AND last_error <> ''")


def downgrade() -> None:
    _failing("state = 'pending' AND last_error <> ''")


def _failing(condition: str) -> None:
    name, where = "ix_deliveries_failing", sa.text(condition)
    op.drop_index(name, "deliveries")
    op.create_index(name, "deliveries", ["id"], sqlite_where=where, postgresql_where=where)
