"""What the desk says in words: numbers with units, policies, timelines, who waits."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from dicomnode.config import VerdictSettings
from dicomnode.config_policy import GateSettings
from dicomnode.domain import CopyState, FacePart, FaceSurface, RefusalCode, SegmentKind, VerdictKind
from dicomnode.tracking.findings import SeriesState
from dicomnode.tracking.timeline import Happening, TimelineEvent
from dicomnode.tracking.work_queue import QueueKind
from dicomnode.web.desk import facts, machine, policy_words, templating, words
from dicomnode.web.desk.queue_words import PARTS
from dicomnode.web.desk.steps import steps
from tests.unit.tracking.rows import EVIDENCE

START = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (-5, "0 s"),
        (40, "40 s"),
        (3599, "59 min"),
        (3 * 3600 + 720, "3 h 12 min"),
        (90000, "1 d 1 h"),
    ],
)
def test_an_age_has_two_units_at_most(seconds: float, said: str) -> None:
    assert templating.age(seconds) == said


@pytest.mark.parametrize(
    ("size", "said"), [(0, "0 bytes"), (999, "999 bytes"), (1.5e6, "1.5 MB"), (2e12, "2.0 TB")]
)
def test_a_size_has_its_unit(size: float, said: str) -> None:
    assert templating.size(size) == said


def test_a_number_has_its_unit_and_what_was_not_measured_says_so() -> None:
    assert templating.number(4012.4, 0, "ml") == "4,012 ml"
    assert templating.number(None, 0, "%") == "not measured"
    assert templating.count(1, "series", "series") == "1 series"
    assert templating.count(2000, "instance") == "2,000 instances"


def test_times_are_told_in_utc_wherever_they_come_from() -> None:
    assert templating.minute("2026-03-01T13:00:00+01:00") == "2026-03-01 12:00 UTC"


def test_a_reason_is_parted_behind_its_series() -> None:
    parted = templating.by_series("series 1.2.3 (MR): it waits")
    assert (parted.uid, parted.rest) == ("1.2.3", " (MR): it waits")
    assert templating.by_series("the study is on the list").uid == ""


@pytest.mark.parametrize(
    "table", [words.VERDICTS, words.STATES, words.DECISIONS, words.EXPORTS, words.COPIES]
)
def test_no_two_badges_of_a_table_look_alike_without_colour(table: dict[str, words.Badge]) -> None:
    assert len({badge.label for badge in table.values()}) == len(table)


def test_every_code_has_words_and_one_that_comes_later_is_shown_as_it_stands() -> None:
    assert set(words.VERDICTS) == set(VerdictKind)
    assert set(words.STATES) == set(SeriesState)
    assert set(words.SEGMENTS) == set(SegmentKind)
    assert set(words.COPIES) == set(CopyState)
    assert set(PARTS) == set(QueueKind)
    assert words.badge("verdict", "SOMETHING_NEW").label == "SOMETHING NEW"


def test_every_number_of_the_evidence_has_its_unit() -> None:
    surface = FaceSurface(164.0, 92.0, None, (FacePart.UPPER, FacePart.LOWER))
    found = facts.evidence(replace(EVIDENCE, face_surface=surface))
    told = {fact.name: fact.value for fact in found}
    assert told["Anonymised area"] == "320 ml"
    assert told["Face that is still there"] == "not measured"
    assert told["Face’s surface in view"] == "164 cm²"
    assert told["of it anonymised"] == "92 %"
    assert told["of it intact skin"] == "not measured"
    assert told["Parts of the face in view"] == "upper, lower"
    assert told["Face detector"] == "not asked"
    assert told["Grid that was examined"] == "180 × 480 × 480 voxels of 1.00 × 0.50 × 0.50 mm"
    assert "clean recognizable visual features" in told["(0012,0064) its codes"]


def test_every_threshold_is_told_with_its_unit() -> None:
    told = {fact.name: fact.value for fact in facts.thresholds(VerdictSettings())}
    assert len(told) == len(VerdictSettings.model_fields)
    assert told["Face visible"] == "35 ml"
    assert told["Widest gap"] == "20 mm"


def test_a_policy_is_told_in_plain_words() -> None:
    policy = GateSettings(
        pass_verdicts=tuple(VerdictKind)[:3],
        review_verdicts=(VerdictKind.UNDETERMINED,),
        pass_refusals=(RefusalCode.LOCALIZER,),
        persons_needed=2,
        modalities=("MR",),
        patient_identity_removed=True,
    )
    told = {fact.name: fact.value for fact in policy_words.rules(policy)}
    assert told["Leave by their verdict"] == "defaced, no face in view"
    assert told["Leave when two different people decided"] == "undetermined"
    assert told["Images without a volume that leave"] == "LOCALIZER"
    assert told["Modalities"] == "MR"
    assert told["Headers of every instance"] == "(0012,0062) Patient Identity Removed is YES"


def test_what_happened_to_several_series_in_a_row_is_one_line() -> None:
    events = [
        TimelineEvent(START + timedelta(seconds=n), Happening.FIRST_INSTANCE, f"1.2.{n}")
        for n in range(3)
    ]
    events.append(TimelineEvent(START, Happening.EXAMINED, "1.2.0", "DEFACED", "320 ml"))
    events.append(
        TimelineEvent(START, Happening.DECISION, "1.2.0", "not_defaced", "a nose", "anna")
    )
    told = steps(events, with_exports=True)
    assert [(step.sentence, step.series) for step in told] == [
        ("first instance received", "3 series"),
        ("examined defaced: 320 ml", "1.2.0"),
        ("decided not defaced by anna: a nose", "1.2.0"),
    ]


@pytest.mark.parametrize("happening", Happening)
def test_everything_that_can_happen_has_words(happening: Happening) -> None:
    event = TimelineEvent(START, happening, "1.2", "what", "detail", "anna")
    (step,) = steps([event], with_exports=True)
    assert step.sentence


def test_the_models_of_gpus_are_those_that_the_driver_names(tmp_path: Path) -> None:
    assert machine.gpus(tmp_path) == ()
    (tmp_path / "0000").mkdir()
    (tmp_path / "0000" / "information").write_text("Model: \t NVIDIA H100\nIRQ: 5\n")
    assert machine.gpus(tmp_path) == ("NVIDIA H100",)


def test_the_disk_of_a_folder_that_is_still_to_be_made(tmp_path: Path) -> None:
    found = machine.disk(tmp_path / "a" / "b", minimum_free_bytes=2**60)
    assert found.total_bytes > found.free_bytes > 0
    assert found.is_full


def test_a_kind_of_series_is_told_with_its_conditions() -> None:
    told = {fact.name: fact for fact in policy_words.rules(GateSettings())}
    thick = told["Series of the kind “thick slices”"]
    assert thick.value == "leave when people decided"
    assert thick.remark == "slices 4 mm or more apart"
    planar = told["Series of the kind “echo-planar”"]
    assert planar.remark == "MR; scanning sequence EP"
