"""What came: studies, series, instances, and the associations that brought them."""

from __future__ import annotations

import sqlalchemy as sa

from dicomnode.tracking.columns import (
    counter,
    current,
    key,
    only_one_current,
    partial,
    prefixes,
    text,
    time,
    title,
    uid,
)
from dicomnode.tracking.schema.metadata import METADATA

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
