from __future__ import annotations

import random
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dicomnode.config import VerdictSettings
from dicomnode.domain import (
    Evidence,
    FaceSurface,
    HeaderClaims,
    SegmentKind,
    VerdictKind,
    worst_verdict,
)
from dicomnode.inference import verdict as rules
from dicomnode.inference.verdict import judge

SETTINGS = VerdictSettings()
VOLUMES_ML = st.floats(0, 5000, allow_nan=False)


def evidence(
    foreground: float = 3000.0,
    anonymised: float = 0.0,
    face: float = 0.0,
    claims: HeaderClaims | None = None,
) -> Evidence:
    volumes = {
        SegmentKind.FOREGROUND: foreground,
        SegmentKind.ANONYMISED_AREA: anonymised,
        SegmentKind.FACE: face,
    }
    return Evidence(
        volumes_ml=volumes,
        largest_component_ml=volumes,
        exposed_face_ml=face,
        models=(),
        claims=claims or HeaderClaims(),
        field_of_view_mm=(200.0, 200.0, 200.0),
        spacing_mm=(1.0, 1.0, 1.0),
        matrix=(200, 200, 200),
    )


@pytest.mark.parametrize(
    ("found", "kind"),
    [
        (evidence(anonymised=300), VerdictKind.DEFACED),
        (evidence(face=300), VerdictKind.FACE_VISIBLE),
        (evidence(anonymised=300, face=300), VerdictKind.FACE_VISIBLE),
        (evidence(anonymised=300, face=30), VerdictKind.UNDETERMINED),
        (evidence(anonymised=500, face=22), VerdictKind.UNDETERMINED),
        (evidence(anonymised=1500, face=22), VerdictKind.DEFACED),
        (evidence(), VerdictKind.NO_FACE_IN_VIEW),
        (evidence(anonymised=50), VerdictKind.UNDETERMINED),
        (evidence(foreground=1, anonymised=300), VerdictKind.UNDETERMINED),
        (evidence(claims=HeaderClaims(body_part_examined="HEAD")), VerdictKind.UNDETERMINED),
        (
            evidence(anonymised=300, claims=HeaderClaims(recognizable_visual_features="YES")),
            VerdictKind.UNDETERMINED,
        ),
        (
            evidence(claims=HeaderClaims(deidentification_codes=("113102/DCM",))),
            VerdictKind.UNDETERMINED,
        ),
    ],
)
def test_each_combination_has_its_verdict(found: Evidence, kind: VerdictKind) -> None:
    verdict = judge(found, SETTINGS)
    assert verdict.kind is kind
    assert verdict.reasons
    assert verdict.rule_id


@pytest.mark.parametrize(
    ("found", "kind"),
    [
        (replace(evidence(anonymised=300), widest_gap_mm=6.0), VerdictKind.DEFACED),
        (replace(evidence(anonymised=300), widest_gap_mm=25.0), VerdictKind.UNDETERMINED),
        (replace(evidence(anonymised=300), face_in_gaps_ml=25.0), VerdictKind.UNDETERMINED),
        (replace(evidence(), widest_gap_mm=25.0), VerdictKind.UNDETERMINED),
        (replace(evidence(face=300), widest_gap_mm=25.0), VerdictKind.FACE_VISIBLE),
    ],
)
def test_a_gap_that_could_hide_a_face_proves_nothing(found: Evidence, kind: VerdictKind) -> None:
    assert judge(found, SETTINGS).kind is kind


@given(VOLUMES_ML, VOLUMES_ML, st.floats(0, 200), st.floats(0, 200))
def test_more_missing_slices_never_make_a_verdict_laxer(
    area: float, face: float, gap_mm: float, hidden_ml: float
) -> None:
    whole = evidence(anonymised=area, face=face)
    gapped = replace(whole, widest_gap_mm=gap_mm, face_in_gaps_ml=hidden_ml)
    assert judge(gapped, SETTINGS).kind.severity >= judge(whole, SETTINGS).kind.severity


@pytest.mark.parametrize(
    ("found", "probability", "kind"),
    [
        (evidence(anonymised=300), 0.3, VerdictKind.DEFACED),
        (evidence(anonymised=300), 0.95, VerdictKind.UNDETERMINED),
        (evidence(), 0.95, VerdictKind.UNDETERMINED),
        (evidence(face=300), 0.95, VerdictKind.FACE_VISIBLE),
        (evidence(face=300), 0.0, VerdictKind.FACE_VISIBLE),
    ],
)
def test_a_found_face_contradicts_a_clean_answer(
    found: Evidence, probability: float, kind: VerdictKind
) -> None:
    verdict = judge(replace(found, face_probability=probability), SETTINGS)
    assert verdict.kind is kind
    disagree = any("disagree" in reason for reason in verdict.reasons)
    assert disagree is (kind is VerdictKind.UNDETERMINED)


@given(VOLUMES_ML, VOLUMES_ML, VOLUMES_ML, st.floats(0, 1), st.floats(0, 1), VOLUMES_ML)
def test_no_answer_of_a_detector_ever_makes_a_verdict_laxer(
    fg: float, area: float, face: float, one: float, other: float, more: float
) -> None:
    unasked = evidence(fg, area, face)
    low, high = (replace(unasked, face_probability=value) for value in sorted((one, other)))
    steps = [judge(found, SETTINGS).kind.severity for found in (unasked, low, high)]
    assert steps == sorted(steps)
    more_face = replace(evidence(fg, area, face + more), face_probability=low.face_probability)
    assert judge(more_face, SETTINGS).kind.severity >= judge(low, SETTINGS).kind.severity


def seen(percent: float | None, area_cm2: float = 100.0) -> FaceSurface:
    anonymised = None if percent is None else 100.0 - percent
    return FaceSurface(area_cm2, anonymised, percent, ())


@pytest.mark.parametrize(
    ("found", "surface", "kind"),
    [
        (evidence(anonymised=300), seen(20.0), VerdictKind.DEFACED),
        (evidence(anonymised=300), seen(40.0), VerdictKind.UNDETERMINED),
        (evidence(anonymised=300), seen(100.0, area_cm2=19.0), VerdictKind.DEFACED),
        (evidence(anonymised=300), seen(None), VerdictKind.DEFACED),
        (evidence(), seen(90.0), VerdictKind.UNDETERMINED),
        (evidence(face=300), seen(90.0), VerdictKind.FACE_VISIBLE),
    ],
)
def test_intact_skin_contradicts_a_clean_answer(
    found: Evidence, surface: FaceSurface, kind: VerdictKind
) -> None:
    verdict = judge(replace(found, face_surface=surface), SETTINGS)
    assert verdict.kind is kind
    disagree = any("disagree" in reason for reason in verdict.reasons)
    assert disagree is (kind is VerdictKind.UNDETERMINED)


@given(VOLUMES_ML, VOLUMES_ML, st.floats(0, 100), st.floats(0, 100), st.floats(0, 400), VOLUMES_ML)
def test_more_intact_skin_never_makes_a_verdict_laxer(
    area: float, face: float, one: float, other: float, surface_cm2: float, more: float
) -> None:
    low, high = (
        replace(evidence(3000.0, area, face), face_surface=seen(percent, surface_cm2))
        for percent in sorted((one, other))
    )
    unseen = replace(low, face_surface=None)
    steps = [judge(found, SETTINGS).kind.severity for found in (unseen, low, high)]
    assert steps == sorted(steps)
    more_face = replace(evidence(3000.0, area, face + more), face_surface=low.face_surface)
    assert judge(more_face, SETTINGS).kind.severity >= judge(low, SETTINGS).kind.severity


def test_a_missing_network_is_never_a_proof() -> None:
    found = evidence(anonymised=300)
    without_face = {k: v for k, v in found.volumes_ml.items() if k is not SegmentKind.FACE}
    verdict = judge(replace(found, volumes_ml=without_face), SETTINGS)
    assert verdict.kind is VerdictKind.UNDETERMINED
    assert "no face network" in verdict.reasons[0]


def test_claims_of_defacing_alone_prove_nothing() -> None:
    claims = HeaderClaims(
        patient_identity_removed="YES",
        deidentification_codes=("113102/DCM",),
        recognizable_visual_features="NO",
    )
    assert judge(evidence(face=300, claims=claims), SETTINGS).kind is VerdictKind.FACE_VISIBLE


@given(VOLUMES_ML, VOLUMES_ML, VOLUMES_ML)
def test_every_evidence_has_a_verdict_with_a_reason(fg: float, area: float, face: float) -> None:
    verdict = judge(evidence(fg, area, face), SETTINGS)
    assert verdict.kind in VerdictKind
    assert all(verdict.reasons)


@given(VOLUMES_ML, VOLUMES_ML, VOLUMES_ML, VOLUMES_ML)
def test_more_intact_face_never_makes_a_verdict_laxer(
    fg: float, area: float, face: float, more: float
) -> None:
    before = judge(evidence(fg, area, face), SETTINGS).kind.severity
    after = judge(evidence(fg, area, face + more), SETTINGS).kind.severity
    assert after >= before


@given(VOLUMES_ML, VOLUMES_ML, VOLUMES_ML, st.randoms())
def test_the_order_of_the_rules_changes_nothing(
    fg: float, area: float, face: float, shuffler: random.Random
) -> None:
    found = evidence(fg, area, face, HeaderClaims(body_part_examined="BRAIN"))
    found = replace(found, face_probability=shuffler.random())
    found = replace(found, face_surface=seen(100.0 * shuffler.random()))
    expected = judge(found, SETTINGS)
    shuffled = list(rules.RULES)
    shuffler.shuffle(shuffled)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rules, "RULES", tuple(shuffled))
        assert judge(found, SETTINGS) == expected


def test_a_study_has_the_worst_verdict_of_its_series() -> None:
    assert worst_verdict([VerdictKind.DEFACED, VerdictKind.FACE_VISIBLE]) is (
        VerdictKind.FACE_VISIBLE
    )
    assert worst_verdict([VerdictKind.DEFACED, VerdictKind.NO_FACE_IN_VIEW]) is (
        VerdictKind.NO_FACE_IN_VIEW
    )
    assert worst_verdict([]) is VerdictKind.UNDETERMINED
