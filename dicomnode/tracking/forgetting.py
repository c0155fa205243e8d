"""What is known of one study, so that it can be taken away, and the rows without it.

The record of what people and the gate did stays: audit log, receipts, the export ledger. All of it
names UIDs, none of it an attribute of a patient.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import sqlalchemy as sa

from dicomnode.tracking import (
    audit,
    commitment_requests,
    held,
    holds,
    procedure_steps,
    study_copies,
)
from dicomnode.tracking.audit_chain import JsonValue
from dicomnode.tracking.exports import ExportState
from dicomnode.tracking.gate_schema import exported_studies, held_objects, notices
from dicomnode.tracking.notices import Topic
from dicomnode.tracking.pulls import PullState
from dicomnode.tracking.quarantine import DAMAGED
from dicomnode.tracking.results import remove_folder, remove_results
from dicomnode.tracking.schema import (
    announced_instances,
    association_series,
    commitments,
    deliveries,
    destinations,
    examinations,
    expected_counts,
    human_decisions,
    instances,
    parked_deliveries,
    pulls,
    quarantine,
    refusals,
    revisions,
    segmentations,
    series,
    studies,
    verdicts,
    volumes,
)
from dicomnode.tracking.spool import Spool


@dataclass(frozen=True)
class KnownStudy:
    """`series` are ids by UID; `objects` and `quarantined` are names in the spool, `waiting` in the
    one of the gate's door."""

    study_instance_uid: str
    series: dict[str, int]
    deliveries: frozenset[int]
    objects: tuple[str, ...]
    quarantined: tuple[str, ...]
    waiting: tuple[str, ...]

    @property
    def is_unknown(self) -> bool:
        return not (self.series or self.quarantined or self.waiting)


def known_study(c: sa.Connection, study_instance_uid: str) -> KnownStudy:
    """Everything of it that lies somewhere."""
    s, q = series.c, quarantine.c
    of_study = sa.select(s.series_instance_uid, s.id).where(
        s.study_instance_uid == study_instance_uid
    )
    found: dict[str, int] = {row[0]: row[1] for row in c.execute(of_study)}
    objects = sa.select(instances.c.name).where(instances.c.series_id.in_(found.values()))
    refused = sa.select(q.name, q.reason, q.size_bytes).where(_quarantined(study_instance_uid))
    rows = c.execute(refused).all()
    damaged = [row.name.removeprefix("objects/") for row in rows if row.reason == DAMAGED]
    return KnownStudy(
        study_instance_uid,
        found,
        frozenset(c.scalars(_deliveries(found.values()))),
        (*c.scalars(objects), *damaged),
        tuple(row.name for row in rows if row.reason != DAMAGED),
        tuple(c.scalars(sa.select(held_objects.c.name).where(_is_waiting(study_instance_uid)))),
    )


def why_not(c: sa.Connection, study_instance_uid: str) -> str:
    """What has to end first, as a sentence; empty where nothing has."""
    x, p, s = exported_studies.c, pulls.c, series.c
    asked = {
        "an association that sent to it is open, or its rows are not all written: wait": sa.select(
            s.id
        ).where(s.study_instance_uid == study_instance_uid, holds.is_being_sent()),
        "an export of it is under way: wait, or stop it": sa.select(x.id).where(
            x.study_instance_uid == study_instance_uid, x.state == ExportState.LEAVING.value
        ),
        "it is on the list of pulls and would come again: dicomnode pull --forget": sa.select(
            p.id
        ).where(p.study_instance_uid == study_instance_uid, p.state != PullState.DONE.value),
    }
    return next((why for why, query in asked.items() if c.scalar(query.limit(1))), "")


def lock(c: sa.Connection, study_instance_uid: str) -> None:
    """Until the end of the transaction whoever sends to the study waits: what is asked now holds.

    The rows of its series first, as everybody; a new series needs the row of its study.
    """
    s, of_study = series.c, studies.c.study_instance_uid == study_instance_uid
    here = sa.select(s.id).where(s.study_instance_uid == study_instance_uid).order_by(s.id)
    c.execute(here.with_for_update())
    c.execute(sa.select(studies.c.study_instance_uid).where(of_study).with_for_update())


def note_begin(c: sa.Connection, known: KnownStudy, account: str, why: str, now: datetime) -> None:
    """On record before the first file goes."""
    detail: dict[str, JsonValue] = {"account": account, "why": why}
    audit.append(c, "study is being forgotten", known.study_instance_uid, detail, now)


def discard_waiting(
    c: sa.Connection, known: KnownStudy, spool: Spool, account: str, now: datetime
) -> None:
    """What waits at the gate is settled and gone, at once: nobody may let it pass any more."""
    for name in known.waiting:
        spool.erase(name)
    waiting = sa.select(held_objects.c.id).where(_is_waiting(known.study_instance_uid))
    for held_id in c.scalars(waiting).all():
        held.discard(c, held_id, account=account, now=now)


def erase_files(c: sa.Connection, known: KnownStudy, spool: Spool, results: Path) -> None:
    """Received objects, those in quarantine, SEGs and pictures; may be repeated.

    Files go before their rows: a row without a file is found by whoever asks again, a file without
    a row would be taken for a received one. So this, `lock` and `erase_rows` are one transaction.
    Raises `OSError`.
    """
    for name in known.objects:
        spool.erase(name)
    for name in known.quarantined:
        spool.quarantine_path(name).unlink(missing_ok=True)
    for uid, series_id in known.series.items():
        remove_results(c, series_id, uid, results)


def discard_leftovers(
    c: sa.Connection, study_instance_uid: str, series_instance_uid: str, results: Path
) -> bool:
    """What a job made that was cancelled too late, and ran on while its series was forgotten.

    Whether it was; of a series that is here nothing goes. Raises `OSError`.
    """
    lock(c, study_instance_uid)
    here = sa.select(series.c.id).where(series.c.series_instance_uid == series_instance_uid)
    if c.scalar(here) is not None:
        return False
    remove_folder(series_instance_uid, results)
    return True


def erase_rows(c: sa.Connection, known: KnownStudy, account: str, why: str, now: datetime) -> None:
    """The study is as if it had never come, but for what was done with it."""
    study, ids = known.study_instance_uid, list(known.series.values())
    _erase_notices(c, known)
    _erase_from_lists(c, known)
    study_copies.forget(c, study)
    tried = destinations.c.trial_delivery_id.in_(known.deliveries)
    c.execute(destinations.update().where(tried).values(trial_delivery_id=None))
    of_series = sa.select(examinations.c.id).where(examinations.c.series_id.in_(ids))
    of_volumes = sa.select(volumes.c.id).where(volumes.c.examination_id.in_(of_series))
    conditions: Sequence[tuple[sa.Table, sa.ColumnElement[bool]]] = (
        (commitments, commitments.c.delivery_id.in_(known.deliveries)),
        (parked_deliveries, parked_deliveries.c.delivery_id.in_(known.deliveries)),
        (deliveries, deliveries.c.id.in_(known.deliveries)),
        (segmentations, segmentations.c.volume_id.in_(of_volumes)),
        (refusals, refusals.c.examination_id.in_(of_series)),
        (human_decisions, human_decisions.c.series_id.in_(ids)),
        (verdicts, verdicts.c.series_id.in_(ids)),
        (volumes, volumes.c.examination_id.in_(of_series)),
        (examinations, examinations.c.series_id.in_(ids)),
        (revisions, revisions.c.series_id.in_(ids)),
        (association_series, association_series.c.series_id.in_(ids)),
        (instances, instances.c.series_id.in_(ids)),
        (quarantine, _quarantined(study)),
        (series, series.c.study_instance_uid == study),
        (studies, studies.c.study_instance_uid == study),
        (expected_counts, expected_counts.c.study_instance_uid == study),
        (announced_instances, announced_instances.c.study_instance_uid == study),
        (pulls, pulls.c.study_instance_uid == study),
    )
    for table, condition in conditions:
        c.execute(table.delete().where(condition))
    detail: dict[str, JsonValue] = {
        "account": account,
        "why": why,
        "series": len(known.series),
        "instances": len(known.objects),
        "quarantined": len(known.quarantined),
    }
    audit.append(c, "study forgotten", study, detail, now)


def _erase_notices(c: sa.Connection, known: KnownStudy) -> None:
    """SQLite gives numbers of rows that are gone to new ones: people have to be told of these."""
    ids = list(known.series.values())
    copies, of_series = study_copies.forgotten_with(known.study_instance_uid)
    keys = {
        Topic.COPY_FAILED: copies,
        Topic.COPY_HELD: of_series,
        Topic.FAILED: sa.select(examinations.c.id).where(examinations.c.series_id.in_(ids)),
        Topic.NEEDS_PERSON: sa.select(verdicts.c.id).where(verdicts.c.series_id.in_(ids)),
        Topic.REFUSED: _deliveries(ids),
        Topic.QUARANTINED: sa.select(quarantine.c.id).where(_quarantined(known.study_instance_uid)),
    }
    for topic, query in keys.items():
        subjects = [str(key) for key in c.scalars(query)]
        of_topic = notices.c.topic.endswith(f"/{topic.value}")
        c.execute(notices.delete().where(of_topic, notices.c.subject.in_(subjects)))


def _erase_from_lists(c: sa.Connection, known: KnownStudy) -> None:
    """What modalities and senders told and asked of several things at once keeps the others."""
    of_study = instances.c.series_id.in_(known.series.values())
    uids = set(c.scalars(sa.select(instances.c.sop_instance_uid).where(of_study)))
    refused = sa.select(quarantine.c.sop_instance_uid).where(_quarantined(known.study_instance_uid))
    commitment_requests.forget(c, uids | set(c.scalars(refused)))
    procedure_steps.forget(c, known.study_instance_uid, known.series)


def _deliveries(series_ids: Collection[int]) -> sa.Select[tuple[int]]:
    return (
        sa.select(deliveries.c.id)
        .join(segmentations, segmentations.c.id == deliveries.c.segmentation_id)
        .join(volumes, volumes.c.id == segmentations.c.volume_id)
        .join(examinations, examinations.c.id == volumes.c.examination_id)
        .where(examinations.c.series_id.in_(list(series_ids)))
    )


def _is_waiting(study_instance_uid: str) -> sa.ColumnElement[bool]:
    h = held_objects.c
    return sa.and_(h.study_instance_uid == study_instance_uid, h.state.in_(held.OPEN))


def _quarantined(study_instance_uid: str) -> sa.ColumnElement[bool]:
    """By what they say; one that names only its series is of the study that has it."""
    q, s = quarantine.c, series.c
    of_study = sa.select(s.series_instance_uid).where(s.study_instance_uid == study_instance_uid)
    by_series = sa.and_(q.study_instance_uid == "", q.series_instance_uid.in_(of_study))
    return sa.or_(q.study_instance_uid == study_instance_uid, by_series)
