"""Intervals: known values, and persons as clusters."""

from __future__ import annotations

import math

import numpy as np
import pytest

from dicomnode.training.intervals import bootstrap, figure, share, wilson


@pytest.mark.parametrize(
    ("count", "cases", "low", "high"),
    [(8, 10, 0.4902, 0.9433), (0, 20, 0.0, 0.1611), (20, 20, 0.8389, 1.0), (1, 2, 0.0945, 0.9055)],
)
def test_wilson_is_that_of_the_tables(count: int, cases: int, low: float, high: float) -> None:
    assert wilson(count, cases) == pytest.approx((low, high), abs=1e-4)


def test_the_bootstrap_of_independent_cases_is_about_the_normal_interval() -> None:
    values = np.random.default_rng(4).normal(10.0, 2.0, 400)
    low, high = bootstrap(values, [f"p{n}" for n in range(400)], 1)
    half = 1.96 * values.std() / 20
    assert low == pytest.approx(values.mean() - half, abs=0.05)
    assert high == pytest.approx(values.mean() + half, abs=0.05)


def test_cases_of_one_person_are_not_taken_for_independent() -> None:
    """Ten cases of each of eight persons, all alike within a person: eight cases' worth."""
    values = np.repeat(np.random.default_rng(2).normal(size=8), 10)
    persons = [f"p{n // 10}" for n in range(80)]
    low, high = bootstrap(values, persons, 1)
    narrow_low, narrow_high = bootstrap(values, [f"c{n}" for n in range(80)], 1)
    assert high - low > 2 * (narrow_high - narrow_low)


def test_one_person_is_resampled_by_case() -> None:
    low, high = bootstrap(np.array([0.0, 1.0, 0.0, 1.0]), ["a"] * 4, 1)
    assert low < 0.5 < high


def test_the_same_seed_gives_the_same_interval() -> None:
    values, persons = [0.1, 0.9, 0.5], ["a", "b", "c"]
    assert figure(values, persons) == figure(values, persons)


def test_figures_leave_out_what_is_unknown() -> None:
    found = figure([0.25, math.nan, 0.75], ["a", "b", "c"])
    assert found is not None
    assert (found.cases, found.persons, found.mean, found.median) == (2, 2, 0.5, 0.5)
    assert (found.min, found.max) == (0.25, 0.75)
    assert figure([math.nan], ["a"]) is None


def test_a_share_without_errors_still_has_an_upper_end() -> None:
    found = share([False] * 20, [f"p{n}" for n in range(20)])
    assert found is not None
    assert (found.count, found.cases, found.low) == (0, 20, 0.0)
    assert found.high == pytest.approx(0.1611, abs=1e-4)
    assert share([], []) is None
