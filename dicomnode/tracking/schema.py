"""The tables of the tracking database, as SQLAlchemy Core.

UIDs, numbers, digests and sentences; never an attribute of a patient. Times are UTC. What must be
unique is unique here, so no race between processes can break it: one row per SOP Instance UID,
one current revision, examination and verdict per series, one SEG per volume, one delivery per SEG
and destination.
"""

from __future__ import annotations

import sqlalchemy as sa

from dicomnode.tracking.columns import (
    counter,
    current,
    judgement,
    key,
    only_one_current,
    partial,
    prefixes,
    text,
    time,
    title,
    uid,
)

METADATA = sa.MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)

_COUNTED = ("receiving", "waiting", "examining", "examined", "refused", "failed", "decided")
_NEWEST = ("first_received_at", "study_instance_uid")

studies = sa.Table(
    "studies",
    METADATA,
    uid("study_instance_uid", primary_key=True),
    time("first_received_at"),
    # From here on what the list of studies shows, told by the rows of its series at the end of
    # every transaction that changes them (`study_summaries`). The gate never reads it.
    time("last_received_at", nullable=True),
    counter("series_count"),
    counter("instance_count"),
    # Sorted, each between commas: ",CT,MR,".
    text("modalities"),
    title("verdict"),
    # How many series stand where (`SeriesState`), and on how many a person has decided.
    *(counter(name) for name in _COUNTED),
    # With all that a list is filtered by.
    sa.Index("ix_studies_newest", *_NEWEST, "verdict", "modalities", *_COUNTED),
    prefixes("ix_studies_prefix", "study_instance_uid"),
    sa.Index("ix_studies_verdict", "verdict", *_NEWEST),
    partial("ix_studies_receiving", "receiving > 0", *_NEWEST),
    partial("ix_studies_waiting", "waiting > 0", *_NEWEST),
    partial("ix_studies_examining", "examining > 0", *_NEWEST),
    partial("ix_studies_failed", "failed > 0", *_NEWEST),
    partial("ix_studies_decided", "decided > 0", *_NEWEST),
)

_ARRIVING = "instance_count <> revised_count"

series = sa.Table(
    "series",
    METADATA,
    key(),
    sa.Column("study_instance_uid", sa.ForeignKey("studies.study_instance_uid"), nullable=False),
    uid("series_instance_uid"),
    title("modality"),
    time("first_received_at"),
    time("last_received_at"),
    # Two counts say whether a revision is due without looking at the instances.
    sa.Column("instance_count", sa.Integer, nullable=False),
    sa.Column("revised_count", sa.Integer, nullable=False),
    # The same as a column, of which PostgreSQL knows how rare it is.
    sa.Column("is_arriving", sa.Boolean, sa.Computed(_ARRIVING, persisted=True)),
    # How many of its instances have no file any more, and since when (`retention`).
    counter("removed_count"),
    time("removed_at", nullable=True),
    sa.UniqueConstraint("study_instance_uid", "series_instance_uid"),
    prefixes("ix_series_series_instance_uid", "series_instance_uid"),
    partial("ix_series_unrevised", "is_arriving", "last_received_at"),
    # What the queue lists, in the order of the keys, here and in other tables (`work_queue`).
    partial("ix_series_arriving", "is_arriving", "id"),
    partial("ix_series_expected", "instance_count = 0", "id"),
    # What has files, in the order in which it came (`retention`).
    partial("ix_series_here", "instance_count > removed_count", "id"),
)

associations = sa.Table(
    "associations",
    METADATA,
    sa.Column("id", sa.String(32), primary_key=True),
    sa.Column("receiver_id", sa.String(32), nullable=False),
    title("calling_ae_title"),
    title("called_ae_title"),
    title("peer_address"),
    time("opened_at"),
    time("heartbeat_at"),
    time("closed_at", nullable=True),
    title("outcome"),
    # It has ended, and every object that was confirmed to it has its row.
    sa.Column("is_settled", sa.Boolean, nullable=False),
    sa.Index("ix_associations_open", "closed_at", "heartbeat_at"),
    partial("ix_associations_unsettled", "NOT is_settled", "receiver_id"),
)

association_series = sa.Table(
    "association_series",
    METADATA,
    sa.Column("series_id", sa.ForeignKey("series.id"), primary_key=True),
    # No foreign key: after a rebuild an association may be known by its id alone.
    sa.Column("association_id", sa.String(32), primary_key=True),
)

instances = sa.Table(
    "instances",
    METADATA,
    key(),
    sa.Column("series_id", sa.ForeignKey("series.id"), nullable=False),
    uid("sop_instance_uid", unique=True),
    uid("sop_class_uid"),
    uid("transfer_syntax_uid"),
    sa.Column("name", sa.String(80), nullable=False, unique=True),
    sa.Column("size_bytes", sa.BigInteger, nullable=False),
    sa.Column("file_sha256", sa.String(64), nullable=False),
    sa.Column("pixel_sha256", sa.String(64), nullable=False),
    # Of the data set around its pixel data (`dicom.encoded.Peek`); empty before version 0014.
    title("data_set_sha256"),
    time("received_at"),
    # When retention took its file away; empty while it is here.
    time("removed_at", nullable=True),
    title("calling_ae_title"),
    title("called_ae_title"),
    title("peer_address"),
    sa.Column("association_id", sa.String(32), nullable=False, default=""),
    # The number of the first revision that holds this instance; empty until there is one.
    # Instances are only ever added, so revision n holds those with a number up to n.
    sa.Column("first_revision", sa.Integer),
    # What its header says of the size of its series (`SizeHints`).
    sa.Column("acquisition_number", sa.Integer),
    sa.Column("images_in_acquisition", sa.Integer),
    sa.Column("number_of_frames", sa.Integer),
    title("concatenation_uid"),
    sa.Column("in_concatenation_total", sa.Integer),
    sa.Index("ix_instances_series_id_first_revision", "series_id", "first_revision"),
)

_UNEXAMINED = "is_current AND NOT is_examined AND examination_started_at"

revisions = sa.Table(
    "revisions",
    METADATA,
    key(),
    sa.Column("series_id", sa.ForeignKey("series.id"), nullable=False),
    sa.Column("number", sa.Integer, nullable=False),
    sa.Column("digest", sa.String(64), nullable=False),
    sa.Column("instance_count", sa.Integer, nullable=False),
    time("created_at"),
    time("examination_started_at", nullable=True),
    # The signal that found the series complete, and what it saw: a sentence.
    title("completed_by"),
    text("completion"),
    # An examination of it has ended, well or not.
    sa.Column("is_examined", sa.Boolean, nullable=False, default=False, server_default=sa.false()),
    current(),
    sa.UniqueConstraint("series_id", "number"),
    only_one_current("revisions"),
    partial("ix_revisions_waiting", f"{_UNEXAMINED} IS NULL", "id"),
    partial("ix_revisions_examining", f"{_UNEXAMINED} IS NOT NULL", "id"),
)

# How many instances a series has, by what others say: one row for each that says so. The speaker
# is the AE title or name of a PACS, or the SOP Instance UID of a procedure step.
expected_counts = sa.Table(
    "expected_counts",
    METADATA,
    uid("study_instance_uid", primary_key=True),
    uid("series_instance_uid", primary_key=True),
    sa.Column("source", sa.String(16), primary_key=True),
    sa.Column("speaker", sa.String(64), primary_key=True),
    sa.Column("instance_count", sa.Integer, nullable=False),
    time("at"),
)

# Instances that a PACS said are available, until a revision holds them.
announced_instances = sa.Table(
    "announced_instances",
    METADATA,
    uid("study_instance_uid", primary_key=True),
    uid("series_instance_uid", primary_key=True),
    uid("sop_instance_uid", primary_key=True),
)

# Modality Performed Procedure Steps; their counts are believed when they are COMPLETED.
procedure_steps = sa.Table(
    "procedure_steps",
    METADATA,
    uid("sop_instance_uid", primary_key=True),
    sa.Column("status", sa.String(16), nullable=False),
    sa.Column("study_instance_uids", sa.JSON, nullable=False),
    # Series Instance UID -> number of instances.
    sa.Column("series_counts", sa.JSON, nullable=False),
    time("at"),
)

# How long each sender pauses within a series, learned from what it sent.
senders = sa.Table(
    "senders",
    METADATA,
    sa.Column("calling_ae_title", sa.String(64), primary_key=True),
    sa.Column("quiet_seconds", sa.Float, nullable=False),
    time("at"),
)

examinations = sa.Table(
    "examinations",
    METADATA,
    key(),
    sa.Column("series_id", sa.ForeignKey("series.id"), nullable=False, index=True),
    sa.Column("revision_id", sa.ForeignKey("revisions.id"), nullable=False, index=True),
    time("created_at"),
    # Why the examination itself failed: a sentence; empty for an examination that ended.
    text("failure"),
    title("software_version"),
    # What examined: networks, rules and thresholds together; if it is not the wanted one, the
    # verdict was made by another version.
    title("examiner_digest"),
    # What the choice of networks looks at in its volumes (`tracking.outdated`).
    sa.Column("subjects", sa.Text, nullable=False, default="[]", server_default="[]"),
    current(),
    only_one_current("examinations"),
    partial("ix_examinations_failed", "is_current AND failure <> ''", "id"),
)

# The verdict of a series: the worst of the volumes of its examination.
verdicts = sa.Table(
    "verdicts",
    METADATA,
    key(),
    sa.Column("series_id", sa.ForeignKey("series.id"), nullable=False),
    sa.Column("examination_id", sa.ForeignKey("examinations.id"), nullable=False, unique=True),
    *judgement(),
    time("created_at"),
    current(),
    # By how many people, of this very examination.
    counter("decided_by"),
    # Whether a project wants a person for its kind, by the tables of this digest (`kinds`).
    sa.Column(
        "is_asked_by_kind", sa.Boolean, nullable=False, default=False, server_default=sa.false()
    ),
    title("kinds_digest"),
    only_one_current("verdicts"),
    partial("ix_verdicts_review", "is_current", "kind", "decided_by", "examination_id"),
    partial(
        "ix_verdicts_asked",
        "is_current AND is_asked_by_kind",
        "decided_by",
        "examination_id",
    ),
    partial("ix_verdicts_unmarked", "is_current", "kinds_digest"),
)

volumes = sa.Table(
    "volumes",
    METADATA,
    key(),
    sa.Column("examination_id", sa.ForeignKey("examinations.id"), nullable=False),
    # 1, 2, ... in the order in which they were examined.
    sa.Column("number", sa.Integer, nullable=False),
    text("label"),
    sa.Column("images", sa.Integer, nullable=False),
    sa.Column("evidence", sa.JSON, nullable=False),
    *judgement(),
    # What a person looks at (`domain.Picture`): views and files in the results folder.
    sa.Column("pictures", sa.JSON, nullable=False, default=list, server_default=sa.text("'[]'")),
    sa.UniqueConstraint("examination_id", "number"),
)

# Images of which no volume was made. Rows are never deleted, so their counts only grow.
refusals = sa.Table(
    "refusals",
    METADATA,
    key(),
    sa.Column("examination_id", sa.ForeignKey("examinations.id"), nullable=False, index=True),
    sa.Column("code", sa.String(32), nullable=False, index=True),
    sa.Column("sentence", sa.Text, nullable=False),
    text("attribute"),
    sa.Column("attribute_values", sa.JSON, nullable=False),
    sa.Column("images", sa.Integer, nullable=False),
    time("created_at"),
    # Of the examination that counts now.
    sa.Column("is_current", sa.Boolean, nullable=False, server_default=sa.true()),
    counter("decided_by"),
    partial("ix_refusals_review", "is_current", "code", "decided_by", "examination_id"),
)

segmentations = sa.Table(
    "segmentations",
    METADATA,
    key(),
    sa.Column("volume_id", sa.ForeignKey("volumes.id"), nullable=False, unique=True),
    # The kinds of segments 1, 2, ...
    sa.Column("segments", sa.JSON, nullable=False),
    uid("sop_instance_uid", index=True),
    uid("series_instance_uid", index=True),
    sa.Column("path", sa.Text, nullable=False),
    sa.Column("sha256", sa.String(64), nullable=False),
    # Empty where it was written before this was kept: it is not known when it comes back.
    sa.Column("pixel_sha256", sa.String(64), nullable=False, server_default=""),
)

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
    partial("ix_deliveries_failing", "state = 'pending' AND last_error <> ''", "id"),
)

# What is known of a destination: its circuit and dialect (`tracking.circuits`, `dialects`).
destinations = sa.Table(
    "destinations",
    METADATA,
    sa.Column("name", sa.String(128), primary_key=True),
    # Attempts in a row that did not reach it, or that it did not end.
    counter("failures"),
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
    # Of the attempt that goes on, `jobs.lanes.Attempt`: its number, and seconds of the epoch.
    sa.Column("number", sa.Integer, nullable=False),
    sa.Column("deadline", sa.Float, nullable=False),
    sa.Index("ix_parked_deliveries_destination_id", "destination", "id"),
)

# What people said of a series: rows are added, never changed. The last one of an account counts.
human_decisions = sa.Table(
    "human_decisions",
    METADATA,
    key(),
    sa.Column("series_id", sa.ForeignKey("series.id"), nullable=False, index=True),
    sa.Column("kind", sa.String(16), nullable=False),
    sa.Column("account", sa.String(64), nullable=False),
    text("note"),
    time("at"),
    # What the person saw.
    sa.Column("revision_digest", sa.String(64), nullable=False),
    sa.Column("examination_id", sa.ForeignKey("examinations.id"), nullable=False),
)

audit_events = sa.Table(
    "audit_events",
    METADATA,
    key(),
    time("at"),
    sa.Column("event", sa.String(64), nullable=False),
    sa.Column("subject", sa.String(128), nullable=False),
    sa.Column("detail", sa.JSON, nullable=False),
    # Over its content and the hash of the row before (`tracking.audit_chain`); `id` counts the
    # rows without a gap. Triggers of migration 0008 refuse to change or delete a row.
    sa.Column("sha256", sa.String(64), nullable=False),
    # The newest of a kind are found without sorting all of them.
    sa.Index("ix_audit_events_event", "event", "id"),
    sa.Index("ix_audit_events_subject", "subject", "id"),
)

# One row: the end of the chain of `audit_events`. Who appends locks it.
audit_head = sa.Table(
    "audit_head",
    METADATA,
    key(),
    sa.Column("row_count", sa.Integer, nullable=False),
    sa.Column("sha256", sa.String(64), nullable=False),
)

# Kept as they were signed (`gate.receipts`); triggers refuse to change or delete one.
receipts = sa.Table(
    "receipts",
    METADATA,
    # 1, 2, ... without a gap: each receipt names the hash of the one before.
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
    uid("study_instance_uid", index=True),
    time("at"),
    title("project"),
    sa.Column("outcome", sa.String(16), nullable=False),
    title("key_id"),
    sa.Column("sha256", sa.String(64), nullable=False),
    sa.Column("document", sa.Text, nullable=False),
)

quarantine = sa.Table(
    "quarantine",
    METADATA,
    key(),
    time("at"),
    sa.Column("name", sa.String(128), nullable=False, unique=True),
    sa.Column("reason", sa.String(32), nullable=False),
    text("sentence"),
    sa.Column("size_bytes", sa.BigInteger, nullable=False),
    # Empty where the object names none, or one that is no UID.
    title("sop_instance_uid"),
    title("series_instance_uid"),
    title("study_instance_uid"),
    title("calling_ae_title"),
    title("peer_address"),
    sa.Index("ix_quarantine_sop_instance_uid", "sop_instance_uid"),
    sa.Index("ix_quarantine_series_instance_uid", "series_instance_uid"),
    sa.Index("ix_quarantine_study_instance_uid", "study_instance_uid"),
)

pulls = sa.Table(
    "pulls",
    METADATA,
    key(),
    sa.Column("source", sa.String(32), nullable=False),
    uid("study_instance_uid"),
    sa.Column("state", sa.String(16), nullable=False),
    sa.Column("attempts", sa.Integer, nullable=False),
    # What the source said there is, and what of it was here after the last attempt.
    sa.Column("expected_instances", sa.Integer, nullable=False, default=0, server_default="0"),
    sa.Column("received_instances", sa.Integer, nullable=False, default=0, server_default="0"),
    text("last_error"),
    time("created_at"),
    time("updated_at"),
    sa.UniqueConstraint("source", "study_instance_uid"),
    sa.Index("ix_pulls_source_state", "source", "state"),
    sa.Index("ix_pulls_study_instance_uid", "study_instance_uid"),
    partial("ix_pulls_unfinished", "state <> 'done'", "id"),
)
