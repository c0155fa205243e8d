"""Examinations and verdicts: what was found in a revision, and what counts for a series now.

A series has at most one current examination and one current verdict; the database itself keeps
that. An examination holds every volume of the series, and its verdict is their worst. The result
of a revision that is no longer the newest is kept, and never becomes current.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from pydantic import TypeAdapter

from dicomnode.domain import (
    Evidence,
    Examination,
    ExaminedVolume,
    Picture,
    SegmentationFile,
    SetAside,
    Verdict,
)
from dicomnode.tracking import deliveries, outdated, study_summaries
from dicomnode.tracking.schema import (
    examinations,
    refusals,
    revisions,
    segmentations,
    series,
    verdicts,
    volumes,
)

EVIDENCE = TypeAdapter(Evidence)
PICTURES = TypeAdapter(tuple[Picture, ...])


def start(c: sa.Connection, revision_id: int, now: datetime | None = None) -> None:
    """Note that the examination of a revision is under way."""
    started = c.scalars(
        revisions.update()
        .where(revisions.c.id == revision_id)
        .values(examination_started_at=now or datetime.now(UTC))
        .returning(revisions.c.series_id)
    )
    for series_id in started.all():
        study_summaries.touch(c, series_id)


def record(
    c: sa.Connection, revision_id: int, examination: Examination, now: datetime | None = None
) -> int:
    """Keep an examination and make it the current one of its series; returns its id.

    Deliveries of older results that are still waiting are cancelled: a SEG of a superseded
    examination must not reach a PACS after its successor. Raises `LookupError` for an unknown
    revision and `ValueError` where the examination is of another one, or empty.
    """
    at = now or datetime.now(UTC)
    revision = _revision(c, revision_id)
    if examination.revision_digest != revision.digest:
        raise ValueError(f"the examination is not of revision {revision_id}")
    if not examination.volumes and not examination.set_aside:
        raise ValueError("an examination has a volume, or says why there is none")
    examination_id = _insert(c, revision, examination, "", at)
    if examination.verdict is not None:
        _insert_verdict(c, revision, examination_id, examination.verdict, at)
    for number, volume in enumerate(examination.volumes, start=1):
        _insert_volume(c, examination_id, number, volume)
    for set_aside in examination.set_aside:
        _insert_refusal(c, revision, examination_id, set_aside, at)
    study_summaries.touch(c, revision.series_id)
    return examination_id


def record_failure(
    c: sa.Connection, revision_id: int, sentence: str, now: datetime | None = None
) -> int:
    """Keep that an examination could not be made; the series has no verdict then."""
    revision = _revision(c, revision_id)
    empty = Examination(revision_digest=revision.digest)
    failure = sentence or "the examination failed without saying why"
    examination_id = _insert(c, revision, empty, failure, now or datetime.now(UTC))
    study_summaries.touch(c, revision.series_id)
    return examination_id


def is_examined(c: sa.Connection, revision_id: int) -> bool:
    """Whether it has an examination that counts, and that did not fail."""
    e = examinations.c
    counts = (e.revision_id == revision_id, e.is_current, e.failure == "")
    return c.scalar(sa.select(e.id).where(*counts)) is not None


def void(c: sa.Connection, series_id: int) -> None:
    """What was found in a series no longer counts."""
    mine = sa.select(examinations.c.id).where(examinations.c.series_id == series_id)
    of_series = {
        refusals: refusals.c.examination_id.in_(mine),
        examinations: examinations.c.series_id == series_id,
        verdicts: verdicts.c.series_id == series_id,
    }
    for table, condition in of_series.items():
        # In these words SQLite finds it by the index of what is current.
        current = sa.text("is_current")
        c.execute(table.update().where(condition, current).values(is_current=False))


def _revision(c: sa.Connection, revision_id: int) -> sa.Row[int, int, str, bool]:
    """The revision's row; its series is locked until the end of the transaction."""
    series_id = c.scalar(sa.select(revisions.c.series_id).where(revisions.c.id == revision_id))
    if series_id is None:
        raise LookupError(f"there is no revision {revision_id}")
    c.execute(sa.select(series.c.id).where(series.c.id == series_id).with_for_update())
    columns = (revisions.c.id, revisions.c.series_id, revisions.c.digest, revisions.c.is_current)
    return c.execute(sa.select(*columns).where(revisions.c.id == revision_id)).one()


def _insert(
    c: sa.Connection,
    revision: sa.Row[int, int, str, bool],
    examination: Examination,
    failure: str,
    at: datetime,
) -> int:
    if revision.is_current:
        void(c, revision.series_id)
        deliveries.cancel_of_series(c, revision.series_id, at)
    c.execute(revisions.update().where(revisions.c.id == revision.id).values(is_examined=True))
    inserted = c.execute(
        examinations.insert().values(
            series_id=revision.series_id,
            revision_id=revision.id,
            created_at=at,
            failure=failure,
            software_version=examination.software_version,
            examiner_digest=examination.examiner_digest,
            subjects=outdated.encode(each.evidence.subject for each in examination.volumes),
            is_current=revision.is_current,
        )
    )
    return _key(inserted)


def _insert_verdict(
    c: sa.Connection,
    revision: sa.Row[int, int, str, bool],
    examination_id: int,
    verdict: Verdict,
    at: datetime,
) -> None:
    c.execute(
        verdicts.insert().values(
            series_id=revision.series_id,
            examination_id=examination_id,
            created_at=at,
            is_current=revision.is_current,
            **_judgement(verdict),
        )
    )


def _insert_volume(
    c: sa.Connection, examination_id: int, number: int, volume: ExaminedVolume
) -> None:
    inserted = c.execute(
        volumes.insert().values(
            examination_id=examination_id,
            number=number,
            label=volume.label,
            images=volume.images,
            evidence=EVIDENCE.dump_python(volume.evidence, mode="json"),
            pictures=PICTURES.dump_python(volume.pictures, mode="json"),
            **_judgement(volume.verdict),
        )
    )
    if volume.segmentation is not None:
        _insert_segmentation(c, _key(inserted), volume.segmentation)


def _insert_refusal(
    c: sa.Connection,
    revision: sa.Row[int, int, str, bool],
    examination_id: int,
    set_aside: SetAside,
    at: datetime,
) -> None:
    refusal = set_aside.refusal
    c.execute(
        refusals.insert().values(
            examination_id=examination_id,
            code=refusal.code.value,
            sentence=refusal.sentence,
            attribute=refusal.attribute,
            attribute_values=list(refusal.values),
            images=set_aside.images,
            created_at=at,
            is_current=revision.is_current,
        )
    )


def _insert_segmentation(c: sa.Connection, volume_id: int, segmentation: SegmentationFile) -> None:
    c.execute(
        segmentations.insert().values(
            volume_id=volume_id,
            segments=[kind.value for kind in segmentation.segments],
            sop_instance_uid=segmentation.sop_instance_uid,
            series_instance_uid=segmentation.series_instance_uid,
            path=str(segmentation.path),
            sha256=segmentation.sha256,
            pixel_sha256=segmentation.pixel_sha256,
        )
    )


def _judgement(verdict: Verdict) -> dict[str, Any]:
    return {
        "kind": verdict.kind.value,
        "rule_id": verdict.rule_id,
        "rule_version": verdict.rule_version,
        "reasons": list(verdict.reasons),
        "numbers": dict(verdict.numbers),
    }


def _key(inserted: sa.CursorResult[Any]) -> int:
    key = inserted.inserted_primary_key
    assert key is not None
    return int(key[0])
