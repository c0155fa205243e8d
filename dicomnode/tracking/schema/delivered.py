"""SEGs on their way to PACS, and what is known of these."""

from __future__ import annotations

import sqlalchemy as sa

from dicomnode.tracking.columns import (
    counter,
    key,
    partial,
    seconds,
    text,
    time,
    title,
    uid,
)
from dicomnode.tracking.schema.metadata import METADATA

deliveries = sa.Table(
    "deliveries",
    METADATA,
    key(),
    sa.Column("segmentation_id", sa.ForeignKey("segmentations.id"), nullable=False),
    sa.Column("destination", sa.String(128), nullable=False),
    sa.Column("state", sa.String(16), nullable=False),
    sa.Column("attempts", sa.Integer, nullable=False),
    text("last_error"),
    time("created_at"),
    time("updated_at"),
    time("next_attempt_at", nullable=True),
    # When the destination took it, where it is still to prove that it has kept it.
    time("stored_at", nullable=True),
    sa.UniqueConstraint("segmentation_id", "destination"),
    sa.Index("ix_deliveries_state_next_attempt_at", "state", "next_attempt_at"),
    partial("ix_deliveries_refused", "state = 'refused'", "id"),
    partial(
        "ix_deliveries_failing",
        "state NOT IN ('delivered', 'refused', 'cancelled') AND last_error <> ''",
        "id",
    ),
)

# What is known of a destination: its circuit and dialect (`tracking.circuits`, `dialects`).
destinations = sa.Table(
    "destinations",
    METADATA,
    sa.Column("name", sa.String(128), primary_key=True),
    # Attempts in a row that did not reach it, or that it did not end.
    counter("failures"),
    # All pauses of its circuit so far, one after each time that it was asked.
    seconds("waited_seconds"),
    # From here on empty while its circuit is closed.
    time("opened_at", nullable=True),
    time("probe_at", nullable=True),
    sa.Column("trial_delivery_id", sa.Integer),
    text("last_error"),
    # The transfer syntax that it took instead of the first of its configuration, and since when.
    title("transfer_syntax"),
    time("transfer_syntax_at", nullable=True),
)

# What destinations were asked by Storage Commitment (`tracking.commitments`).
commitments = sa.Table(
    "commitments",
    METADATA,
    uid("transaction_uid", primary_key=True),
    sa.Column("delivery_id", sa.ForeignKey("deliveries.id"), nullable=False, index=True),
    uid("sop_instance_uid"),
    time("asked_at"),
    # Empty until it is reported.
    title("outcome"),
)

# What others asked the node by Storage Commitment, until they were told
# (`tracking.commitment_requests`).
commitment_requests = sa.Table(
    "commitment_requests",
    METADATA,
    key(),
    uid("transaction_uid"),
    title("calling_ae_title"),
    title("peer_address"),
    # [SOP Class UID, SOP Instance UID] of each instance.
    sa.Column("instances", sa.JSON, nullable=False),
    time("asked_at"),
    # How often the report was not taken, and when it is sent again.
    counter("failures"),
    time("next_report_at"),
    sa.UniqueConstraint("calling_ae_title", "transaction_uid"),
    sa.Index("ix_commitment_requests_next_report_at", "next_report_at"),
)

# Deliveries that wait, without a job, until the circuit of their destination closes.
parked_deliveries = sa.Table(
    "parked_deliveries",
    METADATA,
    key(),
    sa.Column("delivery_id", sa.ForeignKey("deliveries.id"), nullable=False, unique=True),
    sa.Column("destination", sa.String(128), nullable=False),
    # Of the attempt that goes on, `jobs.attempts.Attempt`.
    sa.Column("number", sa.Integer, nullable=False),
    sa.Column("generation", sa.Float, nullable=False),
    seconds("loss_seconds"),
    seconds("unproven_seconds"),
    # `waited_seconds` of the destination as its patience began.
    seconds("began_seconds"),
    sa.Index("ix_parked_deliveries_destination_id", "destination", "id"),
)
