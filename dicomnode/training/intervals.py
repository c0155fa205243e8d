"""Figures of many cases with 95 % intervals that know that cases of one person are alike.

Means: percentile bootstrap (Efron 1979), persons drawn with all their cases where there are
several persons, else cases. Shares: the hull of that bootstrap and of Wilson's interval (1927),
since the bootstrap says nothing where none or all of the cases agree, and Wilson nothing of
persons. With fewer than `FEWEST_PERSONS` both are too narrow to mean much; the number of persons
stands beside each figure.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

RESAMPLES = 2000
SEED = 1
FEWEST_PERSONS = 5
_NORMAL_QUANTILE = 1.959963984540054  # of 0.975


@dataclass(frozen=True)
class Figure:
    """`low` to `high`: the interval of the mean; all in the unit of the values."""

    cases: int
    persons: int
    mean: float
    median: float
    min: float
    max: float
    low: float
    high: float


@dataclass(frozen=True)
class Share:
    """`count` of `cases`; `low` to `high`: the interval of `share`."""

    count: int
    cases: int
    persons: int
    share: float
    low: float
    high: float


def figure(values: Sequence[float], persons: Sequence[str], seed: int = SEED) -> Figure | None:
    """Of `values`, one a case, of `persons` likewise; `nan` is left out. None without values."""
    known = [(v, p) for v, p in zip(values, persons, strict=True) if not np.isnan(v)]
    if not known:
        return None
    array = np.array([v for v, _ in known])
    owners = [p for _, p in known]
    low, high = bootstrap(array, owners, seed)
    return Figure(
        cases=len(array),
        persons=len(set(owners)),
        mean=_short(array.mean()),
        median=_short(np.median(array)),
        min=_short(array.min()),
        max=_short(array.max()),
        low=_short(low),
        high=_short(high),
    )


def share(hits: Sequence[bool], persons: Sequence[str], seed: int = SEED) -> Share | None:
    """The share of `hits`, one a case; None without cases."""
    if not hits:
        return None
    low, high = wilson(sum(hits), len(hits))
    drawn_low, drawn_high = bootstrap(np.array(hits, np.float64), persons, seed)
    return Share(
        count=sum(hits),
        cases=len(hits),
        persons=len(set(persons)),
        share=_short(sum(hits) / len(hits)),
        low=_short(min(low, drawn_low)),
        high=_short(max(high, drawn_high)),
    )


def bootstrap(
    values: npt.NDArray[np.float64], persons: Sequence[str], seed: int
) -> tuple[float, float]:
    """2.5th and 97.5th percentile of the mean over `RESAMPLES` draws with replacement."""
    _, owner = np.unique(np.asarray(persons), return_inverse=True)
    if owner.max() == 0:
        owner = np.arange(len(values))
    sums, counts = np.bincount(owner, values), np.bincount(owner)
    drawn = np.random.default_rng(seed).integers(len(sums), size=(RESAMPLES, len(sums)))
    means = sums[drawn].sum(axis=1) / counts[drawn].sum(axis=1)
    low, high = np.percentile(means, [2.5, 97.5])
    return float(low), float(high)


def wilson(count: int, cases: int) -> tuple[float, float]:
    """Wilson's score interval of `count` in `cases`."""
    z2 = _NORMAL_QUANTILE**2
    middle = (count + z2 / 2) / (cases + z2)
    half = _NORMAL_QUANTILE * np.sqrt(count * (cases - count) / cases + z2 / 4) / (cases + z2)
    return max(0.0, float(middle - half)), min(1.0, float(middle + half))


def _short(value: float) -> float:
    return round(float(value), 4)
