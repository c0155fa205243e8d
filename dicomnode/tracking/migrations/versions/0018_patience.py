"""Deliveries that wait for a destination count its pauses, and keep what their attempts knew."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from dicomnode.tracking.columns import seconds

revision = "0018"
down_revision = "0017"

_KEPT = ("began_seconds", "loss_seconds", "unproven_seconds")


def upgrade() -> None:
    op.add_column("destinations", seconds("waited_seconds"))
    for name in _KEPT:
        op.add_column("parked_deliveries", seconds(name))
    _rename("deadline", "generation")


def downgrade() -> None:
    """A generation of before is a deadline, one of now is over: a person retries."""
    _rename("generation", "deadline")
    for name in _KEPT:
        op.drop_column("parked_deliveries", name)
    op.drop_column("destinations", "waited_seconds")


def _rename(before: str, after: str) -> None:
    op.execute(sa.text(f"ALTER TABLE parked_deliveries RENAME COLUMN {before} TO {after}"))
