"""How the number of steps to a target falls with the batch size, and where it stops falling.

    S(B) = S_min (1 + (B_c / B)^a)^(1/a)        steps to the target at batch size B
    E(B) = B S(B)                               examples to the target

With a = 1 this is the hyperbola (S/S_min - 1)(E/E_min - 1) = 1 of McCandlish et al. 2018 (arXiv 1812.06162,
eq. 2.11), with E_min = S_min B_c. A sharper knee (a > 1) is met in practice; it is fitted beside the hyperbola and
preferred only when it describes the points clearly better. `B_c` is a property of this model, data, target and
optimiser, and of learning rates tuned at every batch size: with one fixed rate the curve means nothing.

The fit reads numbers; it does not know where they came from.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import least_squares

Floats = NDArray[np.float64]

MAX_RMS_LOG = 0.1  # a worse fit than 10 % in steps is no description of the curve
MIN_SPREAD = 2.0  # a sampled branch: at its end, the curve is within this factor of the asymptote
KNEE_GAIN = 0.5  # the three-parameter knee must halve the residual to be preferred


@dataclass(frozen=True)
class CriticalBatch:
    """Parameters of S(B) with 90 % bootstrap intervals, or why they are not determined."""

    batch_size: float | None  # B_c
    batch_size_low: float | None
    batch_size_high: float | None
    min_steps: float | None  # S_min
    sharpness: float  # a
    rms_log: float  # root mean square of the residuals of log S
    undetermined: str | None  # a sentence, when the numbers must not be used

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
    """Least squares on log S with log parameters; residual bootstrap for the interval. The order of the points is free.

    batch_sizes, steps: shape [points], positive; steps at tuned learning rates. Points where the target was not reached
    are left out by the caller. Fewer than three different batch sizes determine nothing.
    """
    order = np.lexsort((np.asarray(steps, float), np.asarray(batch_sizes, float)))
    sizes, observed = np.asarray(batch_sizes, float)[order], np.log(np.asarray(steps, float)[order])
    if len(np.unique(sizes)) < 3:
        return _undetermined(f"{len(np.unique(sizes))} batch sizes reached the target; three, well spread, are needed")
    log_sizes = np.log(sizes)
    hyperbola, residuals = _solve(log_sizes, observed, sharpness=1.0)
    if len(np.unique(sizes)) > 4:
        knee, knee_residuals = _solve(log_sizes, observed, sharpness=None)
        if _rms(knee_residuals) < KNEE_GAIN * _rms(residuals) and _rms(residuals) > MAX_RMS_LOG / 2:
            hyperbola, residuals = knee, knee_residuals
    log_critical, log_min, log_sharpness = hyperbola
    critical, sharpness, rms = float(np.exp(log_critical)), float(np.exp(log_sharpness)), _rms(residuals)
    if (reason := _why_not(sizes, critical, rms)) is not None:
        return _undetermined(reason, rms)

    # Residuals are smaller than the errors by the parameters spent on them: scale them up before drawing.
    parameters = 2 if sharpness == 1.0 else 3
    inflated = residuals * np.sqrt(len(sizes) / max(1, len(sizes) - parameters))
    inflated -= inflated.mean()
    fitted = observed - residuals
    generator = np.random.default_rng(seed)
    fixed = 1.0 if sharpness == 1.0 else None
    draws = [
        _solve(log_sizes, fitted + generator.choice(inflated, len(sizes)), fixed, start=hyperbola)[0][0]
        for _ in range(resamples)
    ]
    low, high = np.exp(np.quantile(draws, [0.05, 0.95]))
    return CriticalBatch(critical, float(low), float(high), float(np.exp(log_min)), sharpness, rms, None)


def _solve(
    log_sizes: Floats, observed: Floats, sharpness: float | None, start: Floats | None = None
) -> tuple[Floats, Floats]:
    """Parameters (log B_c, log S_min, log a) and residuals (observed - fitted) of log S."""

    def curve(p: Floats) -> Floats:
        a = np.exp(p[2]) if sharpness is None else sharpness
        fitted: Floats = p[1] + np.logaddexp(0.0, a * (p[0] - log_sizes)) / a
        return fitted

    def distance(p: Floats) -> Floats:
        return curve(p) - observed

    free = 3 if sharpness is None else 2
    if start is None:
        start = np.array([log_sizes.mean(), observed.min(), 0.0])
    solution = least_squares(distance, start[:free], x_scale=1.0, max_nfev=200)
    parameters = np.append(solution.x, np.log(sharpness or 1.0))[:3]
    return parameters, observed - curve(solution.x)


def _rms(residuals: Floats) -> float:
    return float(np.sqrt(np.mean(residuals**2)))


def _why_not(sizes: Floats, critical: float, rms: float) -> str | None:
    if rms > MAX_RMS_LOG:
        return (
            f"the points scatter by {100 * rms:.0f} % around the curve; at most {100 * MAX_RMS_LOG:.0f} % can be read"
        )
    # Far below B_c steps fall as 1/B; far above they stay at S_min. Each end must have been seen.
    if sizes.max() < critical / MIN_SPREAD:
        return f"steps still fall as 1/B at the largest batch size, {sizes.max():g}: the knee lies beyond it"
    if sizes.min() > critical * MIN_SPREAD:
        return f"steps no longer fall at the smallest batch size, {sizes.min():g}: the knee lies below it"
    return None


def _undetermined(reason: str, rms: float = float("nan")) -> CriticalBatch:
    return CriticalBatch(None, None, None, None, 1.0, rms, reason)


@dataclass(frozen=True)
class StepTime:
    """Seconds of one optimiser step: t(B) = fixed + per_example B/K + communication, on K workers."""

    fixed: float
    per_example: float
    communication: float = 0.0

    def seconds(self, batch_size: float, num_workers: int = 1) -> float:
        return self.fixed + self.per_example * batch_size / num_workers + (self.communication if num_workers > 1 else 0)


def fastest_batch(curve: CriticalBatch, step_time: StepTime, num_workers: int = 1) -> tuple[float, float]:
    """The batch size with the least seconds to the target, and those seconds, for the hyperbola (a = 1).

    With t(B) = a + b B/K + c, T(B) = S(B) t(B) is least at B* = sqrt((a + c) B_c K / b), where
    T = S_min (sqrt(a + c) + sqrt(b B_c / K))^2. The same B maximises Pollux' goodput (Qiao et al. 2021,
    arXiv 2008.12260) with its noise scale equal to B_c.
    Raises ValueError when the curve is not determined.
    """
    if curve.batch_size is None or curve.min_steps is None:
        raise ValueError(f"the critical batch size is not determined: {curve.undetermined}")
    overhead = step_time.fixed + (step_time.communication if num_workers > 1 else 0.0)
    per_example = step_time.per_example / num_workers
    best = float(np.sqrt(overhead * curve.batch_size / per_example))
    seconds = curve.min_steps * float(np.sqrt(overhead) + np.sqrt(per_example * curve.batch_size)) ** 2
    return best, seconds
