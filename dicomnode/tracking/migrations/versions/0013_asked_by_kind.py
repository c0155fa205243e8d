"""Series that need a person because of their kind: a mark beside the verdict."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"

_COLUMNS: tuple[sa.Column[bool] | sa.Column[str], ...] = (
    sa.Column("is_asked_by_kind", sa.Boolean(), server_default=sa.false(), nullable=False),
    sa.Column("kinds_digest", sa.String(64), server_default="", nullable=False),
)
_INDEXES = (
    ("ix_verdicts_unmarked", ["kinds_digest"], "is_current"),
    ("ix_verdicts_asked", ["decided_by", "examination_id"], "is_current AND is_asked_by_kind"),
)


def upgrade() -> None:
    """The working process marks what is there, a few hundred at a time."""
    for column in _COLUMNS:
        op.add_column("verdicts", column)
    for name, columns, of_those in _INDEXES:
        where = sa.text(of_those)
        op.create_index(name, "verdicts", columns, sqlite_where=where, postgresql_where=where)


def downgrade() -> None:
    for name, _, _ in _INDEXES:
        op.drop_index(name, "verdicts")
    for column in reversed(_COLUMNS):
        op.drop_column("verdicts", column.name)
