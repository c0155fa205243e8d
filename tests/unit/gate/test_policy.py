"""Policies: what a project lets leave, and properties that no policy may break."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations, permutations
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from dicomnode.config import GateSettings, OwnGateSettings, Settings, VerdictSettings
from dicomnode.config_defacing import DeidentificationSettings
from dicomnode.config_policy import STRICT_SERIES, Demand, ProjectSettings, SeriesRule
from dicomnode.domain import (
    Acquisition,
    ExaminedVolume,
    GateDecision,
    GateOutcome,
    HeaderClaims,
    RefusalCode,
    SegmentKind,
    SetAside,
    VerdictKind,
    worst_verdict,
)
from dicomnode.gate.decision import decide as decide_by
from dicomnode.gate.policy import Policy, policy_of
from dicomnode.inference.verdict import judge
from dicomnode.tracking.decisions import DecisionKind, HumanDecision
from dicomnode.tracking.findings import SeriesFinding
from tests.unit.gate.findings import DEFACED, LOCALIZER, NOW, OWN, SCREENSHOT, STUDY, of, volume
from tests.unit.tracking.rows import EVIDENCE

BURNED_IN_PASSES = GateSettings(pass_burned_in_annotation=True)
REVIEW_ALL = GateSettings(review_verdicts=tuple(VerdictKind), pass_verdicts=tuple(VerdictKind))


def decide(findings: Sequence[SeriesFinding], policy: Policy) -> GateDecision:
    return decide_by(STUDY, findings, policy, lambda subjects: "installed")


def by(rules: GateSettings, *findings: SeriesFinding) -> GateDecision:
    return decide(findings, Policy("cohort", rules))


def with_claims(**claims: str) -> ExaminedVolume:
    evidence = replace(EVIDENCE, claims=HeaderClaims(**claims))  # type: ignore[arg-type]
    return replace(volume(VerdictKind.DEFACED), evidence=evidence)


def test_the_gate_section_is_the_project_default_and_others_stand_by_their_names() -> None:
    rules = GateSettings(persons_needed=2)
    own = OwnGateSettings(pass_verdicts=(), key_file=Path("key"))
    names = DeidentificationSettings(key_file=Path("key"))
    cohort = ProjectSettings(persons_needed=2, deidentification=names)
    settings = Settings(gate=own, projects={"cohort": cohort})
    assert policy_of(settings) == Policy("default", GateSettings(pass_verdicts=()))
    assert policy_of(settings, "cohort") == Policy("cohort", rules)


def test_an_unknown_project_holds_everything_in_a_sentence() -> None:
    policy = policy_of(Settings(projects={"cohort": ProjectSettings()}), "cohrot")
    decision = decide([DEFACED], policy)
    assert decision.outcome is GateOutcome.HOLD
    assert decision.reasons[0] == (
        "there is no project 'cohrot' in the configuration, so nothing says what may leave for "
        "it (configured: default, cohort)"
    )


def test_other_modalities_hold_with_the_reason_our_own_seg_too() -> None:
    rules = GateSettings(modalities=("CT",))
    decision = by(rules, DEFACED, OWN, replace(DEFACED, modality="CT"))
    assert decision.outcome is GateOutcome.HOLD
    assert [reason.split(": ")[0] for reason in decision.reasons] == [
        "series 1.2.3.4 (MR)",
        "series 1.2.3.4 (SEG)",
    ]
    assert "its modality is not among those that may leave" in decision.reasons[0]
    lenient = GateSettings(modalities=("MR", "SEG"))
    assert by(lenient, DEFACED, OWN).outcome is GateOutcome.RELEASE


@pytest.mark.parametrize(
    ("requirement", "claim", "enough", "lacks"),
    [
        ("patient_identity_removed", "patient_identity_removed", "YES", "(0012,0062)"),
        ("no_recognizable_visual_features", "recognizable_visual_features", "NO", "(0028,0302)"),
        ("no_burned_in_annotation", "burned_in_annotation", "NO", "(0028,0301)"),
    ],
)
def test_a_required_claim_has_to_stand_in_every_volume(
    requirement: str, claim: str, enough: str, lacks: str
) -> None:
    rules = GateSettings.model_validate({requirement: True})
    other = {"YES": "NO", "NO": "YES"}[enough]
    assert by(rules, of(with_claims(**{claim: enough}))).outcome is GateOutcome.RELEASE
    for bad in (with_claims(**{claim: other}), with_claims()):
        decision = by(rules, of(with_claims(**{claim: enough}), bad))
        assert decision.outcome is GateOutcome.HOLD
        assert lacks in decision.reasons[0]
        assert by(BURNED_IN_PASSES, of(bad)).outcome is GateOutcome.RELEASE


def test_where_the_face_detector_is_required_it_has_to_have_looked_at_every_volume() -> None:
    rules = GateSettings(requires_face_detector=True, pass_refusals=(RefusalCode.LOCALIZER,))
    looked_at = with_evidence(face_probability=0.1)
    assert by(rules, of(looked_at)).outcome is GateOutcome.RELEASE
    decision = by(rules, of(looked_at, with_evidence(face_probability=None)))
    assert decision.outcome is GateOutcome.HOLD
    assert "asks for the face detector" in decision.reasons[0]
    aside = by(rules, of(looked_at, refusals=(LOCALIZER,)))
    assert aside.outcome is GateOutcome.HOLD
    assert "no face detector looked" in aside.reasons[0]
    assert by(rules, OWN, of(looked_at)).outcome is GateOutcome.RELEASE


def with_evidence(**changes: Any) -> ExaminedVolume:
    return replace(volume(VerdictKind.DEFACED), evidence=replace(EVIDENCE, **changes))


def test_burned_in_text_holds_unless_the_policy_lets_it_pass() -> None:
    burned_in = of(with_claims(burned_in_annotation="YES"))
    decision = by(GateSettings(), burned_in)
    assert decision.outcome is GateOutcome.HOLD
    assert "(0028,0301) Burned In Annotation is YES" in decision.reasons[0]
    assert by(BURNED_IN_PASSES, burned_in).outcome is GateOutcome.RELEASE
    for harmless in (with_claims(), with_claims(burned_in_annotation="NO")):
        assert by(GateSettings(), of(harmless)).outcome is GateOutcome.RELEASE


def test_what_was_set_aside_has_no_recorded_headers() -> None:
    rules = GateSettings(pass_refusals=(RefusalCode.LOCALIZER,), patient_identity_removed=True)
    series = of(with_claims(patient_identity_removed="YES"), refusals=(LOCALIZER,))
    (reason,) = by(rules, series).reasons
    assert "3 of its images can't be examined, so what the headers say" in reason


@pytest.mark.parametrize("doubt", ["UNDETERMINED", "FACE_VISIBLE"])
def test_a_doubt_passes_in_no_policy_without_a_person(doubt: str) -> None:
    passing = tuple(VerdictKind)[: VerdictKind(doubt).severity + 1]
    with pytest.raises(ValidationError, match="needs a person"):
        GateSettings(pass_verdicts=passing, review_verdicts=())


# Properties

SOME = settings(max_examples=60, deadline=None)

KINDS, CODES = list(VerdictKind), [RefusalCode.LOCALIZER, RefusalCode.SECONDARY_CAPTURE]
ACCOUNTS = ("anna", "bob", "eve")
# What passes is drawn more often than what holds, or hardly any study would ever be released.
GOOD = HeaderClaims(
    patient_identity_removed="YES", recognizable_visual_features="NO", burned_in_annotation="NO"
)
VOLUMES = st.builds(
    lambda kind, claims: replace(volume(kind), evidence=replace(EVIDENCE, claims=claims)),
    st.sampled_from(KINDS),
    st.sampled_from([GOOD, GOOD, GOOD, HeaderClaims(), replace(GOOD, burned_in_annotation="YES")]),
)
DECISIONS = st.lists(
    st.tuples(
        st.sampled_from([DecisionKind.DEFACED] * 4 + list(DecisionKind)[1:3]),
        st.sampled_from(ACCOUNTS),
        st.sampled_from([("ab", 1)] * 4 + [("ab", 2), ("of before", 1)]),
    ),
    max_size=3,
).map(
    lambda given: tuple(
        HumanDecision(number, kind, account, "why", NOW, *seen)
        for number, (kind, account, seen) in enumerate(given)
    )
)


ROWS = [
    SeriesRule(name=f"{needs} {number}", needs=needs, **condition)
    for needs in Demand
    for number, condition in enumerate(
        [{"slices_at_least_mm": 4.0}, {"modalities": ("MR",), "scanning_sequences": ("EP",)}]
    )
]
TABLES = [(), STRICT_SERIES, *((row,) for row in ROWS), *permutations(ROWS, 2)]
ACQUISITIONS = [
    Acquisition(*acquired)
    for acquired in [
        (1.0, ("ORIGINAL",), ("GR",)),
        (5.0, ("ORIGINAL",), ("GR",)),
        (5.0, ("MPR",), ("EP", "SE")),
        (1.0, ("ORIGINAL",), ("EP",)),
        (1.0, None, None),
        (),
    ]
]


@st.composite
def some_series(draw: Any) -> SeriesFinding:
    volumes = draw(st.lists(VOLUMES, max_size=2))
    codes = draw(st.lists(st.sampled_from([LOCALIZER, SCREENSHOT]), max_size=1))
    assume(volumes or codes)
    found = of(*volumes, refusals=tuple(codes), decisions=draw(DECISIONS))
    modality = draw(st.sampled_from(["CT", "MR", "MR", "MR", ""]))
    return replace(found, modality=modality, verdict=found.verdict if volumes else None)


@st.composite
def some_rules(draw: Any) -> GateSettings:
    passing = draw(st.sampled_from([set(KINDS[:n]) for n in range(5)]) | st.just({KINDS[1]}))
    doubts = passing & set(KINDS[2:])
    modalities = draw(st.none() | st.none() | st.sets(st.sampled_from(["CT", "MR"]), min_size=1))
    return GateSettings(
        review_verdicts=tuple(doubts | draw(st.sets(st.sampled_from(KINDS)))),
        pass_verdicts=tuple(passing),
        review_refusals=tuple(draw(st.sets(st.sampled_from(CODES)))),
        pass_refusals=draw(st.sampled_from([(), tuple(CODES), tuple(CODES)])),
        persons_needed=draw(st.sampled_from([1, 2])),
        modalities=None if modalities is None else tuple(modalities),
        patient_identity_removed=draw(st.booleans()),
        no_burned_in_annotation=draw(st.booleans()),
        pass_burned_in_annotation=draw(st.booleans()),
        requires_face_detector=draw(st.booleans()),
        series=draw(st.sampled_from(TABLES)),
    )


def said(*words: tuple[str, DecisionKind, int]) -> tuple[HumanDecision, ...]:
    """Who said what of which examination; 1 is the one that stands there."""
    return tuple(
        HumanDecision(number, kind, account, "why", NOW, "ab", examination)
        for number, (account, kind, examination) in enumerate(words)
    )


YES, NO, NEITHER = DecisionKind.DEFACED, DecisionKind.NOT_DEFACED, DecisionKind.NOT_APPLICABLE
SAYINGS = [
    said(),
    said(("anna", YES, 1)),
    said(("anna", YES, 1), ("anna", YES, 1)),
    said(("anna", YES, 1), ("bob", YES, 1)),
    said(("anna", YES, 0), ("bob", YES, 1)),
    said(("anna", YES, 1), ("bob", NEITHER, 1)),
    said(("anna", NO, 1), ("bob", YES, 1)),
    said(("anna", NO, 0)),
    said(("anna", NO, 0), ("bob", YES, 1)),
    said(("anna", NO, 0), ("bob", YES, 1), ("eve", YES, 1)),
]


def subsets(of_all: Sequence[Any]) -> list[tuple[Any, ...]]:
    return [few for n in range(len(of_all) + 1) for few in combinations(of_all, n)]


# Every policy of verdicts and persons, and every policy of all else, on what DEFACED lets pass.
BY_VERDICT = [
    GateSettings(pass_verdicts=passing, review_verdicts=reviewed, persons_needed=persons)
    for passing in [*(tuple(KINDS[:n]) for n in range(5)), (KINDS[1],)]
    for reviewed in subsets(KINDS)
    if set(passing) & set(KINDS[2:]) <= set(reviewed)
    for persons in (1, 2)
]
BY_THE_REST = [
    GateSettings(
        pass_refusals=passing,
        review_refusals=reviewed,
        modalities=modalities,
        patient_identity_removed=removed,
        no_burned_in_annotation=clean,
    )
    for passing in subsets(CODES)
    for reviewed in ((), (CODES[0],))
    for modalities in (None, ("MR",), ("CT", "MR"))
    for removed in (False, True)
    for clean in (False, True)
]
OF_EVERY_VERDICT = [
    replace(of(volume(kind)), decisions=sayings) for kind in KINDS for sayings in SAYINGS
]
OF_EVERYTHING_ELSE = [
    replace(
        of(replace(volume(KINDS[0]), evidence=replace(EVIDENCE, claims=claims)), refusals=aside),
        modality=modality,
        decisions=sayings,
    )
    for claims in (GOOD, HeaderClaims(), replace(GOOD, burned_in_annotation="YES"))
    for aside in ((), (LOCALIZER,), (LOCALIZER, SCREENSHOT))
    for modality in ("CT", "MR", "")
    for sayings in (SAYINGS[0], SAYINGS[1])
]
# Every table of series, and whether burned-in text passes, on every kind of series.
BY_THE_TABLE = [
    GateSettings(series=table, pass_burned_in_annotation=passes)
    for table in TABLES
    for passes in (False, True)
]
OF_EVERY_KIND = [
    replace(
        of(
            replace(
                volume(KINDS[0]),
                evidence=replace(EVIDENCE, acquisition=acquired, claims=claims),
            )
        ),
        modality=modality,
        decisions=sayings,
    )
    for acquired in ACQUISITIONS
    for claims in (GOOD, replace(GOOD, burned_in_annotation="YES"))
    for modality in ("CT", "MR", "")
    for sayings in (SAYINGS[0], SAYINGS[1])
]


@pytest.mark.parametrize(
    ("every_rules", "findings"),
    [
        (BY_VERDICT, OF_EVERY_VERDICT),
        (BY_THE_TABLE, OF_EVERY_KIND),
        (BY_THE_REST, OF_EVERYTHING_ELSE),
    ],
    ids=["verdicts and persons", "kinds of series", "all else"],
)
def test_a_stricter_policy_never_releases_what_a_laxer_one_holds(
    every_rules: list[GateSettings], findings: list[SeriesFinding]
) -> None:
    """Of all pairs of policies that are in the order, on every finding."""
    policies = [Policy("p", rules) for rules in every_rules]
    released = [
        {n for n, one in enumerate(findings) if decide([one], policy).outcome == "release"}
        for policy in policies
    ]
    pairs = 0
    for strict, by_strict in zip(policies, released, strict=True):
        for lax, by_lax in zip(policies, released, strict=True):
            if strict.is_as_strict_as(lax):
                assert by_strict <= by_lax, (strict, lax)
                pairs += by_strict != by_lax
    assert pairs > 100  # where the order makes a difference at all


def test_more_intact_face_never_releases() -> None:
    """By the rules of the verdict, in every policy, whatever people said."""
    faces_ml = (0.0, 7.0, 9.0, 20.0, 34.0, 36.0, 200.0)
    for anonymised_ml in (0.0, 50.0, 100.0, 400.0, 1500.0):
        ladder = [_judged(anonymised_ml, face_ml) for face_ml in faces_ml]
        for rules in BY_VERDICT:
            for sayings in SAYINGS:
                released = [
                    by(rules, of(one, decisions=sayings)).outcome is GateOutcome.RELEASE
                    for one in ladder
                ]
                assert released == sorted(released, reverse=True), (rules, sayings)


@SOME
@given(some_rules(), some_rules())
def test_the_order_of_policies_is_one(one: GateSettings, other: GateSettings) -> None:
    a, b = Policy("a", one), Policy("b", other)
    assert a.is_as_strict_as(a)
    assert policy_of(Settings(), "nobody's").is_as_strict_as(a)
    assert not a.is_as_strict_as(policy_of(Settings(), "nobody's"))
    if a.is_as_strict_as(b) and b.is_as_strict_as(a):
        assert all(a.passes(k) == b.passes(k) for k in KINDS)


@SOME
@given(st.data(), st.lists(some_series(), min_size=1, max_size=4), some_rules())
def test_the_order_of_findings_volumes_and_decisions_does_not_matter(
    data: st.DataObject, findings: list[SeriesFinding], rules: GateSettings
) -> None:
    mixed = [
        replace(
            one,
            volumes=tuple(data.draw(st.permutations(one.volumes))),
            decisions=tuple(data.draw(st.permutations(one.decisions))),
        )
        for one in data.draw(st.permutations(findings))
    ]
    one, other = by(rules, *findings), by(rules, *mixed)
    assert one.outcome is other.outcome
    assert sorted(one.reasons) == sorted(other.reasons)


def _judged(anonymised_ml: float, face_ml: float) -> ExaminedVolume:
    ml = {
        SegmentKind.FOREGROUND: 3000.0,
        SegmentKind.ANONYMISED_AREA: anonymised_ml,
        SegmentKind.FACE: face_ml,
    }
    evidence = replace(
        EVIDENCE,
        volumes_ml=ml,
        largest_component_ml=ml,
        exposed_face_ml=face_ml,
        claims=HeaderClaims(),
    )
    return ExaminedVolume("", 10, evidence, judge(evidence, VerdictSettings()))


@SOME
@given(some_series(), some_rules(), st.sampled_from(KINDS))
def test_no_person_releases_what_the_policy_does_not_let_pass(
    finding: SeriesFinding, rules: GateSettings, kind: VerdictKind
) -> None:
    assume(kind not in rules.pass_verdicts)
    assert by(rules, finding, of(volume(kind))).outcome is GateOutcome.HOLD
    assert worst_verdict([kind]) is kind


def test_a_set_aside_counts_as_one_more_doubt() -> None:
    rules = GateSettings(
        pass_refusals=(RefusalCode.LOCALIZER,), review_refusals=(RefusalCode.LOCALIZER,)
    )
    aside: SetAside = LOCALIZER
    series = of(volume(VerdictKind.DEFACED), refusals=(aside,))
    assert by(rules, series).outcome is GateOutcome.HOLD
    assert (
        by(rules, replace(series, decisions=said(("anna", NEITHER, 1)))).outcome
        is GateOutcome.RELEASE
    )
