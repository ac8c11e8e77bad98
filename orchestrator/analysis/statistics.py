"""Means with intervals, differences paired by seed, and the two honest answers beside "better" and "worse".

Trials with the same seed share their data order and initial weights as far as their configurations allow, so two
configurations are compared seed by seed: what the seed does to both cancels out. Intervals are Student's t at 95 %.

When not to trust it: with two or three seeds the interval is wide (t = 12.7 and 4.3), so "no detectable difference"
mostly says that there were few seeds; `pairs_needed` says how many it would take. A t-interval also believes that the
figures over seeds are roughly normal; a diverging seed is not. Nor are those that are all the same, as accuracies over
few rows may be: they do not tell how far others would lie, so there is no interval, and a difference has the sign
test's p-value.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

import numpy as np
from scipy.special import stdtr, stdtrit

from orchestrator.spec import Mode
from trainables.results import Estimate

ROUNDING = 1e-9  # 0.98 - 0.97 is more than 0.01 to a computer, not to a person
SAME_SIGN = 6  # pairs that all differ by the same, for the sign test: 2^(1 - 6) < 5 %
ALPHA = 0.05  # all intervals are 95 %, all verdicts hold at 5 %


class Basis(StrEnum):
    """What an interval is an interval over: it must be said, the two answer different questions."""

    SEEDS = "seeds"  # training again with another seed
    WITHIN = "within"  # one trained model: over its validation rows, or over repeated timings
    NONE = "none"  # exact, or not known


@dataclass(frozen=True)
class Summary:
    """A figure of one configuration: its mean over seeds, or the one figure there is, with its 95 % interval."""

    mean: float
    low: float | None
    high: float | None
    n: int  # seeds behind the mean
    basis: Basis

    @property
    def half_width(self) -> float | None:
        """What stands after ±; of an interval whose sides differ, as a share's near one, the longer."""
        return None if self.low is None or self.high is None else max(self.high - self.mean, self.mean - self.low)


def of_one(estimate: Estimate) -> Summary:
    """The figure of a single trial, with the interval that it has by itself."""
    basis = Basis.NONE if estimate.low is None else Basis.WITHIN
    return Summary(estimate.value, estimate.low, estimate.high, 1, basis)


def mean_over_seeds(values: Sequence[float]) -> Summary:
    """Mean and t-interval of one value per seed, shape [seeds].

    No interval for one value, for a value that is no number, and where all values are the same.
    Raises ValueError for no values at all.
    """
    if not values:
        raise ValueError("a mean needs at least one value")
    array = np.asarray(values, float)
    n = len(array)
    if n < 2 or not np.isfinite(array).all() or _all_alike(array):
        return Summary(float(array.mean()), None, None, n, Basis.NONE)
    mean, half = float(array.mean()), float(stdtrit(n - 1, 1 - ALPHA / 2) * array.std(ddof=1) / math.sqrt(n))
    return Summary(mean, mean - half, mean + half, n, Basis.SEEDS)


class Verdict(StrEnum):
    BETTER = "better"
    WORSE = "worse"
    NO_DIFFERENCE = "no detectable difference"
    NOT_DETERMINED = "not determined"


@dataclass(frozen=True)
class Difference:
    """First minus second, over the seeds that both have. `p_value` is two-sided."""

    mean: float
    low: float | None
    high: float | None
    p_value: float | None
    pairs: int
    deviation: float | None  # sample standard deviation of the differences: what more seeds would have to beat
    mode: Mode

    @property
    def verdict(self) -> Verdict:
        """Of the first against the second. With fewer than two pairs nothing is determined."""
        if self.p_value is None:
            return Verdict.NOT_DETERMINED
        if self.p_value >= ALPHA:
            return Verdict.NO_DIFFERENCE
        return Verdict.BETTER if (self.mean > 0) == (self.mode == "max") else Verdict.WORSE


def paired_difference(first: Mapping[int, float], second: Mapping[int, float], mode: Mode) -> Difference | None:
    """`first` - `second` by seed (seed -> value), with a t-interval. None when they share no seed.

    Where all pairs differ by the same, the exact sign test: a p-value of 2^(1 - pairs), and no interval.
    """
    seeds = sorted(first.keys() & second.keys())
    deltas = np.array([first[seed] - second[seed] for seed in seeds])
    deltas = deltas[np.isfinite(deltas)]
    n = len(deltas)
    if n == 0:
        return None
    mean = float(deltas.mean())
    if n == 1:
        return Difference(mean, None, None, None, 1, None, mode)
    if _all_alike(deltas):
        return Difference(mean, None, None, 2.0 ** (1 - n) if deltas.any() else 1.0, n, 0.0, mode)
    deviation = float(deltas.std(ddof=1))
    half = float(stdtrit(n - 1, 1 - ALPHA / 2)) * deviation / math.sqrt(n)
    return Difference(mean, mean - half, mean + half, _p_value(mean, deviation, n), n, deviation, mode)


def _all_alike(values: np.ndarray[Any, Any]) -> bool:
    return bool(np.ptp(values) <= ROUNDING * np.abs(values).max())


def _p_value(mean: float, deviation: float, n: int) -> float:
    return float(2 * stdtr(n - 1, -abs(mean) / (deviation / math.sqrt(n))))


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjusted p-values, in the order given: reject where adjusted < alpha, and the chance of any false one is < alpha.

    Source: Holm 1979, A simple sequentially rejective multiple test procedure, Scand. J. Statist. 6.
    """
    order = sorted(range(len(p_values)), key=lambda index: p_values[index])
    adjusted = [0.0] * len(p_values)
    floor = 0.0
    for rank, index in enumerate(order):
        floor = max(floor, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = floor
    return adjusted


def corrected(differences: Sequence[Difference | None]) -> list[Difference | None]:
    """The same differences with Holm's p-values, as one family. What is not determined stays so, and costs nothing."""
    adjusted = iter(holm([d.p_value for d in differences if d is not None and d.p_value is not None]))
    return [d if d is None or d.p_value is None else replace(d, p_value=next(adjusted)) for d in differences]


def pairs_needed(deviation: float, delta: float) -> int:
    """Seeds to see a true difference `delta` with 80 % power at 5 %, from the deviation of the paired differences.

    n = (2.8 sd / delta)^2 + 1, where 2.8 = z(0.975) + z(0.8); the 1 pays for estimating the deviation. At least 2.
    Raises ValueError for delta = 0, which no number of seeds shows.
    """
    if delta == 0:
        raise ValueError("no number of seeds shows a difference of zero")
    return max(2, math.ceil((2.8 * deviation / delta) ** 2 + 1))
