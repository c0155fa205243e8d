"""What happened to a study, from its first instance to the end of its last delivery or export."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

import sqlalchemy as sa

from dicomnode.domain import DeliveryState
from dicomnode.tracking.gate_schema import exported_studies, exports
from dicomnode.tracking.schema import (
    deliveries,
    examinations,
    human_decisions,
    receipts,
    revisions,
    segmentations,
    series,
    verdicts,
    volumes,
)


class Happening(StrEnum):
    """In the order in which they come where the clock says the same."""

    FIRST_INSTANCE = "first instance"
    LAST_INSTANCE = "last instance"
    COMPLETE = "complete"
    EXAMINATION_STARTED = "examination started"
    EXAMINED = "examined"
    EXAMINATION_FAILED = "examination failed"
    DECISION = "decision"
    DELIVERY = "delivery"
    RECEIPT = "receipt"
    EXPORT_STARTED = "export started"
    EXPORTED = "exported"


@dataclass(frozen=True)
class TimelineEvent:
    """One line: when, what, of which series (empty: of the study), and by which account if any.

    `what` is a word (signal, verdict, decision, destination and state, receipt number), `detail` a
    sentence or empty.
    """

    at: datetime
    happening: Happening
    series_instance_uid: str
    what: str = ""
    detail: str = ""
    account: str = ""


def timeline(c: sa.Connection, study_instance_uid: str) -> tuple[TimelineEvent, ...]:
    """The oldest first; what was superseded since is there too. Empty for an unknown study."""
    events = [
        *_received(c, study_instance_uid),
        *_revisions(c, study_instance_uid),
        *_examinations(c, study_instance_uid),
        *_decisions(c, study_instance_uid),
        *_deliveries(c, study_instance_uid),
        *_receipts(c, study_instance_uid),
        *_exports(c, study_instance_uid),
    ]
    order = list(Happening)
    return tuple(sorted(events, key=lambda event: (event.at, order.index(event.happening))))


def _received(c: sa.Connection, study: str) -> Iterator[TimelineEvent]:
    s = series.c
    query = sa.select(s.series_instance_uid, s.first_received_at, s.last_received_at)
    for row in c.execute(query.where(s.study_instance_uid == study)):
        uid = row.series_instance_uid
        yield TimelineEvent(row.first_received_at, Happening.FIRST_INSTANCE, uid)
        yield TimelineEvent(row.last_received_at, Happening.LAST_INSTANCE, uid)


def _revisions(c: sa.Connection, study: str) -> Iterator[TimelineEvent]:
    r = revisions.c
    columns = (r.created_at, r.completed_by, r.completion, r.examination_started_at)
    query = sa.select(series.c.series_instance_uid, *columns).join(
        series, series.c.id == r.series_id
    )
    for row in c.execute(query.where(series.c.study_instance_uid == study)):
        uid, signal = row.series_instance_uid, row.completed_by
        yield TimelineEvent(row.created_at, Happening.COMPLETE, uid, signal, row.completion)
        if row.examination_started_at is not None:
            yield TimelineEvent(row.examination_started_at, Happening.EXAMINATION_STARTED, uid)


def _examinations(c: sa.Connection, study: str) -> Iterator[TimelineEvent]:
    e, v = examinations.c, verdicts.c
    query = (
        sa.select(series.c.series_instance_uid, e.created_at, e.failure, v.kind, v.reasons)
        .join(series, series.c.id == e.series_id)
        .outerjoin(verdicts, v.examination_id == e.id)
        .where(series.c.study_instance_uid == study)
    )
    for row in c.execute(query):
        failed = Happening.EXAMINATION_FAILED if row.failure else Happening.EXAMINED
        detail = row.failure or next(iter(row.reasons or ()), "")
        what = row.kind or ("" if row.failure else "refused")
        yield TimelineEvent(row.created_at, failed, row.series_instance_uid, what, detail)


def _decisions(c: sa.Connection, study: str) -> Iterator[TimelineEvent]:
    d = human_decisions.c
    query = sa.select(series.c.series_instance_uid, d.at, d.kind, d.note, d.account).join(
        series, series.c.id == d.series_id
    )
    for row in c.execute(query.where(series.c.study_instance_uid == study)):
        uid = row.series_instance_uid
        yield TimelineEvent(row.at, Happening.DECISION, uid, row.kind, row.note, row.account)


def _deliveries(c: sa.Connection, study: str) -> Iterator[TimelineEvent]:
    """At its end; one that is still pending since it was queued."""
    d, e = deliveries.c, examinations
    query = (
        sa.select(series.c.series_instance_uid, d.destination, d.state, d.last_error)
        .add_columns(d.created_at, d.updated_at)
        .join(segmentations, segmentations.c.id == d.segmentation_id)
        .join(volumes, volumes.c.id == segmentations.c.volume_id)
        .join(e, e.c.id == volumes.c.examination_id)
        .join(series, series.c.id == e.c.series_id)
        .where(series.c.study_instance_uid == study)
    )
    for row in c.execute(query):
        at = row.created_at if row.state == DeliveryState.PENDING else row.updated_at
        what = f"{row.destination}: {row.state}"
        uid = row.series_instance_uid
        yield TimelineEvent(at, Happening.DELIVERY, uid, what, row.last_error)


def _receipts(c: sa.Connection, study: str) -> Iterator[TimelineEvent]:
    r = receipts.c
    query = sa.select(r.at, r.number, r.project, r.outcome).where(r.study_instance_uid == study)
    for row in c.execute(query):
        detail = f"{row.outcome} for project {row.project}"
        yield TimelineEvent(row.at, Happening.RECEIPT, "", f"receipt {row.number}", detail)


def _exports(c: sa.Connection, study: str) -> Iterator[TimelineEvent]:
    x, e = exported_studies.c, exports.c
    query = (
        sa.select(x.started_at, x.left_at, x.receipt_number, x.instance_count)
        .add_columns(e.project, e.destination, e.account)
        .join(exports, e.id == x.export_id)
        .where(x.study_instance_uid == study)
    )
    for row in c.execute(query):
        detail = (
            f"{row.instance_count} instances for project {row.project} "
            f"under receipt {row.receipt_number}"
        )
        to, by = row.destination, row.account
        yield TimelineEvent(row.started_at, Happening.EXPORT_STARTED, "", to, detail, by)
        if row.left_at is not None:
            yield TimelineEvent(row.left_at, Happening.EXPORTED, "", to, detail, by)
