"""What is known of each series of a study now: the gate decides by it, `status` shows it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any

import sqlalchemy as sa

from dicomnode.domain import (
    ExaminedVolume,
    Refusal,
    RefusalCode,
    SetAside,
    Subject,
    Verdict,
    VerdictKind,
    WantedDigest,
)
from dicomnode.tracking import decisions, expected, holds, study_copies
from dicomnode.tracking.completeness import NamedCount, Source
from dicomnode.tracking.decisions import HumanDecision
from dicomnode.tracking.deliveries import segmentation_file
from dicomnode.tracking.examinations import EVIDENCE, PICTURES
from dicomnode.tracking.schema import (
    examinations,
    refusals,
    revisions,
    segmentations,
    series,
    verdicts,
    volumes,
)
from dicomnode.tracking.states import SeriesState as SeriesState
from dicomnode.tracking.states import series_now
from dicomnode.tracking.study_copies import CopyOrigin


@dataclass(frozen=True)
class SeriesFinding:
    """One series; verdict, volumes and refusals are those of its newest revision.

    `verdict` is the worst of its volumes', or None; `refusals` are the images of which no volume
    was made.

    `has_newer_instances`: instances arrived that no revision holds yet, so whatever was found is
    not of the whole series. `is_being_sent`: an association that sent to it has not ended in
    order, or its rows are not all written, so instances may be missing here. `quarantined` counts
    refused objects that belong to it and whose good copy did not come. `is_own_segmentation`: all
    it holds are SEGs that this node made. `completed_by` names the signal that found the newest
    revision complete, `completion` is its sentence. `expected`: the largest count that anyone
    named. `unfinished_pull`: a source that its study is still to be pulled from. `open_from` and
    `open_since`: who keeps an association open that sent to its study, and since when.
    `decisions`: the last of each account that stands, also where it is stale. `removed_at`: since
    when files of it are gone, by retention. `origin`: of which series it is the copy without a
    face that this node made.
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
    first_received_at: datetime | None
    last_received_at: datetime | None
    revision_id: int | None
    revision_number: int | None
    revision_digest: str | None
    examination_id: int | None
    examined_at: datetime | None
    verdict: Verdict | None
    volumes: tuple[ExaminedVolume, ...]
    refusals: tuple[SetAside, ...]
    failure: str
    software_version: str
    examiner_digest: str
    completed_by: str = ""
    completion: str = ""
    expected: NamedCount | None = None
    unfinished_pull: str = ""
    open_from: str = ""
    open_since: datetime | None = None
    decisions: tuple[HumanDecision, ...] = ()
    removed_at: datetime | None = None
    origin: CopyOrigin | None = None

    @property
    def subjects(self) -> tuple[Subject, ...]:
        """What the choice of networks looks at in its volumes."""
        return tuple(volume.evidence.subject for volume in self.volumes)

    def is_outdated(self, wanted: WantedDigest) -> bool:
        """Whether other software, networks, rules or thresholds than now said what stands here."""
        ended = self.state in (SeriesState.EXAMINED, SeriesState.REFUSED)
        return ended and self.examiner_digest != wanted(self.subjects)

    @property
    def missing(self) -> str:
        """A sentence where somebody names more than are here; our own SEGs need not come back."""
        named = self.expected
        if named is None or self.is_own_segmentation or named.count <= self.instance_count:
            return ""
        return f"{self.instance_count} of {named.count} instances that {named.who} names are here"


def verdicts_of_study(c: sa.Connection, study_instance_uid: str) -> tuple[SeriesFinding, ...]:
    """Every series of the study, examined or not, also those that others count and never came.

    Empty where nothing of the study was ever received.
    """
    return verdicts_of_studies(c, [study_instance_uid])[study_instance_uid]


def verdicts_of_studies(
    c: sa.Connection, study_instance_uids: Collection[str]
) -> Mapping[str, tuple[SeriesFinding, ...]]:
    """The same for each of some studies, with as many queries as for one.

    A statement takes only so many parameters: give a few hundred at a time.
    """
    # Asked first: what comes in between is among the findings.
    absent = expected.never_received(c, study_instance_uids)
    found: dict[str, list[SeriesFinding]] = {uid: [] for uid in study_instance_uids}
    for finding in findings(c, series.c.study_instance_uid.in_(study_instance_uids)):
        found[finding.study_instance_uid].append(finding)
    return {uid: _with_absent(uid, of_it, absent.get(uid, {})) for uid, of_it in found.items()}


def _with_absent(
    study_instance_uid: str, found: Sequence[SeriesFinding], absent: Mapping[str, NamedCount]
) -> tuple[SeriesFinding, ...]:
    if not found:
        return ()
    received = {finding.series_instance_uid for finding in found}
    never = (
        _never_received(study_instance_uid, uid, named)
        for uid, named in absent.items()
        if uid not in received
    )
    return (*found, *never)


def findings(c: sa.Connection, condition: sa.ColumnElement[bool]) -> tuple[SeriesFinding, ...]:
    query = _select().where(condition).order_by(series.c.first_received_at, series.c.id)
    rows = c.execute(query).all()
    # Written with their examination and never changed: later queries see all of them.
    ids = [row.examination_id for row in rows if row.examination_id is not None]
    examined, set_aside = _volumes(c, ids), _refusals(c, ids)
    decided = decisions.standing(c, [row.id for row in rows])
    copied = study_copies.origins(c, [row.series_instance_uid for row in rows])
    return tuple(
        _finding(
            row,
            examined[row.examination_id],
            set_aside[row.examination_id],
            decided.get(row.id, ()),
            copied.get(row.series_instance_uid),
        )
        for row in rows
    )


@cache
def _select() -> sa.Select[Any]:
    """Made once: with its many subqueries that takes longer than to run it for a study."""
    r, e, v = revisions, examinations, verdicts
    return sa.select(
        series,
        r.c.id.label("revision_id"),
        r.c.number.label("revision_number"),
        r.c.digest.label("revision_digest"),
        r.c.examination_started_at,
        r.c.completed_by,
        r.c.completion,
        e.c.id.label("examination_id"),
        e.c.created_at.label("examined_at"),
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
        holds.open_from().label("open_from"),
        holds.open_since().label("open_since"),
        holds.expected_count().label("expected_count"),
        holds.expected_by().label("expected_by"),
        holds.announced_elsewhere().label("announced_elsewhere"),
        holds.unfinished_pull().label("unfinished_pull"),
    ).select_from(series_now())


def _volumes(
    c: sa.Connection, examination_ids: Collection[int]
) -> Mapping[int | None, Sequence[ExaminedVolume]]:
    g = segmentations.c
    query = (
        sa.select(
            volumes,
            g.segments,
            g.sop_instance_uid,
            g.series_instance_uid,
            g.path,
            g.sha256,
            g.pixel_sha256,
        )
        .outerjoin(segmentations, g.volume_id == volumes.c.id)
        .where(volumes.c.examination_id.in_(examination_ids))
        .order_by(volumes.c.examination_id, volumes.c.number)
    )
    found: dict[int | None, list[ExaminedVolume]] = defaultdict(list)
    for row in c.execute(query):
        volume = ExaminedVolume(
            label=row.label,
            images=row.images,
            evidence=EVIDENCE.validate_python(row.evidence),
            verdict=_verdict(row),
            segmentation=None if row.path is None else segmentation_file(row),
            pictures=PICTURES.validate_python(row.pictures),
        )
        found[row.examination_id].append(volume)
    return found


def _refusals(
    c: sa.Connection, examination_ids: Collection[int]
) -> Mapping[int | None, Sequence[SetAside]]:
    query = (
        sa.select(refusals)
        .where(refusals.c.examination_id.in_(examination_ids))
        .order_by(refusals.c.id)
    )
    found: dict[int | None, list[SetAside]] = defaultdict(list)
    for row in c.execute(query):
        values = tuple(row.attribute_values)
        refusal = Refusal(RefusalCode(row.code), row.sentence, row.attribute, values)
        found[row.examination_id].append(SetAside(refusal, row.images))
    return found


def _finding(
    row: sa.Row[Any],
    examined: Sequence[ExaminedVolume],
    set_aside: Sequence[SetAside],
    decided: Sequence[HumanDecision],
    origin: CopyOrigin | None,
) -> SeriesFinding:
    return SeriesFinding(
        study_instance_uid=row.study_instance_uid,
        series_instance_uid=row.series_instance_uid,
        modality=row.modality,
        instance_count=row.instance_count,
        state=_state(row, bool(examined)),
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
        verdict=None if row.kind is None else _verdict(row),
        volumes=tuple(examined),
        refusals=tuple(set_aside),
        failure=row.failure or "",
        software_version=row.software_version or "",
        examiner_digest=row.examiner_digest or "",
        completed_by=row.completed_by or "",
        completion=row.completion or "",
        expected=_expected(row),
        unfinished_pull=row.unfinished_pull or "",
        open_from=row.open_from or "",
        open_since=row.open_since,
        decisions=tuple(decided),
        removed_at=row.removed_at,
        origin=origin,
    )


def _expected(row: sa.Row[Any]) -> NamedCount | None:
    named = []
    if row.expected_count is not None:
        named.append(NamedCount(Source(row.expected_by), int(row.expected_count)))
    if row.announced_elsewhere:
        named.append(NamedCount(Source.IAN, row.instance_count + row.announced_elsewhere))
    return max(named, key=lambda each: each.count, default=None)


def _never_received(study_uid: str, series_uid: str, named: NamedCount) -> SeriesFinding:
    return SeriesFinding(
        study_instance_uid=study_uid,
        series_instance_uid=series_uid,
        modality="",
        instance_count=0,
        state=SeriesState.NOT_RECEIVED,
        has_newer_instances=False,
        is_being_sent=False,
        quarantined=0,
        is_own_segmentation=False,
        first_received_at=None,
        last_received_at=None,
        revision_id=None,
        revision_number=None,
        revision_digest=None,
        examination_id=None,
        examined_at=None,
        verdict=None,
        volumes=(),
        refusals=(),
        failure="",
        software_version="",
        examiner_digest="",
        expected=named,
    )


def _state(row: sa.Row[Any], has_volumes: bool) -> SeriesState:
    if row.instance_count != row.revised_count or row.revision_id is None:
        return SeriesState.RECEIVING
    if row.examination_id is None:
        started = row.examination_started_at is not None
        return SeriesState.EXAMINING if started else SeriesState.WAITING
    if row.failure:
        return SeriesState.FAILED
    return SeriesState.EXAMINED if has_volumes else SeriesState.REFUSED


def _verdict(row: sa.Row[Any]) -> Verdict:
    return Verdict(
        kind=VerdictKind(row.kind),
        rule_id=row.rule_id,
        rule_version=row.rule_version,
        reasons=tuple(row.reasons),
        numbers=row.numbers,
    )
