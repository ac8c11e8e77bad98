"""The variance of results over seeds, pooled over more configurations than the two that are compared.

Two seeds of two configurations have one degree of freedom: with them alone, hardly any difference can be detected. The
other configurations of a sweep have seeds too. On a scale on which variances are similar,

    y = configuration + seed + error        and the variance of the errors is that of paired differences, halved

and a comparison takes it from itself (d = seeds - 1 degrees of freedom, exact whatever the others do) and from the
others, moderated (Smyth 2004, Stat. Appl. Genet. Mol. Biol. 3(1)):

    s^2 = (d0 s0^2 + d s_own^2) / (d0 + d), at least s_own^2, with d0 + d degrees of freedom

s0^2 is the mean square of the others' errors; d0 is a third of its degrees of freedom, at most 4: variances differ
between configurations in ways that few seeds do not show, so the others never count for more. First the variances are
tested: if one of the two compared configurations varies far more than the rest (Cochran's C, the test of ISO 5725-2 for
outlying variances), only its own seeds are used.

Scales: the arcsine of the square root for shares, which makes a binomial's variance constant (Anscombe 1948) and allows
0 and 1; the logarithm for losses; no transformation for others.

Simulated (benchmarks/seed_verdicts.py; normal errors; 3 to 16 configurations of 2, 3 or 5 seeds; spreads equal, 3, 10
or 100 times as wide in one, 3 or 10 times in half of them, or lognormal): the false-positive rate of one comparison at
5 % is at most 6.0 %, and so is the rate at which intervals miss the true value. If one of 4 configurations spreads ten
times as wide, two seeds give 5.4 % (20,000 draws); with half of the others' degrees of freedom instead of a third it
would be 6.8 %. The third costs power with two seeds: a difference of 6 standard deviations is detected in 67 % of
sweeps of 4 configurations and in 92 % of 8; with the half, in 78 % and 95 %; without pooling, in 36 %. Three seeds
detect it in at least 98 % either way. When not to trust it: with two seeds, a configuration that spreads ten times as
wide, if selected as the best of 8 or 16, is called different from another in 10 to 12 % of sweeps.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np
from scipy.special import fdtrc

from orchestrator.sweep.spec import Mode

SHARE_FROM_OTHERS = 1 / 3  # share of the others' degrees of freedom that counts
MOST_FROM_OTHERS = 4.0  # most degrees of freedom from the others: an assumption about how far variances differ
ALPHA = 0.05  # all intervals are 95 %, all verdicts hold at 5 %
ROUNDING = 1e-9  # relative tolerance: in floating point, 0.98 - 0.97 is more than 0.01

Values = Mapping[int, float]  # seed -> a figure
Array = np.ndarray[Any, np.dtype[np.float64]]


class Scale(StrEnum):
    """The scale on which variances of different configurations are compared."""

    PLAIN = "plain"
    ARCSINE = "arcsine"
    LOG = "logarithmic"

    def of(self, values: Array) -> Array:
        return _FORWARD[self](values)

    def back(self, value: float) -> float:
        """The inverse of the scale; values beyond its ends are set to the ends."""
        match self:
            case Scale.PLAIN:
                return value
            case Scale.ARCSINE:
                return math.sin(min(max(value, 0.0), math.pi / 2)) ** 2
            case Scale.LOG:
                return math.exp(min(value, 700.0))


_FORWARD: dict[Scale, Callable[[Array], Array]] = {
    Scale.PLAIN: lambda values: values,
    Scale.ARCSINE: lambda values: np.arcsin(np.sqrt(values)),
    Scale.LOG: np.log,
}


def scale_of(values: Iterable[float], mode: Mode) -> Scale:
    """The scale that suits the figures: shares are between 0 and 1 with higher better, losses above 0 with lower
    better.
    """
    known = [value for value in values if math.isfinite(value)]
    if known and mode == "min" and min(known) > 0:
        return Scale.LOG
    return Scale.ARCSINE if known and min(known) >= 0 and max(known) <= 1 else Scale.PLAIN


@dataclass(frozen=True)
class Spread:
    """The variance of the paired differences of two configurations, on the scale."""

    variance: float
    degrees: float
    configurations: int  # number of pooled configurations, including the two; 2: only their own seeds
    scale: Scale
    outlying: bool = False  # one of the two varies far more than the rest, so it was not pooled


def spread_of(first: Values, second: Values, others: Sequence[Values], scale: Scale) -> Spread:
    """The variance over the seeds of `first` and `second`, at least two, pooled with the `others` that have
    them all.
    """
    seeds = sorted(first)
    figures = [np.array([one.get(seed, math.nan) for seed in seeds], float) for one in (first, second, *others)]
    table = scale.of(np.stack([*figures[:2], *(row for row in figures[2:] if np.isfinite(row).all())]))
    count, degrees = len(table), len(seeds) - 1
    nothing = float(np.square(ROUNDING * np.abs(table).max()))  # a variance below is what floats leave of none
    own = _above(nothing, float(np.var(table[0] - table[1], ddof=1)))
    alone = Spread(own, degrees, 2, scale)
    if count < 3:
        return alone
    squares = np.square(table - table.mean(1, keepdims=True) - table.mean(0, keepdims=True) + table.mean()).sum(1)
    if outlying(squares.tolist(), degrees) in (0, 1):
        return Spread(own, degrees, 2, scale, outlying=True)
    free = (count - 2) * degrees
    rest = _above(nothing, (2 * float(squares.sum()) - own * degrees) / free)
    weight = min(MOST_FROM_OTHERS, SHARE_FROM_OTHERS * free)
    variance = max(own, (weight * rest + degrees * own) / (weight + degrees))
    return Spread(variance, weight + degrees, count, scale)


def _above(nothing: float, variance: float) -> float:
    return variance if variance > nothing else 0.0


def outlying(squares: Sequence[float], degrees: int) -> int | None:
    """The configuration with an outlying variance, by Cochran's C at 5 %; None if there is none.

    `squares`: sums of squares, of `degrees` degrees of freedom each. C = largest / sum; p <= k P(F > C (k-1) / (1-C)).
    Source: Cochran 1941, Ann. Eugen. 11(1); ISO 5725-2, 7.3.3; the bound after 't Lam 2010, Accred. Qual. Assur. 15.
    """
    count, total = len(squares), sum(squares)
    if count < 3 or total <= 0:
        return None
    share = max(squares) / total
    ratio = math.inf if share >= 1 else share * (count - 1) / (1 - share)
    p_value = count * float(fdtrc(degrees, degrees * (count - 1), ratio)) if math.isfinite(ratio) else 0.0
    return squares.index(max(squares)) if p_value < ALPHA else None
