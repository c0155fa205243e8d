"""What is known of each series of a study now: the gate decides by it, `status` shows it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

import sqlalchemy as sa

from dicomnode.domain import Evidence, Refusal, Verdict, VerdictKind
from dicomnode.tracking import holds
from dicomnode.tracking.examinations import EVIDENCE, REFUSAL
from dicomnode.tracking.schema import examinations, revisions, series, verdicts


class SeriesState(StrEnum):
    """Where a series stands; only EXAMINED can have a verdict that counts."""

    RECEIVING = "receiving"
    WAITING = "waiting"
    EXAMINING = "examining"
    EXAMINED = "examined"
    REFUSED = "refused"
    FAILED = "failed"


@dataclass(frozen=True)
class SeriesFinding:
    """One series; verdict, evidence and refusal are those of its newest revision, or None.

    `has_newer_instances`: instances arrived that no revision holds yet, so whatever was found is
    not of the whole series. `is_being_sent`: an association that sent to it has not ended in
    order, or its rows are not all written, so instances may be missing here. `quarantined` counts
    refused objects that belong to it and whose good copy did not come. `is_own_segmentation`: all
    it holds are SEGs that this node made.
    """

    study_instance_uid: str
    series_instance_uid: str
    modality: str
    instance_count: int
    state: SeriesState
    has_newer_instances: bool
    is_being_sent: bool
    quarantined: int
    is_own_segmentation: bool
    first_received_at: datetime
    last_received_at: datetime
    revision_id: int | None
    revision_number: int | None
    revision_digest: str | None
    examination_id: int | None
    examined_at: datetime | None
    verdict: Verdict | None
    evidence: Evidence | None
    refusal: Refusal | None
    failure: str
    software_version: str
    examiner_digest: str


def verdicts_of_study(c: sa.Connection, study_instance_uid: str) -> tuple[SeriesFinding, ...]:
    """Every series of the study that was ever received, examined or not; empty: never seen."""
    return findings(c, series.c.study_instance_uid == study_instance_uid)


def findings(c: sa.Connection, condition: sa.ColumnElement[bool]) -> tuple[SeriesFinding, ...]:
    query = _select().where(condition).order_by(series.c.first_received_at, series.c.id)
    return tuple(_finding(row) for row in c.execute(query))


def _select() -> sa.Select[Any]:
    r, e, v = revisions, examinations, verdicts
    return (
        sa.select(
            series,
            r.c.id.label("revision_id"),
            r.c.number.label("revision_number"),
            r.c.digest.label("revision_digest"),
            r.c.examination_started_at,
            e.c.id.label("examination_id"),
            e.c.created_at.label("examined_at"),
            e.c.evidence,
            e.c.refusal,
            e.c.failure,
            e.c.software_version,
            e.c.examiner_digest,
            v.c.kind,
            v.c.rule_id,
            v.c.rule_version,
            v.c.reasons,
            v.c.numbers,
            holds.is_being_sent().label("is_being_sent"),
            holds.quarantined().label("quarantined"),
            holds.is_own_segmentation().label("is_own_segmentation"),
        )
        .outerjoin(r, sa.and_(r.c.series_id == series.c.id, r.c.is_current))
        .outerjoin(e, sa.and_(e.c.revision_id == r.c.id, e.c.is_current))
        .outerjoin(v, sa.and_(v.c.examination_id == e.c.id, v.c.is_current))
    )


def _finding(row: sa.Row[Any]) -> SeriesFinding:
    return SeriesFinding(
        study_instance_uid=row.study_instance_uid,
        series_instance_uid=row.series_instance_uid,
        modality=row.modality,
        instance_count=row.instance_count,
        state=_state(row),
        has_newer_instances=row.instance_count != row.revised_count,
        is_being_sent=row.is_being_sent,
        quarantined=row.quarantined,
        is_own_segmentation=row.is_own_segmentation,
        first_received_at=row.first_received_at,
        last_received_at=row.last_received_at,
        revision_id=row.revision_id,
        revision_number=row.revision_number,
        revision_digest=row.revision_digest,
        examination_id=row.examination_id,
        examined_at=row.examined_at,
        verdict=_verdict(row),
        evidence=None if row.evidence is None else EVIDENCE.validate_python(row.evidence),
        refusal=None if row.refusal is None else REFUSAL.validate_python(row.refusal),
        failure=row.failure or "",
        software_version=row.software_version or "",
        examiner_digest=row.examiner_digest or "",
    )


def _state(row: sa.Row[Any]) -> SeriesState:
    if row.instance_count != row.revised_count or row.revision_id is None:
        return SeriesState.RECEIVING
    if row.examination_id is None:
        started = row.examination_started_at is not None
        return SeriesState.EXAMINING if started else SeriesState.WAITING
    if row.failure:
        return SeriesState.FAILED
    return SeriesState.EXAMINED if row.refusal is None else SeriesState.REFUSED


def _verdict(row: sa.Row[Any]) -> Verdict | None:
    if row.kind is None:
        return None
    return Verdict(
        kind=VerdictKind(row.kind),
        rule_id=row.rule_id,
        rule_version=row.rule_version,
        reasons=tuple(row.reasons),
        numbers=row.numbers,
    )
