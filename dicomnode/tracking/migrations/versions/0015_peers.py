"""Circuits and dialects of destinations, what waits for them, and the proof that they kept it."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from dicomnode.tracking.columns import counter, key, text, time, title, uid

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
    op.add_column("deliveries", time("stored_at", nullable=True))
    op.create_table(
        "commitments",
        uid("transaction_uid", primary_key=True),
        sa.Column("delivery_id", sa.Integer, nullable=False),
        uid("sop_instance_uid"),
        time("asked_at"),
        title("outcome"),
        sa.ForeignKeyConstraint(
            ["delivery_id"], ["deliveries.id"], "fk_commitments_delivery_id_deliveries"
        ),
        sa.Index("ix_commitments_delivery_id", "delivery_id"),
    )
    op.create_table(
        "commitment_requests",
        key(),
        uid("transaction_uid"),
        title("calling_ae_title"),
        title("peer_address"),
        sa.Column("instances", sa.JSON, nullable=False),
        time("asked_at"),
        counter("failures"),
        time("next_report_at"),
        sa.UniqueConstraint(
            "calling_ae_title",
            "transaction_uid",
            name="uq_commitment_requests_calling_ae_title_transaction_uid",
        ),
        sa.Index("ix_commitment_requests_next_report_at", "next_report_at"),
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
    op.drop_table("commitment_requests")
    op.drop_table("commitments")
    op.drop_column("deliveries", "stored_at")
    op.drop_table("destinations")
