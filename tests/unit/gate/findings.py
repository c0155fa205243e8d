"""Findings as the database gives them, for the tests of the gate."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from dicomnode.domain import (
    ExaminedVolume,
    Refusal,
    RefusalCode,
    SetAside,
    Verdict,
    VerdictKind,
    worst_verdict,
)
from dicomnode.tracking.findings import SeriesFinding, SeriesState
from tests.unit.tracking.rows import EVIDENCE

NOW = datetime(2026, 1, 1, tzinfo=UTC)
STUDY = "1.2.3"


def verdict(kind: VerdictKind) -> Verdict:
    return Verdict(kind, "rule", 1, ("because",))


def volume(kind: VerdictKind, label: str = "") -> ExaminedVolume:
    return ExaminedVolume(label, 10, EVIDENCE, verdict(kind))


def of(*volumes: ExaminedVolume, **changes: Any) -> SeriesFinding:
    """The examined series with these volumes, as it is recorded."""
    worst = worst_verdict(each.verdict.kind for each in volumes)
    return replace(DEFACED, volumes=volumes, verdict=verdict(worst), **changes)


LOCALIZER = SetAside(Refusal(RefusalCode.LOCALIZER, "a localizer"), 3)
SCREENSHOT = SetAside(Refusal(RefusalCode.SECONDARY_CAPTURE, "a screenshot"), 1)
DEFACED = SeriesFinding(
    study_instance_uid=STUDY,
    series_instance_uid="1.2.3.4",
    modality="MR",
    instance_count=10,
    state=SeriesState.EXAMINED,
    has_newer_instances=False,
    is_being_sent=False,
    quarantined=0,
    is_own_segmentation=False,
    first_received_at=NOW,
    last_received_at=NOW,
    revision_id=1,
    revision_number=1,
    revision_digest="ab",
    examination_id=1,
    examined_at=NOW,
    verdict=verdict(VerdictKind.DEFACED),
    volumes=(volume(VerdictKind.DEFACED),),
    refusals=(),
    failure="",
    software_version="1",
    examiner_digest="installed",
)
REFUSED = replace(
    DEFACED,
    state=SeriesState.REFUSED,
    verdict=None,
    volumes=(),
    refusals=(LOCALIZER,),
)
OWN = replace(REFUSED, modality="SEG", is_own_segmentation=True)
