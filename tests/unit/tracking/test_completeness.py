"""The rule alone: which signal fires, when, and that no fact makes it fire too early."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dicomnode.config import CompletenessSettings
from dicomnode.domain import SizeHints
from dicomnode.tracking.completeness import (
    HintGroup,
    SeriesFacts,
    Signal,
    Source,
    decide,
    hint_of,
)
from tests.unit.tracking.rows import SERIES, STUDY, at

SETTINGS = CompletenessSettings(
    quiet_seconds=30, shortest_quiet_seconds=5, longest_quiet_seconds=300
)
RELEASED = SeriesFacts(
    series_id=1,
    study_instance_uid=STUDY,
    series_instance_uid=SERIES,
    calling_ae_title="SCANNER",
    instance_count=100,
    is_being_sent=False,
    was_released=True,
    received_at=at(0),
    quiet_since=at(0),
)
LOST = replace(RELEASED, was_released=False)


def acquisition(total: int, here: int = 100, number: int | None = 1) -> tuple[HintGroup, ...]:
    return (HintGroup(SizeHints(acquisition_number=number, images_in_acquisition=total), here),)


def frames(here: int = 100, total: int | None = None, uid: str = "") -> tuple[HintGroup, ...]:
    hints = SizeHints(number_of_frames=40, concatenation_uid=uid, in_concatenation_total=total)
    return (HintGroup(hints, here),)


# (facts, seconds of quiet after which the signal fires and not before, signal, in its sentence)
CASES = {
    "nothing is known of its associations": (LOST, 30, Signal.QUIET_TIME, "lost"),
    "released, and the sender is unknown": (RELEASED, 30, Signal.ASSOCIATION_RELEASED, "released"),
    "released by a sender that never pauses": (
        replace(RELEASED, learned_quiet_seconds=7.0),
        7,
        Signal.ASSOCIATION_RELEASED,
        "released",
    ),
    "learned less than the lower bound": (
        replace(RELEASED, learned_quiet_seconds=0.1),
        5,
        Signal.ASSOCIATION_RELEASED,
        "released",
    ),
    "learned more than the upper bound": (
        replace(RELEASED, learned_quiet_seconds=3000.0),
        300,
        Signal.ASSOCIATION_RELEASED,
        "released",
    ),
    "aborted by a sender that never pauses": (
        replace(LOST, learned_quiet_seconds=7.0),
        30,
        Signal.QUIET_TIME,
        "aborted",
    ),
    "aborted by a sender that pauses long": (
        replace(LOST, learned_quiet_seconds=90.0),
        90,
        Signal.QUIET_TIME,
        "aborted",
    ),
    "all of the acquisition": (
        replace(RELEASED, hint_groups=acquisition(100)),
        5,
        Signal.IMAGES_IN_ACQUISITION,
        "100 of 100 images in acquisition",
    ),
    "a part of the acquisition": (
        replace(RELEASED, hint_groups=acquisition(140), learned_quiet_seconds=7.0),
        30,
        Signal.QUIET_TIME,
        "100 of 140 images in acquisition",
    ),
    "all of the acquisition, but an association was lost": (
        replace(LOST, hint_groups=acquisition(100)),
        30,
        Signal.QUIET_TIME,
        "lost",
    ),
    "multi-frame objects": (
        replace(RELEASED, hint_groups=frames()),
        5,
        Signal.NUMBER_OF_FRAMES,
        "100 of 100 multi-frame",
    ),
    "a part of a concatenation": (
        replace(RELEASED, hint_groups=frames(total=120, uid="1.2")),
        30,
        Signal.QUIET_TIME,
        "100 of 120 multi-frame",
    ),
    "MPPS names what is here": (
        replace(LOST, expected=((Source.MPPS, 100),)),
        0,
        Signal.MPPS_COMPLETED,
        "all 100 instances",
    ),
    "the notification names what is here": (
        replace(RELEASED, expected=((Source.IAN, 100),)),
        5,
        Signal.INSTANCES_AVAILABLE,
        "all 100 instances",
    ),
    "the sender has what is here": (
        replace(RELEASED, expected=((Source.C_FIND, 100),)),
        0,
        Signal.SENDER_COUNT,
        "all 100 instances",
    ),
    "what was pulled is here": (
        replace(RELEASED, expected=((Source.PULL, 100),)),
        0,
        Signal.PULL_COUNT,
        "all 100 instances",
    ),
    "the sender has more": (
        replace(RELEASED, expected=((Source.C_FIND, 140),), hint_groups=acquisition(100)),
        600,
        Signal.QUIET_TIME,
        "100 of 140 instances that the sender (C-FIND) names are here",
    ),
    "one names what is here, another more": (
        replace(RELEASED, expected=((Source.C_FIND, 100), (Source.MPPS, 101))),
        600,
        Signal.QUIET_TIME,
        "100 of 101",
    ),
    "a count that is out of date": (
        replace(RELEASED, expected=((Source.IAN, 60),), learned_quiet_seconds=7.0),
        7,
        Signal.ASSOCIATION_RELEASED,
        "released",
    ),
}


@pytest.mark.parametrize(("facts", "seconds", "signal", "words"), CASES.values(), ids=CASES)
def test_a_signal_fires_at_its_time_and_is_named(
    facts: SeriesFacts, seconds: float, signal: Signal, words: str
) -> None:
    if seconds:
        assert decide(facts, SETTINGS, at(seconds - 0.01)) is None
    completion = decide(facts, SETTINGS, at(seconds))
    assert completion is not None
    assert completion.signal is signal
    assert words in completion.sentence


@pytest.mark.parametrize("source", Source)
def test_a_count_ends_the_wait_although_an_association_is_kept_open(source: Source) -> None:
    kept_open = replace(RELEASED, is_being_sent=True, quiet_since=at(60), expected=((source, 100),))
    assert decide(kept_open, SETTINGS, at(4.9)) is None
    fired = decide(kept_open, SETTINGS, at(5))
    assert fired is not None
    assert "all 100 instances" in fired.sentence
    more = replace(kept_open, expected=((source, 100), (Source.MPPS, 140)))
    assert decide(more, SETTINGS, at(60)) is None


@pytest.mark.parametrize("expected", [(), ((Source.C_FIND, 140),)])
def test_an_association_that_is_kept_open_is_not_waited_for_for_ever(
    expected: tuple[tuple[Source, int], ...],
) -> None:
    silent = replace(LOST, is_being_sent=True, quiet_since=at(3600), expected=expected)
    assert decide(silent, SETTINGS, at(3599)) is None
    fired = decide(silent, SETTINGS, at(3600))
    assert fired is not None
    assert fired.signal is Signal.QUIET_TIME
    assert "still open" in fired.sentence
    patient = SETTINGS.model_copy(update={"wait_for_missing_seconds": 9000.0})
    assert (decide(silent, patient, at(3600)) is None) == bool(expected)


def test_without_adapting_every_sender_gets_the_same_quiet_time() -> None:
    fixed = SETTINGS.model_copy(update={"adaptive": False})
    for learned in (None, 7.0, 200.0):
        facts = replace(RELEASED, learned_quiet_seconds=learned)
        assert decide(facts, fixed, at(29.9)) is None
        assert decide(facts, fixed, at(30)) is not None


def test_a_quiet_time_below_the_lower_bound_is_the_lower_bound() -> None:
    """A site that sets two seconds means two seconds."""
    quick = CompletenessSettings(quiet_seconds=2.0)
    for facts in (RELEASED, LOST, replace(RELEASED, hint_groups=acquisition(100))):
        assert decide(facts, quick, at(1.9)) is None
        assert decide(facts, quick, at(2)) is not None


NO_HINTS = {
    "no groups": (),
    "no hints": (HintGroup(SizeHints(), 10),),
    "two acquisitions": (*acquisition(50, 50, 1), *acquisition(50, 50, 2)),
    "two totals": (*acquisition(50, 50), *acquisition(60, 50)),
    "more images than the acquisition has": acquisition(50, 100),
    "no images in the acquisition": acquisition(0, 100),
    "one of the objects is a single frame": (*frames(3), HintGroup(SizeHints(), 1)),
    "a concatenation of unknown size": frames(3, None, "1.2"),
}


@pytest.mark.parametrize("groups", NO_HINTS.values(), ids=NO_HINTS)
def test_headers_that_say_nothing_reliable_give_no_hint(groups: tuple[HintGroup, ...]) -> None:
    assert hint_of(groups) is None


def test_each_concatenation_has_to_be_whole() -> None:
    one, other = frames(3, 3, "1.1"), frames(2, 3, "1.2")
    partial = hint_of((*one, *other))
    assert partial is not None
    assert not partial.whole
    # The last piece of a concatenation may be a single frame.
    last = HintGroup(SizeHints(None, None, 1, "1.2", 3), 1)
    whole = hint_of((*one, *frames(2, 3, "1.2"), last))
    assert whole is not None
    assert whole.whole


FACTS = st.builds(
    SeriesFacts,
    series_id=st.just(1),
    study_instance_uid=st.just(STUDY),
    series_instance_uid=st.just(SERIES),
    calling_ae_title=st.just("SCANNER"),
    instance_count=st.integers(1, 4),
    is_being_sent=st.booleans(),
    was_released=st.booleans(),
    received_at=st.just(at(0)),
    quiet_since=st.just(at(0)),
    expected=st.lists(st.tuples(st.sampled_from(Source), st.integers(1, 5)), max_size=3).map(tuple),
    hint_groups=st.lists(
        st.builds(
            HintGroup,
            st.builds(
                SizeHints,
                st.none() | st.integers(1, 2),
                st.none() | st.integers(0, 5),
                st.none() | st.integers(0, 3),
                st.sampled_from(["", "1.1", "1.2"]),
                st.none() | st.integers(0, 3),
            ),
            st.integers(1, 4),
        ),
        max_size=3,
    ).map(tuple),
    learned_quiet_seconds=st.none() | st.floats(0, 1000),
)


@given(facts=FACTS, seconds=st.floats(0, 2000), later=st.floats(0, 2000))
def test_it_fires_in_time_during_an_association_only_by_a_count_and_never_stops(
    facts: SeriesFacts, seconds: float, later: float
) -> None:
    now = decide(facts, SETTINGS, at(seconds))
    named = [count for _, count in facts.expected]
    if now is not None and facts.is_being_sent:
        assert seconds >= SETTINGS.shortest_quiet_seconds
        assert max(named, default=0) == facts.instance_count
    if now is not None and facts.instance_count not in named:
        assert seconds >= SETTINGS.shortest_quiet_seconds
    if now is not None and max(named, default=0) > facts.instance_count:
        assert seconds >= SETTINGS.wait_for_missing_seconds
    if now is not None:
        again = decide(facts, SETTINGS, at(seconds + later))
        assert again is not None
        assert again.signal is now.signal
    # Whatever is claimed, no series waits for ever.
    longest = SETTINGS.wait_for_missing_seconds
    if facts.is_being_sent:
        longest = SETTINGS.longest_open_seconds
    assert decide(facts, SETTINGS, at(longest)) is not None


def test_every_signal_is_documented_and_no_other() -> None:
    text = (Path(__file__).parents[3] / "docs" / "conformance.md").read_text()
    section = text.partition("## When a series is complete")[2].partition("\n## ")[0]
    assert set(re.findall(r"\| `([A-Z_]+)` \|", section)) == set(Signal)
