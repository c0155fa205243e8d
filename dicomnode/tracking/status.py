"""What `dicomnode status` shows: plain values, ready for `dataclasses.asdict` and JSON."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from dicomnode.domain import (
    Acquisition,
    ExaminedVolume,
    FaceSurface,
    HeaderClaims,
    SetAside,
    Verdict,
    VerdictKind,
    WantedDigest,
    worst_verdict,
)
from dicomnode.tracking import deliveries
from dicomnode.tracking.decisions import HumanDecision
from dicomnode.tracking.findings import SeriesFinding, SeriesState, verdicts_of_study
from dicomnode.tracking.schema import series, studies

STATE_SENTENCES = {
    SeriesState.NOT_RECEIVED: "nothing of it was received",
    SeriesState.RECEIVING: "instances are still arriving, or the quiet time is not over",
    SeriesState.WAITING: "complete, waiting for its examination",
    SeriesState.EXAMINING: "being examined",
    SeriesState.EXAMINED: "examined",
    SeriesState.REFUSED: "no volume can be made of it",
    SeriesState.FAILED: "the examination failed and can be tried again",
}


OUTDATED = "made by other software, networks, rules or thresholds: dicomnode reexamine"


@dataclass(frozen=True)
class DeliveryStatus:
    """Times are ISO 8601 in UTC, here and below."""

    id: int
    segments: tuple[str, ...]
    destination: str
    state: str
    attempts: int
    last_error: str
    next_attempt_at: str | None
    sop_instance_uid: str


@dataclass(frozen=True)
class VolumeStatus:
    """One volume of a series; `matrix` and `spacing_mm` are those that the networks saw.

    `face_surface` is None where it was not measured, `face_probability` where no detector was
    asked. `claims` are the strictest reading of all its instances.
    """

    label: str
    images: int
    verdict: str
    rule: str
    reasons: tuple[str, ...]
    volumes_ml: dict[str, float]
    models: tuple[str, ...]
    warnings: tuple[str, ...]
    matrix: tuple[int, int, int]
    spacing_mm: tuple[float, float, float]
    claims: HeaderClaims
    acquisition: Acquisition
    face_surface: FaceSurface | None = None
    face_probability: float | None = None
    unpictured: str = ""


@dataclass(frozen=True)
class RefusalStatus:
    """Images of a series of which no volume was made, and why."""

    code: str
    sentence: str
    attribute: str
    values: tuple[str, ...]
    images: int


@dataclass(frozen=True)
class DecisionStatus:
    """What one account says of a series; a stale decision is of an earlier examination."""

    decision: str
    account: str
    at: str
    note: str
    is_stale: bool


@dataclass(frozen=True)
class SeriesStatus:
    """One series; `verdict` is empty where there is none that counts now.

    `verdict` to `warnings` are those of its worst volume; `volumes` has each. `refusal` is the
    first of `refusals` where there is no volume at all. `completed_by` and `completion` are the
    signal that found its revision complete, and its sentence. `missing` is a sentence where
    somebody names more instances than are here, or its study is still to be pulled. `outdated` is
    one where other software, networks, rules or thresholds said what stands here. `decisions`
    is what people say of it now.
    """

    series_instance_uid: str
    modality: str
    instance_count: int
    state: str
    state_sentence: str
    first_received_at: str | None
    last_received_at: str | None
    revision: int | None
    examined_at: str | None
    verdict: str
    rule: str
    reasons: tuple[str, ...]
    volumes_ml: dict[str, float]
    models: tuple[str, ...]
    warnings: tuple[str, ...]
    refusal_code: str
    refusal: str
    failure: str
    quarantined: int
    deliveries: tuple[DeliveryStatus, ...]
    volumes: tuple[VolumeStatus, ...]
    refusals: tuple[RefusalStatus, ...]
    completed_by: str = ""
    completion: str = ""
    missing: str = ""
    outdated: str = ""
    decisions: tuple[DecisionStatus, ...] = ()


@dataclass(frozen=True)
class StudyStatus:
    """`verdict` is the worst of its series; empty until each of them has ended.

    What can't be examined proves nothing: a set-aside counts as UNDETERMINED, and so do instances
    that somebody names and that never came, and what another version said.
    """

    study_instance_uid: str
    verdict: str
    series: tuple[SeriesStatus, ...]


def studies_status(
    c: sa.Connection, limit: int = 50, wanted: WantedDigest | None = None
) -> tuple[StudyStatus, ...]:
    """The studies received last, newest first."""
    latest = (
        sa.select(studies.c.study_instance_uid)
        .order_by(studies.c.first_received_at.desc())
        .limit(limit)
    )
    uids = c.scalars(latest).all()
    return tuple(found for uid in uids if (found := study_status(c, uid, wanted)))


def count_studies(c: sa.Connection) -> int:
    return c.scalar(sa.select(sa.func.count()).select_from(studies)) or 0


def study_status(
    c: sa.Connection, uid: str, wanted: WantedDigest | None = None
) -> StudyStatus | None:
    """The study with this Study Instance UID, or that holds the series with this UID.

    Without `wanted` nobody asks which version said what.
    """
    found = verdicts_of_study(c, uid) or _by_series(c, uid)
    if not found:
        return None
    return StudyStatus(
        study_instance_uid=found[0].study_instance_uid,
        verdict=_study_verdict(found, wanted),
        series=_series(c, found, wanted),
    )


def _by_series(c: sa.Connection, uid: str) -> tuple[SeriesFinding, ...]:
    query = sa.select(series.c.study_instance_uid).where(series.c.series_instance_uid == uid)
    study_uid = c.scalars(query).first()
    return () if study_uid is None else verdicts_of_study(c, study_uid)


def _series(
    c: sa.Connection, found: Sequence[SeriesFinding], wanted: WantedDigest | None
) -> tuple[SeriesStatus, ...]:
    ids = [finding.examination_id for finding in found if finding.examination_id is not None]
    by_examination: dict[int, list[DeliveryStatus]] = {}
    for delivery in deliveries.of_examinations(c, ids):
        by_examination.setdefault(delivery.examination_id, []).append(_delivery(delivery))
    return tuple(
        _one_series(finding, tuple(by_examination.get(finding.examination_id or 0, ())), wanted)
        for finding in found
    )


def _one_series(
    finding: SeriesFinding, sent: tuple[DeliveryStatus, ...], wanted: WantedDigest | None
) -> SeriesStatus:
    counts = not finding.has_newer_instances
    volumes = tuple(_volume(volume, counts) for volume in finding.volumes)
    # Volume and verdict of a series are chosen alike: the worst, and the first of equals.
    worst = max(finding.volumes, key=lambda volume: volume.verdict.kind.severity, default=None)
    shown = volumes[finding.volumes.index(worst)] if worst is not None else None
    verdict = finding.verdict if counts else None
    set_aside = tuple(_refusal(item) for item in finding.refusals)
    refused = set_aside[0] if set_aside and not volumes else None
    return SeriesStatus(
        series_instance_uid=finding.series_instance_uid,
        modality=finding.modality,
        instance_count=finding.instance_count,
        state=finding.state.value,
        state_sentence=_state_sentence(finding),
        first_received_at=_iso(finding.first_received_at),
        last_received_at=_iso(finding.last_received_at),
        revision=finding.revision_number,
        examined_at=_iso(finding.examined_at),
        verdict=verdict.kind.value if verdict else "",
        rule=_rule(verdict) if verdict else "",
        reasons=verdict.reasons if verdict else (),
        volumes_ml=shown.volumes_ml if shown else {},
        models=shown.models if shown else (),
        warnings=shown.warnings if shown else (),
        refusal_code=refused.code if refused else "",
        refusal=refused.sentence if refused else "",
        failure=finding.failure,
        quarantined=finding.quarantined,
        deliveries=sent,
        volumes=volumes,
        refusals=set_aside,
        completed_by=finding.completed_by,
        completion=finding.completion,
        missing=_missing(finding),
        outdated=OUTDATED if _is_outdated(finding, wanted) else "",
        decisions=tuple(_decision(one, finding) for one in finding.decisions),
    )


def _is_outdated(finding: SeriesFinding, wanted: WantedDigest | None) -> bool:
    return wanted is not None and finding.is_outdated(wanted)


def _state_sentence(finding: SeriesFinding) -> str:
    sentence = STATE_SENTENCES[finding.state]
    if finding.open_since is None:
        return sentence
    since = finding.open_since.isoformat(timespec="seconds")
    return f"{sentence}; an association from {finding.open_from} is open since {since}"


def _missing(finding: SeriesFinding) -> str:
    if finding.missing or not finding.unfinished_pull:
        return finding.missing
    return f"not all of its study was pulled from {finding.unfinished_pull}"


def _volume(volume: ExaminedVolume, counts: bool) -> VolumeStatus:
    verdict, evidence = volume.verdict, volume.evidence
    return VolumeStatus(
        label=volume.label,
        images=volume.images,
        verdict=verdict.kind.value if counts else "",
        rule=_rule(verdict) if counts else "",
        reasons=verdict.reasons if counts else (),
        volumes_ml={kind.value: ml for kind, ml in evidence.volumes_ml.items()},
        models=tuple(f"{model.name} {model.version}" for model in evidence.models),
        warnings=evidence.warnings,
        matrix=evidence.matrix,
        spacing_mm=evidence.spacing_mm,
        face_surface=evidence.face_surface,
        face_probability=evidence.face_probability,
        claims=evidence.claims,
        acquisition=evidence.acquisition,
        unpictured=evidence.unpictured,
    )


def _refusal(set_aside: SetAside) -> RefusalStatus:
    refusal = set_aside.refusal
    return RefusalStatus(
        code=refusal.code.value,
        sentence=refusal.sentence,
        attribute=refusal.attribute,
        values=refusal.values,
        images=set_aside.images,
    )


def _decision(one: HumanDecision, finding: SeriesFinding) -> DecisionStatus:
    return DecisionStatus(
        decision=one.kind.value,
        account=one.account,
        at=one.at.isoformat(),
        note=one.note,
        is_stale=not one.is_of(finding.revision_digest, finding.examination_id),
    )


def _rule(verdict: Verdict) -> str:
    return f"{verdict.rule_id} v{verdict.rule_version}"


def _study_verdict(found: Sequence[SeriesFinding], wanted: WantedDigest | None) -> str:
    """Empty until every series has ended; what can't be examined, or isn't here, proves nothing."""
    ended = (SeriesState.EXAMINED, SeriesState.REFUSED, SeriesState.NOT_RECEIVED)
    if any(finding.state not in ended for finding in found):
        return ""
    kinds = [finding.verdict.kind for finding in found if finding.verdict is not None]
    unproven = (
        one.refusals or one.verdict is None or one.missing or _is_outdated(one, wanted)
        for one in found
    )
    if any(unproven):
        kinds.append(VerdictKind.UNDETERMINED)
    return worst_verdict(kinds).value


def _delivery(delivery: deliveries.Delivery) -> DeliveryStatus:
    return DeliveryStatus(
        id=delivery.id,
        segments=tuple(kind.value for kind in delivery.segmentation.segments),
        destination=delivery.destination,
        state=delivery.state.value,
        attempts=delivery.attempts,
        last_error=delivery.last_error,
        next_attempt_at=_iso(delivery.next_attempt_at),
        sop_instance_uid=delivery.segmentation.sop_instance_uid,
    )


def _iso(at: datetime | None) -> str | None:
    return None if at is None else at.isoformat()
