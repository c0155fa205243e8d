"""The table of series: first match counts, and what can't be told counts as the stricter."""

from __future__ import annotations

import re
from dataclasses import replace
from itertools import product
from typing import Any

import pytest
from pydantic import ValidationError
from pydicom.dataset import Dataset

from dicomnode.config import GateSettings
from dicomnode.config_policy import STRICT_SERIES, Demand, SeriesRule
from dicomnode.dicom.header import read_acquisition
from dicomnode.domain import (
    Acquisition,
    ExaminedVolume,
    GateOutcome,
    Refusal,
    RefusalCode,
    SetAside,
    VerdictKind,
)
from dicomnode.gate.decision import decide
from dicomnode.gate.policy import Policy
from dicomnode.gate.series_rules import asks_as_much_as, deciding_rule
from tests.unit.gate.findings import STUDY, of, volume
from tests.unit.tracking.rows import EVIDENCE

PLAIN = Acquisition(1.0, ("ORIGINAL", "PRIMARY"), ("GR",))


def acquired(**changes: Any) -> ExaminedVolume:
    evidence = replace(EVIDENCE, acquisition=replace(PLAIN, **changes))
    return replace(volume(VerdictKind.DEFACED), evidence=evidence)


def row(needs: Demand = Demand.PERSON, **conditions: Any) -> SeriesRule:
    return SeriesRule(name="of a test", needs=needs, **conditions)


def needs(rows: tuple[SeriesRule, ...], *volumes: ExaminedVolume, **changes: Any) -> Demand:
    found = deciding_rule(rows, of(*volumes, **changes), volumes[0])
    return found.needs if found else Demand.NOTHING


@pytest.mark.parametrize(
    ("volumes", "modality"),
    [
        ([acquired(slice_spacing_mm=5.0)], "MR"),  # a 2D FLAIR
        ([acquired(scanning_sequences=("EP", "GR"), slice_spacing_mm=3.0)], "MR"),  # an fMRI
        ([acquired()] * 64, "MR"),  # a time series, or one direction of diffusion each
        ([acquired(image_types=("DERIVED", "MPR"))], "CT"),
        ([acquired(image_types=None)], "CT"),
        ([acquired(slice_spacing_mm=None)], "CT"),
        ([acquired(scanning_sequences=None)], "MR"),  # an examination of an earlier version
    ],
)
def test_by_default_a_person_looks_at_kinds_whose_faces_are_coarse_or_not_known(
    volumes: list[ExaminedVolume], modality: str
) -> None:
    finding = of(*volumes, modality=modality)
    decision = decide(STUDY, [finding], Policy("p", GateSettings()), lambda _: "installed")
    assert decision.outcome is GateOutcome.HOLD
    assert "a person has to decide" in decision.reasons[0]
    assert "(series rule " in decision.reasons[0]


@pytest.mark.parametrize("modality", ["CT", "MR"])
def test_by_default_a_plain_volume_needs_nobody(modality: str) -> None:
    said = None if modality == "CT" else ("GR",)
    assert needs(STRICT_SERIES, acquired(scanning_sequences=said), modality=modality) == "nothing"


@pytest.mark.parametrize(("slice_mm", "held_by"), [(4.0, ["thick slices"]), (3.0, [])])
def test_a_header_that_says_little_is_held_by_its_thick_slices_only(
    slice_mm: float, held_by: list[str]
) -> None:
    """Files that defacing tools wrote often have neither Scanning Sequence nor Image Type."""
    seen = acquired()
    acquisition = read_acquisition([Dataset()], slice_mm)
    seen = replace(seen, evidence=replace(seen.evidence, acquisition=acquisition))
    decision = decide(STUDY, [of(seen)], Policy("p", GateSettings()), lambda _: "installed")
    assert decision.outcome is (GateOutcome.HOLD if held_by else GateOutcome.RELEASE)
    assert re.findall(r"series rule '(.*?)'", " ".join(decision.reasons)) == held_by


def test_a_row_that_holds_holds_whatever_people_say() -> None:
    rules = GateSettings(series=(row(Demand.HOLD, slices_at_least_mm=4.0),))
    finding = of(acquired(slice_spacing_mm=4.0))
    decision = decide(STUDY, [finding], Policy("p", rules), lambda _: "installed")
    (reason,) = decision.reasons
    assert "no series like it may leave (series rule 'of a test')" in reason


def test_the_first_row_that_holds_counts() -> None:
    lenient = row(Demand.NOTHING, image_types=("PRIMARY",))
    strict = row(Demand.HOLD, slices_at_least_mm=0.5)
    assert needs((lenient, strict), acquired()) is Demand.NOTHING
    assert needs((strict, lenient), acquired()) is Demand.HOLD


def test_a_row_that_asks_for_nothing_opens_nothing() -> None:
    rules = GateSettings(pass_verdicts=(), series=(row(Demand.NOTHING, modalities=("MR",)),))
    decision = decide(STUDY, [of(acquired())], Policy("p", rules), lambda _: "installed")
    assert decision.outcome is GateOutcome.HOLD


def test_what_can_not_be_told_counts_as_the_stricter_of_what_is_possible() -> None:
    unknown = acquired(slice_spacing_mm=None)
    for first, second in product(Demand, Demand):
        rows = (row(first, slices_at_least_mm=4.0), row(second, modalities=("MR",)))
        possible = {needs(rows, acquired(slice_spacing_mm=spacing_mm)) for spacing_mm in (1.0, 5.0)}
        assert needs(rows, unknown) is max(possible, key=lambda demand: demand.severity)


def test_a_condition_that_fails_makes_an_unknown_one_not_matter() -> None:
    rows = (row(modalities=("MR",), scanning_sequences=("EP",)),)
    assert needs(rows, acquired(scanning_sequences=None), modality="CT") is Demand.NOTHING
    assert needs(rows, acquired(scanning_sequences=None), modality="MR") is Demand.PERSON
    assert needs(rows, acquired(scanning_sequences=("EP",)), modality="") is Demand.PERSON


def test_volumes_that_were_not_chosen_may_be_many() -> None:
    rows = (row(volumes_at_least=3),)
    left_out = SetAside(Refusal(RefusalCode.NOT_CHOSEN, "only the first"), 60)
    assert needs(rows, acquired(), acquired()) is Demand.NOTHING
    assert needs(rows, acquired(), acquired(), acquired()) is Demand.PERSON
    assert needs(rows, acquired(), refusals=(left_out,)) is Demand.PERSON


def test_words_are_compared_in_any_case() -> None:
    assert needs((row(image_types=("mpr",)),), acquired(image_types=("MPR",))) is Demand.PERSON


def test_a_table_is_as_strict_as_another_that_it_puts_stricter_rows_before() -> None:
    hold, person = row(Demand.HOLD, modalities=("CT",)), row(modalities=("MR",))
    nothing = row(Demand.NOTHING, modalities=("MR",))
    assert asks_as_much_as((hold, person), (person,))
    assert asks_as_much_as((person,), ())
    assert not asks_as_much_as((nothing, person), (person,))
    assert not asks_as_much_as((person, hold), (hold,))
    assert not asks_as_much_as((), (person,))


@pytest.mark.parametrize(
    "wrong", [{}, {"image_types": ()}, {"volumes_at_least": 1}, {"slices_at_least_mm": 0}]
)
def test_a_row_without_a_condition_that_can_fail_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        row(**wrong)


def test_the_digest_of_a_policy_covers_its_table() -> None:
    one, other = (GateSettings(series=(row(image_types=(word,)),)) for word in ("MPR", "MIP"))
    assert Policy("p", one).digest != Policy("p", other).digest
    assert Policy("p", one).digest != Policy("p", GateSettings(series=())).digest
