from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from dicomnode.config import GateSettings
from dicomnode.domain import GateDecision, GateOutcome, Refusal, RefusalCode, Verdict, VerdictKind
from dicomnode.gate.decision import decide as decide_by
from dicomnode.tracking.findings import SeriesFinding, SeriesState

NOW = datetime(2026, 1, 1, tzinfo=UTC)
STUDY = "1.2.3"
SETTINGS = GateSettings()


def decide(study: str, findings: Sequence[SeriesFinding], settings: GateSettings) -> GateDecision:
    return decide_by(study, findings, settings, "installed")


def verdict(kind: VerdictKind) -> Verdict:
    return Verdict(kind, "rule", 1, ("because",))


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
    evidence=None,
    refusal=None,
    failure="",
    software_version="1",
    examiner_digest="installed",
)
REFUSED = replace(
    DEFACED,
    state=SeriesState.REFUSED,
    verdict=None,
    refusal=Refusal(RefusalCode.LOCALIZER, "a localizer"),
)
OWN = replace(REFUSED, modality="SEG", is_own_segmentation=True)
HOLDING = {
    "a visible face": replace(DEFACED, verdict=verdict(VerdictKind.FACE_VISIBLE)),
    "a doubt": replace(DEFACED, verdict=verdict(VerdictKind.UNDETERMINED)),
    "no face in view": replace(DEFACED, verdict=verdict(VerdictKind.NO_FACE_IN_VIEW)),
    "a refused series": REFUSED,
    "a failed examination": replace(DEFACED, state=SeriesState.FAILED, failure="out of memory"),
    "late instances": replace(DEFACED, has_newer_instances=True, state=SeriesState.RECEIVING),
    "an object in quarantine": replace(DEFACED, quarantined=1),
    "an association that isn't settled": replace(DEFACED, is_being_sent=True),
    "a SEG of ours with an object in quarantine": replace(OWN, quarantined=1),
    "a series that waits": replace(DEFACED, state=SeriesState.WAITING, verdict=None),
    "a series being examined": replace(DEFACED, state=SeriesState.EXAMINING, verdict=None),
    "another examiner": replace(DEFACED, examiner_digest="of last year"),
    "no verdict at all": replace(DEFACED, verdict=None),
}


def test_a_study_of_proven_series_is_released() -> None:
    decision = decide(STUDY, [DEFACED, DEFACED], SETTINGS)
    assert decision.outcome is GateOutcome.RELEASE
    assert len(decision.reasons) == 2


@pytest.mark.parametrize("name", HOLDING)
def test_one_series_without_proof_holds_its_study(name: str) -> None:
    decision = decide(STUDY, [DEFACED, HOLDING[name]], SETTINGS)
    assert decision.outcome is GateOutcome.HOLD
    assert len(decision.reasons) == 1
    assert "1.2.3.4" in decision.reasons[0]


def test_every_holding_series_gives_its_reason() -> None:
    decision = decide(STUDY, list(HOLDING.values()), SETTINGS)
    assert len(decision.reasons) == len(HOLDING)


def test_our_own_seg_does_not_hold_its_study() -> None:
    decision = decide(STUDY, [DEFACED, OWN, replace(OWN, state=SeriesState.WAITING)], SETTINGS)
    assert decision.outcome is GateOutcome.RELEASE
    assert "our own SEG" in decision.reasons[1]
    assert decide(STUDY, [OWN], SETTINGS).outcome is GateOutcome.HOLD


def test_an_unknown_study_is_not_released() -> None:
    assert decide(STUDY, [], SETTINGS).outcome is GateOutcome.UNKNOWN_STUDY


def test_policy_may_let_bodies_and_refused_series_pass() -> None:
    lenient = GateSettings(
        pass_verdicts=("DEFACED", "NO_FACE_IN_VIEW"), pass_refusals=(RefusalCode.LOCALIZER,)
    )
    series = [DEFACED, HOLDING["no face in view"], REFUSED]
    assert decide(STUDY, series, lenient).outcome is GateOutcome.RELEASE
    series.append(HOLDING["a visible face"])
    assert decide(STUDY, series, lenient).outcome is GateOutcome.HOLD


def test_a_study_of_which_nothing_was_examined_is_held_whatever_may_pass() -> None:
    lenient = GateSettings(pass_refusals=tuple(RefusalCode))
    assert decide(STUDY, [REFUSED, REFUSED], lenient).outcome is GateOutcome.HOLD


def test_a_series_that_still_arrives_is_not_said_to_have_changed() -> None:
    arriving = replace(
        DEFACED,
        state=SeriesState.RECEIVING,
        has_newer_instances=True,
        examination_id=None,
        verdict=None,
    )
    (reason,) = decide(STUDY, [arriving], SETTINGS).reasons
    assert "still arriving" in reason
