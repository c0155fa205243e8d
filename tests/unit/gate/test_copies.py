"""Which series go into a copy without faces, and when the gate lets such a copy pass."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from dicomnode.config import GateSettings, Settings
from dicomnode.domain import CopyState, CopyWay, GateDecision, GateOutcome, VerdictKind
from dicomnode.errors import DefacingError
from dicomnode.gate.copies import CopyPlan, deidentified_for, manner, plan_copy
from dicomnode.gate.decision import decide
from dicomnode.gate.policy import Policy
from dicomnode.tracking.completeness import NamedCount, Source
from dicomnode.tracking.copied_series import CopyOrigin
from dicomnode.tracking.decisions import DecisionKind, HumanDecision
from dicomnode.tracking.findings import SeriesFinding, SeriesState
from tests.unit.gate.findings import DEFACED, NOW, OWN, REFUSED, STUDY, of, volume

FACE = replace(of(volume(VerdictKind.FACE_VISIBLE)), series_instance_uid="1.2.3.5")
ORIGIN = CopyOrigin(
    study_instance_uid="1.2.9",
    series_instance_uid="1.2.9.1",
    label="",
    way=CopyWay.DEFACED,
    copy_study_instance_uid=STUDY,
    copy_series_instance_uid="1.2.3.4",
    images=10,
    state=CopyState.DONE,
    objections=(),
    proof=None,
    pictures=(),
)


def plan(*findings: SeriesFinding) -> CopyPlan:
    return plan_copy(STUDY, findings)


def unchanged(found: CopyPlan) -> dict[str, tuple[str, ...]]:
    return {one.series_instance_uid: one.unchanged for one in found.series}


def decided(finding: SeriesFinding, kind: DecisionKind) -> SeriesFinding:
    said = HumanDecision(1, kind, "anna", "a nose", NOW, "ab", 1)
    return replace(finding, decisions=(said,))


def test_what_shows_no_face_is_copied_as_it_is() -> None:
    echoes = replace(
        of(volume(VerdictKind.NO_FACE_IN_VIEW, "1"), volume(VerdictKind.UNDETERMINED, "2")),
        series_instance_uid="1.2.3.6",
    )
    found = plan(FACE, DEFACED, echoes, OWN)
    assert unchanged(found) == {"1.2.3.5": (), "1.2.3.4": ("",), "1.2.3.6": ("1",)}
    assert found.left_out == ()


def test_where_a_person_saw_a_face_it_is_removed_whatever_the_verdict() -> None:
    found = plan(decided(DEFACED, DecisionKind.NOT_DEFACED))
    assert unchanged(found) == {"1.2.3.4": ()}


LEFT_OUT = {
    "a localizer": (REFUSED, "a localizer"),
    "a failed examination": (
        replace(FACE, state=SeriesState.FAILED, failure="out of memory", volumes=()),
        "out of memory",
    ),
    "an object in quarantine": (replace(DEFACED, quarantined=2), "2 objects of it"),
    "instances that never came": (
        replace(DEFACED, expected=NamedCount(Source.C_FIND, 11)),
        "10 of 11 instances",
    ),
    "files that are gone": (
        replace(DEFACED, removed_at=datetime(2026, 1, 2, tzinfo=UTC)),
        "removed on 2026-01-02",
    ),
}


@pytest.mark.parametrize("name", LEFT_OUT)
def test_what_nobody_can_answer_for_is_left_out_and_told(name: str) -> None:
    finding, why = LEFT_OUT[name]
    found = plan(FACE, finding)
    assert unchanged(found) == {"1.2.3.5": ()}
    assert why in found.left_out[0].sentence
    with pytest.raises(DefacingError, match="no examined series of it shows a face"):
        plan(finding)


@pytest.mark.parametrize(
    "change",
    [
        {"state": SeriesState.RECEIVING},
        {"state": SeriesState.WAITING},
        {"state": SeriesState.EXAMINING},
        {"is_being_sent": True},
    ],
)
def test_a_study_of_which_more_may_come_is_not_copied(change: dict[str, Any]) -> None:
    with pytest.raises(DefacingError, match=r"wait: series 1\.2\.3\.4"):
        plan(FACE, replace(DEFACED, **change))


def test_neither_an_unknown_study_nor_a_copy_is_copied() -> None:
    with pytest.raises(DefacingError, match="nothing was received"):
        plan()
    with pytest.raises(DefacingError, match="a copy that this node made"):
        plan(replace(FACE, origin=ORIGIN))


def test_what_is_in_a_copy_and_how_it_is_made_name_it() -> None:
    first = plan(FACE, DEFACED).study_instance_uid(STUDY, "noise")
    assert plan(DEFACED, FACE).study_instance_uid(STUDY, "noise") == first
    others = {
        plan(FACE).study_instance_uid(STUDY, "noise"),
        plan(FACE, DEFACED).study_instance_uid(STUDY, "blur"),
        plan(replace(FACE, revision_digest="cd"), DEFACED).study_instance_uid(STUDY, "noise"),
        plan(FACE, DEFACED).study_instance_uid("1.2.4", "noise"),
    }
    assert len(others - {first}) == 4


def ask(origin: CopyOrigin, **changes: Any) -> GateDecision:
    finding = replace(DEFACED, origin=origin, **changes)
    return decide(STUDY, [finding], Policy("p", GateSettings()), lambda _: "installed")


def test_a_copy_with_its_proof_passes_by_its_verdict() -> None:
    assert ask(ORIGIN).outcome is GateOutcome.RELEASE


def test_what_the_proof_objects_to_holds_whatever_networks_and_people_say() -> None:
    objected = replace(ORIGIN, objections=("3 voxels of the brain changed",))
    said = (HumanDecision(1, DecisionKind.DEFACED, "anna", "nothing", NOW, "ab", 1),)
    for decisions in ((), said):
        decision = ask(objected, decisions=decisions)
        assert decision.outcome is GateOutcome.HOLD
        assert "the proof is not given: 3 voxels of the brain changed" in decision.reasons[0]


@pytest.mark.parametrize("state", [state for state in CopyState if state is not CopyState.DONE])
def test_a_copy_that_is_not_whole_holds(state: CopyState) -> None:
    decision = ask(replace(ORIGIN, state=state))
    assert decision.outcome is GateOutcome.HOLD
    assert "is not whole" in decision.reasons[0]


def test_a_copy_without_names_leaves_for_its_project_alone() -> None:
    """Two projects that got the same pseudonyms could tell each other of whom they are."""
    mine = replace(DEFACED, origin=replace(ORIGIN, project="mine"))
    for name, is_theirs in (("mine", True), ("other", False)):
        for rules in (GateSettings(), GateSettings(deidentify=True)):
            decision = decide(STUDY, [mine], Policy(name, rules), lambda _: "installed")
            assert (decision.outcome is GateOutcome.RELEASE) == is_theirs
            assert is_theirs or "pseudonyms are those of project mine" in decision.reasons[0]


def test_a_copy_with_names_holds_for_a_project_that_asks_for_others() -> None:
    named = replace(DEFACED, origin=ORIGIN)
    policy = Policy("mine", GateSettings(deidentify=True))
    decision = decide(STUDY, [named], policy, lambda _: "installed")
    assert decision.outcome is GateOutcome.HOLD
    assert "deface STUDY_UID --project mine" in decision.reasons[0]


def test_a_project_with_names_of_its_own_has_its_own_copies() -> None:
    own = [{"key_file": "a"}, {"key_file": "b"}, {"key_file": "a", "dates": "remove"}]
    with_names = Settings(projects={"one": {}, "two": {}})  # type: ignore[dict-item]
    assert deidentified_for(with_names, "one") == deidentified_for(with_names, "default") == ""
    every = {manner(with_names, "ab", "")}
    for names in own:
        other = names | {"key_file": f"{names['key_file']}-2"}
        project, second = ({"deidentify": True, "deidentification": n} for n in (names, other))
        settings = Settings(projects={"one": project, "two": second})  # type: ignore[dict-item]
        for name in ("one", "two"):
            assert deidentified_for(settings, name) == name
            every.add(manner(settings, "ab", name))
    assert len(every) == 1 + 2 * len(own)
    with pytest.raises(DefacingError, match="no project 'three'"):
        deidentified_for(with_names, "three")
