"""What the list of studies shows, what waits for a person, and the indexes of list and queue."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from dicomnode.tracking.columns import counter

revision = "0011"
down_revision = "0010"

_NEWEST = ["first_received_at", "study_instance_uid"]
_COUNTED = ("receiving", "waiting", "examining", "examined", "refused", "failed", "decided")
_COUNTERS = ("series_count", "instance_count", *_COUNTED)
_ARRIVING = "instance_count <> revised_count"
_UNEXAMINED = "is_current AND NOT is_examined AND examination_started_at"
# Table, name and columns; an index of some rows only says of which.
_INDEXES = (
    ("studies", "ix_studies_newest", [*_NEWEST, "verdict", "modalities", *_COUNTED], None),
    ("studies", "ix_studies_prefix", ["study_instance_uid"], None),
    ("studies", "ix_studies_verdict", ["verdict", *_NEWEST], None),
    ("studies", "ix_studies_receiving", _NEWEST, "receiving > 0"),
    ("studies", "ix_studies_waiting", _NEWEST, "waiting > 0"),
    ("studies", "ix_studies_examining", _NEWEST, "examining > 0"),
    ("studies", "ix_studies_failed", _NEWEST, "failed > 0"),
    ("studies", "ix_studies_decided", _NEWEST, "decided > 0"),
    ("series", "ix_series_series_instance_uid", ["series_instance_uid"], None),
    ("series", "ix_series_unrevised", ["last_received_at"], "is_arriving"),
    ("series", "ix_series_arriving", ["id"], "is_arriving"),
    ("series", "ix_series_expected", ["id"], "instance_count = 0"),
    ("revisions", "ix_revisions_waiting", ["id"], f"{_UNEXAMINED} IS NULL"),
    ("revisions", "ix_revisions_examining", ["id"], f"{_UNEXAMINED} IS NOT NULL"),
    ("examinations", "ix_examinations_series_id", ["series_id"], None),
    ("examinations", "ix_examinations_failed", ["id"], "is_current AND failure <> ''"),
    ("verdicts", "ix_verdicts_review", ["kind", "decided_by", "examination_id"], "is_current"),
    ("refusals", "ix_refusals_review", ["code", "decided_by", "examination_id"], "is_current"),
    ("deliveries", "ix_deliveries_refused", ["id"], "state = 'refused'"),
    ("deliveries", "ix_deliveries_failing", ["id"], "state = 'pending' AND last_error <> ''"),
    ("pulls", "ix_pulls_unfinished", ["id"], "state <> 'done'"),
    ("exports", "ix_exports_destination", ["destination"], None),
    ("exported_studies", "ix_exported_studies_leaving", ["id"], "state = 'leaving'"),
    ("audit_events", "ix_audit_events_event", ["event", "id"], None),
    ("audit_events", "ix_audit_events_subject", ["subject", "id"], None),
)
_REPLACED = (
    ("series", "ix_series_series_instance_uid", ["series_instance_uid"], None),
    ("series", "ix_series_unrevised", ["last_received_at"], _ARRIVING),
    ("audit_events", "ix_audit_events_event_at", ["event", "at"], None),
    ("audit_events", "ix_audit_events_subject", ["subject"], None),
)


def upgrade() -> None:
    op.add_column("studies", sa.Column("last_received_at", sa.DateTime(timezone=True)))
    op.add_column("studies", sa.Column("modalities", sa.Text(), server_default="", nullable=False))
    op.add_column("studies", sa.Column("verdict", sa.String(64), server_default="", nullable=False))
    for name in _COUNTERS:
        op.add_column("studies", counter(name))
    arriving = sa.Computed(_ARRIVING, persisted=op.get_bind().dialect.name == "postgresql")
    op.add_column("series", sa.Column("is_arriving", sa.Boolean(), arriving))
    op.add_column("revisions", _flag("is_examined", sa.false()))
    op.add_column("verdicts", counter("decided_by"))
    op.add_column("refusals", counter("decided_by"))
    op.add_column("refusals", _flag("is_current", sa.true()))
    _fill()
    for table, name, _, _ in _REPLACED:
        op.drop_index(name, table)
    for index in _INDEXES:
        _create(*index)


def downgrade() -> None:
    for table, name, _, _ in reversed(_INDEXES):
        op.drop_index(name, table)
    for table, name, columns, condition in _REPLACED:
        where = None if condition is None else sa.text(condition)
        op.create_index(name, table, columns, sqlite_where=where, postgresql_where=where)
    for table, names in {
        "refusals": ("is_current", "decided_by"),
        "verdicts": ("decided_by",),
        "revisions": ("is_examined",),
        "series": ("is_arriving",),
        "studies": ("last_received_at", "modalities", "verdict", *_COUNTERS),
    }.items():
        for name in names:
            op.drop_column(table, name)


def _flag(name: str, default: sa.ColumnElement[bool]) -> sa.Column[bool]:
    return sa.Column(name, sa.Boolean(), server_default=default, nullable=False)


def _create(table: str, name: str, columns: list[str], condition: str | None) -> None:
    where = None if condition is None else sa.text(condition)
    # PostgreSQL finds a prefix by such an index only, whatever the language of the database.
    is_prefix = columns[0].endswith("_instance_uid")
    ops = {columns[0]: "varchar_pattern_ops"} if is_prefix else {}
    op.create_index(
        name, table, columns, sqlite_where=where, postgresql_where=where, postgresql_ops=ops
    )


def _fill() -> None:
    """A later migration that changes what `study_summaries` tells takes the last line with it."""
    from dicomnode.tracking.study_summaries import tell_all_anew

    op.execute(
        "UPDATE revisions SET is_examined = true WHERE id IN (SELECT revision_id FROM examinations)"
    )
    op.execute(
        "UPDATE refusals SET is_current = false WHERE examination_id NOT IN "
        "(SELECT id FROM examinations WHERE is_current)"
    )
    for table in ("verdicts", "refusals"):
        op.execute(_DECIDED_BY.format(table=table))
    tell_all_anew(op.get_bind())


# The last decision of each account counts, unless it was taken back.
_DECIDED_BY = """
UPDATE {table} SET decided_by = (
  SELECT count(*) FROM human_decisions d
  WHERE d.examination_id = {table}.examination_id AND d.kind <> 'revoked' AND NOT EXISTS (
    SELECT 1 FROM human_decisions later
    WHERE later.series_id = d.series_id AND later.account = d.account AND later.id > d.id))
WHERE examination_id IN (SELECT examination_id FROM human_decisions)
"""
