"""Which network looks at which volume: a pure function of rules, manifest and headers."""

from __future__ import annotations

import itertools
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dicomnode.config import Settings, UseSettings
from dicomnode.domain import HeaderClaims, ModelIdentity, SegmentKind, Subject, subject_of
from dicomnode.errors import ModelError
from dicomnode.inference.examiner import Examiner, examiner_digest
from dicomnode.inference.models import Model
from dicomnode.inference.selection import check, choose, example_rules, in_use

FACE = SegmentKind.FACE
BOTH = ("CT", "MR")


@dataclass(frozen=True)
class Network:
    identity: ModelIdentity
    modalities: tuple[str, ...]


def network(
    name: str, modalities: tuple[str, ...] = BOTH, kind: SegmentKind = SegmentKind.FACE
) -> Network:
    return Network(ModelIdentity(kind, name, "1", name.lower() * 64), modalities)


def rule(name: str, **conditions: Any) -> UseSettings:
    return UseSettings.model_validate({"kind": "face", "network": name, **conditions})


CT_ONLY, STARTER = network("A", ("CT",)), network("B")
HEAD_CT = Subject("CT", "HEAD", (1.0, 0.5, 0.5))


def subject(modality: str = "CT", part: str = "HEAD", *mm: float) -> Subject:
    z, y, x = mm or (1.0, 0.5, 0.5)
    return Subject(modality, part, (z, y, x))


def chosen(of: Sequence[Network], use: Sequence[UseSettings], for_: Subject) -> str:
    """The name of the face network, or why there is none."""
    found = choose(of, use, for_)
    names = [each.identity.name for each in found.networks if each.identity.kind is FACE]
    return names[0] if names else found.unanswered[FACE]


RULES = [
    rule("A", modalities=["CT"], body_parts=["head", "NECK"], finest_spacing_mm=0.4),
    rule("B", coarsest_spacing_mm=3.0),
]


@pytest.mark.parametrize(
    ("for_", "name"),
    [
        (subject(), "A"),
        (subject("CT", "HEADNECK"), "A"),
        (subject("CT", "ABDOMEN"), "B"),
        (subject("MR", "HEAD"), "B"),
        (subject("MR", ""), "B"),  # the first rule can't hold, whatever the body part is
        (subject("CT", "HEAD", 1.0, 0.3, 0.3), "B"),
        (subject("CT", "HEAD", 0.4, 0.4, 0.4), "A"),
        (subject("MR", "HEAD", 3.0, 1.0, 1.0), "B"),
    ],
)
def test_the_first_rule_whose_conditions_hold_chooses(for_: Subject, name: str) -> None:
    assert chosen([CT_ONLY, STARTER], RULES, for_) == name


def test_where_no_rule_holds_there_is_no_network_and_it_says_for_what() -> None:
    why = chosen([CT_ONLY, STARTER], RULES, subject("MR", "HEAD", 3.01, 1.0, 1.0))
    assert why == "no rule of inference.use has a face network for MR, HEAD, 3.01 x 1 x 1 mm"


def test_an_only_network_needs_no_rule_and_never_sees_another_modality() -> None:
    assert chosen([CT_ONLY], [], subject("CT")) == "A"
    assert chosen([CT_ONLY], [], subject("MR")) == "no face network is for MR: A is for CT"
    assert chosen([], [], subject("CT")) == "no face network is installed"


def test_what_a_network_is_for_is_a_condition_of_its_rule() -> None:
    use = [rule("A"), rule("B")]
    assert chosen([CT_ONLY, STARTER], use, subject("CT")) == "A"
    assert chosen([CT_ONLY, STARTER], use, subject("MR")) == "B"
    assert chosen([CT_ONLY], [rule("A")], subject("MR")).startswith("no rule of inference.use")


def test_an_absent_body_part_never_leads_to_a_later_rule() -> None:
    """Neither to the lax network that abdomens get, nor past the strict one that heads get."""
    for first in (rule("A", body_parts=["HEAD"]), rule("A", body_parts=["ABDOMEN"])):
        why = chosen([network("A"), STARTER], [first, rule("B")], subject("CT", ""))
        assert why == (
            "no face network was chosen: A depends on the body part (0018,0015), "
            "which the series does not say"
        )


def test_a_site_can_say_what_an_absent_body_part_gets() -> None:
    use = [rule("A", body_parts=["HEAD", ""]), rule("B")]
    assert chosen([network("A"), STARTER], use, subject("CT", "")) == "A"
    assert chosen([network("A"), STARTER], use, subject("CT", "HEAD")) == "A"
    assert chosen([network("A"), STARTER], use, subject("CT", "CHEST")) == "B"


def test_a_volume_of_unknown_modality_gets_only_what_is_for_all() -> None:
    assert chosen([STARTER], [], subject("", "")) == "B"
    assert "A depends on the modality" in chosen([CT_ONLY], [], subject("", ""))
    use = [rule("B", modalities=["CT"]), rule("B")]
    assert "B depends on the modality" in chosen([STARTER], use, subject("", ""))


def test_kinds_are_chosen_apart_and_in_their_order() -> None:
    foreground = network("F", kind=SegmentKind.FOREGROUND)
    found = choose([STARTER, CT_ONLY, foreground], RULES, HEAD_CT)
    assert [each.identity.name for each in found.networks] == ["F", "A"]
    assert list(found.unanswered) == [SegmentKind.ANONYMISED_AREA]


def test_a_spacing_that_arithmetic_made_a_little_larger_is_that_spacing() -> None:
    found = subject_of("CT", HeaderClaims(body_part_examined=" head "), (2.0000004, 0.5, 0.5))
    assert found == Subject("CT", "HEAD", (2.0, 0.5, 0.5))


@pytest.mark.parametrize(
    ("use", "message"),
    [
        ([], 'no [[inference.use]] with kind = "face" says which looks at which series'),
        ([rule("C")], "inference.use, rule 1: there is no face network C; there are A, B"),
        ([rule("A"), rule("B"), rule("A", modalities=["MR"])], "rule 3: A is for CT, not for MR"),
        (
            [rule("A"), UseSettings(kind=SegmentKind.FOREGROUND, network="A")],
            "rule 2: there is no foreground network A; there is none",
        ),
    ],
)
def test_rules_that_cannot_be_followed_refuse_to_start(
    use: list[UseSettings], message: str
) -> None:
    with pytest.raises(ModelError) as raised:
        check([CT_ONLY, STARTER], use)
    assert message in str(raised.value)


@pytest.mark.parametrize("use", [[], [rule("gone")], [rule("B"), rule("A", modalities=["MR"])]])
def test_where_rules_are_missing_or_wrong_there_is_an_example_of_right_ones(
    use: list[UseSettings],
) -> None:
    foreground = network("F", kind=SegmentKind.FOREGROUND)
    text = example_rules([STARTER, CT_ONLY, foreground], use)
    rules = tuple(
        UseSettings.model_validate(each) for each in tomllib.loads(text)["inference"]["use"]
    )
    assert rules == (rule("A", modalities=["CT"]), rule("B"))
    check([STARTER, CT_ONLY, foreground], rules)


def test_of_networks_for_the_same_the_one_installed_last_comes_first_in_an_example() -> None:
    text = example_rules([STARTER, network("A")], [])
    assert text.index('network = "A"') < text.index('network = "B"')


def test_there_is_no_example_for_what_has_no_network_or_no_need_of_one() -> None:
    assert example_rules([STARTER], []) == ""
    assert example_rules([], [rule("gone")]) == ""


def test_only_networks_that_may_be_chosen_are_in_use() -> None:
    foreground = network("F", kind=SegmentKind.FOREGROUND)
    assert in_use([CT_ONLY, STARTER, foreground], [rule("B")]) == (STARTER, foreground)
    assert in_use([CT_ONLY, foreground], []) == (CT_ONLY, foreground)


SUBJECTS = st.builds(
    subject,
    st.sampled_from(["CT", "MR", ""]),
    st.sampled_from(["HEAD", "ABDOMEN", "HEADNECK", ""]),
    *[st.sampled_from([0.3, 1.0, 2.0, 5.0])] * 3,
)
CONDITIONS = st.fixed_dictionaries(
    {},
    optional={
        "modalities": st.sampled_from([["CT"], ["MR"], ["CT", "MR"]]),
        "body_parts": st.sampled_from([["HEAD"], ["ABDOMEN"], ["HEAD", ""]]),
        "finest_spacing_mm": st.sampled_from([0.5, 1.0]),
        "coarsest_spacing_mm": st.sampled_from([1.0, 3.0]),
    },
)


@settings(deadline=None)
@given(SUBJECTS, st.lists(st.tuples(st.sampled_from("AB"), CONDITIONS), max_size=4))
def test_a_network_only_sees_what_it_is_for_and_an_unknown_never_chooses(
    for_: Subject, rules: list[tuple[str, dict[str, Any]]]
) -> None:
    use = [rule(name, **conditions) for name, conditions in rules] or [rule("B")]
    found = choose([CT_ONLY, STARTER], use, for_)
    assert len(found.networks) + len(found.unanswered) == len(SegmentKind)
    for each in found.networks:
        assert for_.modality in each.modalities or set(each.modalities) == {"CT", "MR"}
        if not any("" in (one.body_parts or ()) for one in use):
            for part in ("HEAD", "ABDOMEN", "CHEST") if not for_.body_part else ():
                assert choose([CT_ONLY, STARTER], use, replace(for_, body_part=part)) == found
        for modality in BOTH if not for_.modality else ():
            assert choose([CT_ONLY, STARTER], use, replace(for_, modality=modality)) == found


def model(name: str, modalities: tuple[str, ...] = BOTH) -> Model:
    identity = network(name).identity
    return Model(identity, Path(name), ("all",), "checkpoint_final.pth", modalities, "MIT", "test")


def examiner(*use: UseSettings, **sections: Any) -> Examiner:
    inference = {"use": list(use)}
    made = Settings.model_validate({"inference": inference, **sections})
    return Examiner((model("A", ("CT",)), model("B")), made)


def test_only_series_that_get_another_network_are_of_another_version() -> None:
    before = examiner(rule("B"))
    after = examiner(rule("A", modalities=["CT"]), rule("B"))
    ct, mr = [subject("CT")], [subject("MR")]
    assert before.wanted_digest(ct) != after.wanted_digest(ct)
    assert before.wanted_digest(mr) == after.wanted_digest(mr)
    assert before.digest != after.digest


def test_the_wanted_digest_is_that_of_an_examination_by_the_chosen_networks() -> None:
    made = examiner(rule("A", modalities=["CT"]), rule("B"))
    subjects = [subject("CT"), subject("CT", "HEAD", 5.0, 1.0, 1.0), subject("MR")]
    volumes = [[one.identity for one in made.choose(each).networks] for each in subjects]
    assert made.wanted_digest(subjects) == examiner_digest(volumes, made.settings)
    # Volumes that the same networks looked at count once, so their number says nothing.
    assert made.wanted_digest(subjects[:2]) == made.wanted_digest(subjects[:1])


def test_which_volume_got_which_network_is_part_of_the_digest() -> None:
    made = examiner(rule("A", modalities=["CT"]), rule("B"))
    orders = itertools.permutations([subject("CT"), subject("MR")])
    assert len({made.wanted_digest(order) for order in orders}) == 2


def test_thresholds_make_another_version_of_everything() -> None:
    strict = examiner(rule("B"), verdict={"face_visible_ml": 30.0})
    for subjects in ([], [subject("CT")], [subject("MR")]):
        assert strict.wanted_digest(subjects) != examiner(rule("B")).wanted_digest(subjects)


def test_a_series_without_a_volume_is_of_no_network() -> None:
    assert examiner(rule("A")).wanted_digest([]) == examiner(rule("B")).wanted_digest([])
