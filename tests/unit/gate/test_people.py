"""Human decisions: one or two persons, stale ones, contradictions, and never silence."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import pytest

from dicomnode.config import GateSettings
from dicomnode.domain import GateDecision, GateOutcome, VerdictKind
from dicomnode.gate.decision import decide
from dicomnode.gate.policy import Policy
from dicomnode.tracking.decisions import DecisionKind, HumanDecision
from tests.unit.gate.findings import DEFACED, NOW, STUDY, of, volume

YES, NO, NEITHER = DecisionKind.DEFACED, DecisionKind.NOT_DEFACED, DecisionKind.NOT_APPLICABLE
DOUBT = of(volume(VerdictKind.UNDETERMINED))
Said = tuple[str, DecisionKind]


def gate(
    kind: VerdictKind, *said: Said, persons: Literal[1, 2] = 1, stale: tuple[Said, ...] = ()
) -> GateDecision:
    """By a policy in which every verdict but DEFACED needs a person."""
    rules = GateSettings(
        review_verdicts=tuple(VerdictKind)[1:],
        pass_verdicts=tuple(VerdictKind),
        persons_needed=persons,
    )
    decisions = tuple(
        HumanDecision(number, what, account, "why", NOW, "ab", examination)
        for number, (examination, (account, what)) in enumerate(
            [*((0, one) for one in stale), *((1, one) for one in said)]
        )
    )
    finding = replace(of(volume(kind)), decisions=decisions)
    return decide(STUDY, [finding], Policy("cohort", rules), lambda subjects: "installed")


def test_a_volume_that_needs_a_person_holds_until_one_has_decided() -> None:
    held = gate(VerdictKind.UNDETERMINED)
    assert held.outcome is GateOutcome.HOLD
    assert held.reasons == (
        "series 1.2.3.4 (MR): UNDETERMINED: because; a person has to decide: "
        "dicomnode decide 1.2.3.4",
    )
    released = gate(VerdictKind.UNDETERMINED, ("anna", YES))
    assert released.outcome is GateOutcome.RELEASE
    assert "anna decided defaced on 2026-01-01" in released.reasons[1]


@pytest.mark.parametrize("answer", [YES, NEITHER])
def test_two_persons_are_two_accounts(answer: DecisionKind) -> None:
    one = gate(VerdictKind.UNDETERMINED, ("anna", answer), persons=2)
    twice = gate(VerdictKind.UNDETERMINED, ("anna", answer), ("anna", answer), persons=2)
    two = gate(VerdictKind.UNDETERMINED, ("anna", answer), ("bob", answer), persons=2)
    assert (one.outcome, twice.outcome) == (GateOutcome.HOLD, GateOutcome.HOLD)
    assert "2 different persons have to decide, 1 did so far" in one.reasons[0]
    assert two.outcome is GateOutcome.RELEASE


@pytest.mark.parametrize("kind", list(VerdictKind))
def test_not_defaced_holds_whatever_the_verdict_and_both_are_told(kind: VerdictKind) -> None:
    for said in ([("anna", NO)], [("anna", NO), ("bob", YES), ("eve", YES)]):
        decision = gate(kind, *said)
        assert decision.outcome is GateOutcome.HOLD
        assert f"anna decided not defaced on 2026-01-01; the verdict is {kind}" in str(decision)


def test_people_who_contradict_each_other_hold_even_a_good_verdict() -> None:
    decision = gate(VerdictKind.DEFACED, ("anna", YES), ("bob", NEITHER))
    assert decision.outcome is GateOutcome.HOLD
    assert "people contradict each other: anna decided defaced" in decision.reasons[0]


def test_a_stale_decision_releases_nothing_and_is_told() -> None:
    held = gate(VerdictKind.UNDETERMINED, stale=(("anna", YES),))
    assert held.outcome is GateOutcome.HOLD
    assert "of an earlier examination: that no longer counts" in held.reasons[0]
    halfway = gate(VerdictKind.UNDETERMINED, ("bob", YES), persons=2, stale=(("anna", YES),))
    assert halfway.outcome is GateOutcome.HOLD
    released = gate(VerdictKind.DEFACED, stale=(("anna", YES),))
    assert released.outcome is GateOutcome.RELEASE
    assert "anna decided defaced on 2026-01-01, of an earlier examination" in released.reasons[1]


def test_a_later_automatic_verdict_does_not_overrule_not_defaced() -> None:
    held = gate(VerdictKind.DEFACED, stale=(("anna", NO),))
    assert held.outcome is GateOutcome.HOLD
    assert held.reasons == (
        "series 1.2.3.4 (MR): anna decided not defaced on 2026-01-01, of an earlier examination; "
        "the verdict is DEFACED: a person has to look again",
    )


def test_people_who_look_again_settle_what_was_said_before() -> None:
    assert gate(VerdictKind.DEFACED, ("bob", YES), stale=(("anna", NO),)).outcome == "release"
    assert gate(VerdictKind.DEFACED, ("anna", YES), stale=(("anna", NO),)).outcome == "release"
    one_of_two = gate(VerdictKind.DEFACED, ("bob", YES), persons=2, stale=(("anna", NO),))
    assert one_of_two.outcome is GateOutcome.HOLD


def test_a_decision_on_another_revision_is_stale() -> None:
    said = HumanDecision(1, YES, "anna", "why", NOW, "of before", 1)
    rules = GateSettings(
        review_verdicts=(VerdictKind.DEFACED,), pass_verdicts=(VerdictKind.DEFACED,)
    )
    finding = replace(DEFACED, decisions=(said,))
    held = decide(STUDY, [finding], Policy("p", rules), lambda subjects: "installed")
    assert held.outcome is GateOutcome.HOLD


def test_a_reviewed_verdict_that_may_not_pass_is_opened_by_nobody() -> None:
    said = tuple(HumanDecision(n, YES, who, "why", NOW, "ab", 1) for n, who in enumerate("ab"))
    rules = GateSettings(review_verdicts=(VerdictKind.UNDETERMINED,))
    finding = replace(DOUBT, decisions=said)
    held = decide(STUDY, [finding], Policy("p", rules), lambda subjects: "installed")
    assert held.outcome is GateOutcome.HOLD
