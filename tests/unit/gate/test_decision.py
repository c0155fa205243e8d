from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from dicomnode.config import GateSettings
from dicomnode.domain import (
    GateDecision,
    GateOutcome,
    RefusalCode,
    VerdictKind,
)
from dicomnode.gate.decision import decide as decide_by
from dicomnode.gate.policy import Policy
from dicomnode.tracking.completeness import NamedCount, Source
from dicomnode.tracking.findings import SeriesFinding, SeriesState
from tests.unit.gate.findings import (
    DEFACED,
    LOCALIZER,
    OWN,
    REFUSED,
    SCREENSHOT,
    STUDY,
    of,
    verdict,
    volume,
)

SETTINGS = GateSettings()


def decide(study: str, findings: Sequence[SeriesFinding], settings: GateSettings) -> GateDecision:
    return decide_by(study, findings, Policy("default", settings), lambda subjects: "installed")


OPEN = replace(DEFACED, verdict=None, volumes=())
HOLDING = {
    "a visible face": of(volume(VerdictKind.FACE_VISIBLE)),
    "a doubt": of(volume(VerdictKind.UNDETERMINED)),
    "no face in view": of(volume(VerdictKind.NO_FACE_IN_VIEW)),
    "a face in the second volume": of(
        volume(VerdictKind.DEFACED, "EchoTime 5"), volume(VerdictKind.FACE_VISIBLE, "EchoTime 9")
    ),
    "a localizer inside": of(volume(VerdictKind.DEFACED), refusals=(LOCALIZER,)),
    "a refused series": REFUSED,
    "a failed examination": replace(DEFACED, state=SeriesState.FAILED, failure="out of memory"),
    "late instances": replace(DEFACED, has_newer_instances=True, state=SeriesState.RECEIVING),
    "an object in quarantine": replace(DEFACED, quarantined=1),
    "an association that isn't settled": replace(DEFACED, is_being_sent=True),
    "a SEG of ours with an object in quarantine": replace(OWN, quarantined=1),
    "a series that waits": replace(OPEN, state=SeriesState.WAITING),
    "a series being examined": replace(OPEN, state=SeriesState.EXAMINING),
    "another examiner": replace(DEFACED, examiner_digest="of last year"),
    "a set-aside and another examiner": replace(REFUSED, examiner_digest="of last year"),
    "instances that never came": replace(DEFACED, expected=NamedCount(Source.C_FIND, 11)),
    "a series that never came": replace(
        OPEN,
        state=SeriesState.NOT_RECEIVED,
        instance_count=0,
        expected=NamedCount(Source.MPPS, 200),
    ),
    "no verdict at all": replace(DEFACED, verdict=None),
    "a verdict of nothing": replace(DEFACED, volumes=()),
    "a verdict of nothing beside a set-aside": replace(DEFACED, volumes=(), refusals=(LOCALIZER,)),
    "an examination that says nothing": replace(DEFACED, volumes=(), verdict=None),
    "a worse verdict than those of its volumes": replace(
        DEFACED, verdict=verdict(VerdictKind.FACE_VISIBLE)
    ),
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


def test_who_counts_more_than_is_here_is_named() -> None:
    lacking = replace(DEFACED, expected=NamedCount(Source.IAN, 424), instance_count=384)
    (reason,) = decide(STUDY, [lacking], SETTINGS).reasons
    assert "384 of 424 instances that the Instance Availability Notification names" in reason


@pytest.mark.parametrize("count", [10, 9])
def test_a_count_of_what_is_here_or_less_holds_nothing(count: int) -> None:
    whole = replace(DEFACED, expected=NamedCount(Source.PULL, count))
    own = replace(OWN, expected=NamedCount(Source.C_FIND, 99))
    assert decide(STUDY, [whole, own], SETTINGS).outcome is GateOutcome.RELEASE


def test_a_pull_that_is_not_done_holds_its_study_once() -> None:
    pulled = replace(DEFACED, unfinished_pull="archive")
    decision = decide(STUDY, [pulled, pulled], SETTINGS)
    assert decision.outcome is GateOutcome.HOLD
    assert decision.reasons == (
        "the study is on the list of pulls from archive and not all of it came",
    )


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


def test_every_volume_and_every_set_aside_that_holds_is_named() -> None:
    series = of(
        volume(VerdictKind.DEFACED, "EchoTime 5"),
        volume(VerdictKind.FACE_VISIBLE, "EchoTime 9"),
        volume(VerdictKind.UNDETERMINED, "EchoTime 14"),
        refusals=(LOCALIZER, SCREENSHOT),
    )
    decision = decide(STUDY, [series], SETTINGS)
    assert decision.outcome is GateOutcome.HOLD
    assert decision.reasons == (
        "series 1.2.3.4 (MR): volume EchoTime 9: FACE_VISIBLE: because",
        "series 1.2.3.4 (MR): volume EchoTime 14: UNDETERMINED: because",
        "series 1.2.3.4 (MR): 3 of its images can't be examined, and may show a face: "
        "LOCALIZER: a localizer",
        "series 1.2.3.4 (MR): 1 of its images can't be examined, and may show a face: "
        "SECONDARY_CAPTURE: a screenshot",
    )


@pytest.mark.parametrize("place", [0, 1, 2])
@pytest.mark.parametrize("kind", list(VerdictKind)[1:])
def test_one_volume_that_may_not_leave_holds_wherever_it_stands(
    kind: VerdictKind, place: int
) -> None:
    kinds = [VerdictKind.DEFACED] * 3
    assert decide(STUDY, [of(*map(volume, kinds))], SETTINGS).outcome is GateOutcome.RELEASE
    kinds[place] = kind
    assert decide(STUDY, [of(*map(volume, kinds))], SETTINGS).outcome is GateOutcome.HOLD


def test_every_code_of_what_was_set_aside_has_to_be_let_pass() -> None:
    series = of(volume(VerdictKind.DEFACED), refusals=(LOCALIZER, SCREENSHOT))
    one = GateSettings(pass_refusals=(RefusalCode.LOCALIZER,))
    both = GateSettings(pass_refusals=(RefusalCode.LOCALIZER, RefusalCode.SECONDARY_CAPTURE))
    (reason,) = decide(STUDY, [series], one).reasons
    assert "SECONDARY_CAPTURE" in reason
    released = decide(STUDY, [series], both)
    assert released.outcome is GateOutcome.RELEASE
    assert "3 of its images refused as LOCALIZER" in released.reasons[1]


def test_what_was_set_aside_passes_no_face_beside_it() -> None:
    lenient = GateSettings(pass_refusals=tuple(RefusalCode))
    series = of(volume(VerdictKind.FACE_VISIBLE), refusals=(LOCALIZER,))
    assert decide(STUDY, [series], lenient).outcome is GateOutcome.HOLD


def test_a_series_that_still_arrives_is_not_said_to_have_changed() -> None:
    arriving = replace(
        DEFACED,
        state=SeriesState.RECEIVING,
        has_newer_instances=True,
        examination_id=None,
        verdict=None,
        volumes=(),
    )
    (reason,) = decide(STUDY, [arriving], SETTINGS).reasons
    assert "still arriving" in reason
