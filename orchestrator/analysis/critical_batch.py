"""The number of steps to a target as a function of the batch size: how it falls, and where it stops falling.

    S(B) = S_min (1 + (B_c / B)^a)^(1/a)        steps to the target at batch size B
    E(B) = B S(B)                               examples to the target

With a = 1 this is the hyperbola (S/S_min - 1)(E/E_min - 1) = 1 of McCandlish et al. 2018 (arXiv 1812.06162,
eq. 2.11), with E_min = S_min B_c. Sharper knees (a > 1) occur in practice; one is fitted as well, and preferred only if
it describes the points clearly better. `B_c` is a property of this model, data, target and optimiser, and requires
learning rates tuned at every batch size: with one fixed learning rate the curve means nothing.

Errors of the trials of one batch size are correlated: they share the error of a coarse grid of learning rates, and the
misfit of the curve. So the fit and its interval use one mean per batch size, and more seeds of the same few sizes
cannot narrow the interval below the deviations of the sizes from the curve.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from scipy.special import ndtri, stdtrit

from orchestrator.analysis.step_time import Floats, StepTime

MAX_RMS_LOG = 0.1  # a fit with a larger error than 10 % in steps does not describe the points
MIN_SIZES = 3  # least batch sizes: two parameters and one residual
MIN_SPREAD = 2.0  # at least one size within this factor of B_c on each side: there S is 3 S_min, or E is 3 E_min
INTERVAL = (0.05, 0.95)
KNEE_GAIN = 0.5  # the three-parameter knee must halve the residual to be preferred
SHARPNESSES = np.geomspace(0.25, 8, 201)
GRID_MARGIN = math.log(1000)  # B_c is searched this far beyond the smallest and the largest batch size
GRID_STEP = 0.005


@dataclass(frozen=True)
class TooFewSizes:
    """Too few batch sizes: three, well spread, are needed."""

    known: int  # batch sizes whose steps to the target are known
    bounds: tuple[int, ...] = ()  # sizes that had reached it at the first evaluation: their steps are upper bounds
    partly: tuple[int, ...] = ()  # sizes where not every seed reached it


@dataclass(frozen=True)
class Scattered:
    rms_log: float  # scatter around the curve; above MAX_RMS_LOG the curve is not determined


@dataclass(frozen=True)
class KneeBeyond:
    """Steps still fall as 1/B at the largest batch size."""

    largest: float


@dataclass(frozen=True)
class KneeBelow:
    """Steps no longer fall at the smallest batch size."""

    smallest: float


WhyNoCurve = TooFewSizes | Scattered | KneeBeyond | KneeBelow


@dataclass(frozen=True)
class CriticalBatch:
    """Parameters of S(B) with 90 % bootstrap intervals, or why they are not determined."""

    batch_size: float | None  # B_c
    batch_size_low: float | None
    batch_size_high: float | None
    min_steps: float | None  # S_min
    sharpness: float  # a
    rms_log: float  # root mean square of the residuals of log S, one per batch size
    undetermined: WhyNoCurve | None  # if not None, the numbers must not be used

    @classmethod
    def unknown(cls, reason: WhyNoCurve, rms_log: float = math.nan) -> Self:
        return cls(None, None, None, None, 1.0, rms_log, reason)

    @property
    def min_examples(self) -> float | None:
        """E_min = S_min B_c: examples to the target as the batch goes to zero."""
        return None if self.min_steps is None or self.batch_size is None else self.min_steps * self.batch_size

    def steps(self, batch_size: float) -> float:
        """S(B). Raises ValueError when the fit is not determined."""
        if self.batch_size is None or self.min_steps is None:
            raise ValueError(f"the critical batch size is not determined: {self.undetermined}")
        return float(self.min_steps * (1 + (self.batch_size / batch_size) ** self.sharpness) ** (1 / self.sharpness))


def fit_critical_batch(
    batch_sizes: Sequence[float], steps: Sequence[float], *, resamples: int = 1000, seed: int = 0
) -> CriticalBatch:
    """Least squares on the mean log S of each batch size, with a residual bootstrap for the interval.

    batch_sizes, steps: shape [points], positive, in any order; steps at tuned learning rates, one point per seed. The
    caller leaves out points where the target was not reached. At least three different batch sizes are needed.
    """
    sizes, observed = _means(np.asarray(batch_sizes, float), np.log(np.asarray(steps, float)))
    if len(sizes) < MIN_SIZES:
        return CriticalBatch.unknown(TooFewSizes(len(sizes)))
    log_sizes = np.log(sizes)
    sharpness, fitted = 1.0, _fit(log_sizes, observed, 1.0)
    if len(sizes) > 4 and _rms(observed - fitted) > MAX_RMS_LOG / 2:
        knee = min(SHARPNESSES, key=lambda a: _rms(observed - _fit(log_sizes, observed, a)))
        knee_fitted = _fit(log_sizes, observed, knee)
        if _rms(observed - knee_fitted) < KNEE_GAIN * _rms(observed - fitted):
            sharpness, fitted = float(knee), knee_fitted
    residuals = observed - fitted
    log_critical, log_min = (float(p[0]) for p in _profile(log_sizes, observed[None], sharpness))
    critical, rms = math.exp(log_critical), _rms(residuals)
    if (reason := _why_not(sizes, critical, rms)) is not None:
        return CriticalBatch.unknown(reason, rms)

    # Residuals are smaller than the errors, because the parameters were fitted to them; and a few residuals determine
    # the size of the errors only roughly, which Student's quantile accounts for. Both factors scale residuals up.
    freedom = max(1, len(sizes) - (2 if sharpness == 1.0 else 3))
    few = stdtrit(freedom, INTERVAL[1]) / ndtri(INTERVAL[1])
    inflated = residuals * np.sqrt(len(sizes) / freedom) * few
    draws = np.random.default_rng(seed).choice(inflated - inflated.mean(), (resamples, len(sizes)))
    low, high = np.exp(np.quantile(_profile(log_sizes, fitted + draws, sharpness)[0], INTERVAL))
    return CriticalBatch(critical, float(low), float(high), math.exp(log_min), sharpness, rms, None)


def _means(sizes: Floats, logs: Floats) -> tuple[Floats, Floats]:
    """The different sizes, ascending, and the mean of `logs` at each: to the last bit, whatever the order."""
    order = np.lexsort((logs, sizes))
    distinct, group = np.unique(sizes[order], return_inverse=True)
    return distinct, np.bincount(group, weights=logs[order]) / np.bincount(group)


def _shape(log_sizes: Floats, log_critical: Floats, sharpness: float) -> Floats:
    """log(S / S_min): shape [len(log_critical), len(log_sizes)]."""
    curve: Floats = np.logaddexp(0.0, sharpness * (log_critical[:, None] - log_sizes)) / sharpness
    return curve


def _profile(log_sizes: Floats, observed: Floats, sharpness: float) -> tuple[Floats, Floats]:
    """Least-squares log B_c and log S_min for many resamples at once. observed: [resamples, points] of log S.

    For a given B_c the best S_min is a mean, so one dimension is left: a fine grid, then a parabola through the best
    three points of it.
    """
    grid = np.arange(log_sizes.min() - GRID_MARGIN, log_sizes.max() + GRID_MARGIN, GRID_STEP)
    shapes = _shape(log_sizes, grid, sharpness)
    centred = shapes - shapes.mean(axis=1, keepdims=True)
    error = (centred**2).sum(axis=1) - 2 * (observed - observed.mean(axis=1, keepdims=True)) @ centred.T
    best = error.argmin(axis=1).clip(1, len(grid) - 2)
    left, middle, right = (np.take_along_axis(error, best[:, None] + i, axis=1)[:, 0] for i in (-1, 0, 1))
    curvature = left - 2 * middle + right
    offset = np.divide(0.5 * (left - right), curvature, out=np.zeros_like(curvature), where=curvature > 0).clip(-1, 1)
    log_critical: Floats = grid[best] + offset * GRID_STEP
    log_min: Floats = (observed - _shape(log_sizes, log_critical, sharpness)).mean(axis=1)
    return log_critical, log_min


def _fit(log_sizes: Floats, observed: Floats, sharpness: float) -> Floats:
    log_critical, log_min = _profile(log_sizes, observed[None], sharpness)
    fitted: Floats = _shape(log_sizes, log_critical, sharpness)[0] + log_min
    return fitted


def _rms(residuals: Floats) -> float:
    return float(np.sqrt(np.mean(residuals**2)))


def _why_not(sizes: Floats, critical: float, rms: float) -> WhyNoCurve | None:
    if rms > MAX_RMS_LOG:
        return Scattered(rms)
    # Far below B_c, steps fall as 1/B; far above, they stay at S_min. The sizes must cover both ends.
    if sizes.max() < critical / MIN_SPREAD:
        return KneeBeyond(float(sizes.max()))
    if sizes.min() > critical * MIN_SPREAD:
        return KneeBelow(float(sizes.min()))
    return None


def fastest_batch(curve: CriticalBatch, step_time: StepTime, num_workers: int = 1) -> tuple[float, float]:
    """The batch size with the least seconds to the target, and those seconds, for the hyperbola (a = 1).

    With t(B) = a + b B/K + c, T(B) = S(B) t(B) is least at B* = sqrt((a + c) B_c K / b), where
    T = S_min (sqrt(a + c) + sqrt(b B_c / K))^2. The same B maximises Pollux' goodput (Qiao et al. 2021,
    arXiv 2008.12260) with its noise scale equal to B_c.
    Raises ValueError when the curve is not determined.
    """
    if curve.batch_size is None or curve.min_steps is None:
        raise ValueError(f"the critical batch size is not determined: {curve.undetermined}")
    overhead = step_time.overhead(num_workers)
    per_example = step_time.per_example / num_workers
    best = float(np.sqrt(overhead * curve.batch_size / per_example))
    seconds = curve.min_steps * float(np.sqrt(overhead) + np.sqrt(per_example * curve.batch_size)) ** 2
    return best, seconds
