"""Means with intervals, and differences paired by seed. Verdicts: better, worse, no detectable difference,
undetermined.

Trials with the same seed share their data order and initial weights as far as their configurations allow, so two
configurations are compared seed by seed: common effects of the seed cancel. Intervals are Student's t at 95 %. The
variance over seeds is pooled with that of other configurations, if they are given (`pooling.py`).

When not to trust it: without other configurations, two or three seeds give a wide interval (t = 12.7 and 4.3), so "no
detectable difference" mostly means that there were few seeds; `pairs_needed` estimates how many are needed. A
t-interval also assumes that the figures over seeds are roughly normal; with a diverging seed they are not. Neither are
figures that are all the same, such as accuracies over few rows: they have no variance, so there is no interval, and a
difference has the sign test's p-value, unless other configurations provide a variance.

One seed does not show the effect of the seed. But its validation rows may show that its two models differ.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

import numpy as np
from scipy.special import ndtr, stdtr, stdtrit

from orchestrator.analysis.pooling import ALPHA, Scale, Spread, Values, scale_of, spread_of
from orchestrator.analysis.pooling import ROUNDING as ROUNDING
from orchestrator.sweep.spec import Mode
from trainables.estimate import Z_95, Estimate

SAME_SIGN = 6  # pairs that all differ by the same, for the sign test: 2^(1 - 6) < 5 %


class Basis(StrEnum):
    """The population of an interval, seeds or rows; it must be stated, since the two answer different questions."""

    SEEDS = "seeds"  # training again with another seed
    WITHIN = "within"  # one trained model: over its validation rows, or over repeated timings
    NONE = "none"  # exact, or not known


@dataclass(frozen=True)
class Summary:
    """A figure of one configuration: its mean over seeds, or the figure of its only seed, with a 95 % interval."""

    mean: float
    low: float | None
    high: float | None
    n: int  # seeds behind the mean
    basis: Basis

    @property
    def half_width(self) -> float | None:
        """The half-width after ±; of an asymmetric interval, such as a share's near one, the longer side."""
        return None if self.low is None or self.high is None else max(self.high - self.mean, self.mean - self.low)


def of_one(estimate: Estimate) -> Summary:
    """The figure of a single trial, with its own interval."""
    basis = Basis.NONE if estimate.low is None else Basis.WITHIN
    return Summary(estimate.value, estimate.low, estimate.high, 1, basis)


def mean_over_seeds(values: Sequence[float]) -> Summary:
    """Mean and t-interval of one value per seed, shape [seeds].

    There is no interval for one value, with a NaN, or if all values are the same. Raises ValueError for no values.
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
    deviation: float | None  # sample standard deviation of the differences
    mode: Mode
    spread: Spread | None = None  # the variance behind the p-value over seeds; None if it uses no variance
    p_rows: float | None = None  # for one seed: p-value of a difference between its two models on the validation rows

    @property
    def verdict(self) -> Verdict:
        """The verdict on the first compared with the second, over seeds. Fewer than two pairs determine nothing."""
        return self._verdict(self.p_value)

    @property
    def rows_verdict(self) -> Verdict:
        """The verdict on one trained model compared with another, on the validation rows; not valid for other seeds."""
        return self._verdict(self.p_rows)

    def _verdict(self, p_value: float | None) -> Verdict:
        if p_value is None:
            return Verdict.NOT_DETERMINED
        if p_value >= ALPHA:
            return Verdict.NO_DIFFERENCE
        return Verdict.BETTER if (self.mean > 0) == (self.mode == "max") else Verdict.WORSE


def paired_difference(
    first: Values, second: Values, mode: Mode, others: Sequence[Values] = (), scale: Scale | None = None
) -> Difference | None:
    """`first` - `second` by seed (seed -> value), with a t-interval. None when they share no seed.

    `others`: configurations that share no training with these two, nor with each other. Their variance over seeds is
    pooled with that of the two, on `scale`; by default the scale that suits the figures, if there are others. The mean
    and the interval's ends are in the metric's unit. Without others, if all pairs differ by the same amount: the exact
    sign test, with a p-value of 2^(1 - pairs), and no interval.
    """
    seeds = [seed for seed in sorted(first.keys() & second.keys()) if math.isfinite(first[seed] - second[seed])]
    deltas = np.array([first[seed] - second[seed] for seed in seeds])
    n = len(deltas)
    if n == 0:
        return None
    mean = float(deltas.mean())
    if n == 1:
        return Difference(mean, None, None, None, 1, None, mode)
    deviation = 0.0 if _all_alike(deltas) else float(deltas.std(ddof=1))
    if scale is None:
        scale = scale_of([v for one in (first, second, *others) for v in one.values()], mode) if others else Scale.PLAIN
    spread = spread_of({seed: first[seed] for seed in seeds}, second, others, scale)
    if (deviation == 0 and spread.configurations == 2) or spread.variance <= 0:
        return Difference(mean, None, None, 2.0 ** (1 - n) if deltas.any() else 1.0, n, deviation, mode)
    one, other = (float(scale.of(np.array([each[seed] for seed in seeds], float)).mean()) for each in (first, second))
    error = math.sqrt(spread.variance / n)
    p_value = float(2 * stdtr(spread.degrees, -abs(one - other) / error))
    half = float(stdtrit(spread.degrees, 1 - ALPHA / 2)) * error
    low, high = (scale.back(place) - scale.back(other) for place in (one - half, one + half))
    if mean * (one - other) < 0:  # the scale and the plain mean disagree on which is larger: no verdict
        p_value = 1.0
    return Difference(mean, min(low, mean), max(high, mean), p_value, n, deviation, mode, spread)


def on_rows(difference: Difference | None, first: Estimate | None, second: Estimate | None) -> Difference | None:
    """Add to a difference of one seed the p-value over validation rows; a difference of several seeds is unchanged.

    From the two intervals over rows (Newcombe 1998, Stat. Med. 17(8), method 10). Both models were evaluated on the
    same rows, so they are correlated, which this ignores: it errs towards "no difference".
    """
    if difference is None or difference.pairs > 1 or first is None or second is None:
        return difference
    upper, lower = (first, second) if first.value >= second.value else (second, first)
    if upper.low is None or lower.high is None:
        return difference
    error = math.hypot(upper.value - upper.low, lower.high - lower.value) / Z_95
    if error <= 0:
        return difference
    return replace(difference, p_rows=float(2 * ndtr(-(upper.value - lower.value) / error)))


def _all_alike(values: np.ndarray[Any, Any]) -> bool:
    return bool(np.ptp(values) <= ROUNDING * np.abs(values).max())


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
    """The differences with Holm's p-values, as one family. Undetermined ones stay undetermined and do not count."""
    over_seeds = _adjusted([d.p_value if d else None for d in differences])
    over_rows = _adjusted([d.p_rows if d else None for d in differences])
    return [
        d if d is None or p_value is p_rows is None else replace(d, p_value=p_value, p_rows=p_rows)
        for d, p_value, p_rows in zip(differences, over_seeds, over_rows, strict=True)
    ]


def _adjusted(p_values: Sequence[float | None]) -> list[float | None]:
    adjusted = iter(holm([p for p in p_values if p is not None]))
    return [None if p is None else next(adjusted) for p in p_values]


def pairs_needed(deviation: float, delta: float) -> int:
    """Seeds to see a true difference `delta` with 80 % power at 5 %, from the deviation of the paired differences.

    n = (2.8 sd / delta)^2 + 1, where 2.8 = z(0.975) + z(0.8); the 1 is for estimating the deviation. At least 2.
    Raises ValueError for delta = 0, which no number of seeds can show.
    """
    if delta == 0:
        raise ValueError("no number of seeds shows a difference of zero")
    return max(2, math.ceil((2.8 * deviation / delta) ** 2 + 1))
