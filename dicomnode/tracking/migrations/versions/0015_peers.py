"""Circuits of destinations, and the deliveries that wait for one to close."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from dicomnode.tracking.columns import counter, key, text, time, title

revision = "0015"
down_revision = "0014"


def upgrade() -> None:
    op.create_table(
        "destinations",
        sa.Column("name", sa.String(128), primary_key=True),
        counter("failures"),
        time("opened_at", nullable=True),
        time("probe_at", nullable=True),
        sa.Column("trial_delivery_id", sa.Integer),
        text("last_error"),
        title("transfer_syntax"),
        time("transfer_syntax_at", nullable=True),
    )
    op.create_table(
        "parked_deliveries",
        key(),
        sa.Column("delivery_id", sa.Integer, nullable=False),
        sa.Column("destination", sa.String(128), nullable=False),
        sa.Column("number", sa.Integer, nullable=False),
        sa.Column("deadline", sa.Float, nullable=False),
        sa.ForeignKeyConstraint(
            ["delivery_id"], ["deliveries.id"], "fk_parked_deliveries_delivery_id_deliveries"
        ),
        sa.UniqueConstraint("delivery_id", name="uq_parked_deliveries_delivery_id"),
        sa.Index("ix_parked_deliveries_destination_id", "destination", "id"),
    )


def downgrade() -> None:
    op.drop_table("parked_deliveries")
    op.drop_table("destinations")
