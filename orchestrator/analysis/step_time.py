"""The time of one optimiser step as a function of batch size and workers, and the knee of the throughput.

    t(B, K) = a + b B / K + c(K),    c(1) = 0        seconds of a step of B examples on K workers

a is the fixed cost of a step (kernel launches, Python, the optimiser), b is the time of one example, c(K) is
communication. Throughput B / t(B) rises with B towards K / b; half of that is reached where the overhead equals the
work, at B = (a + c) K / b. The line is an approximation: caches, tiling and memory pressure bend it, and the residuals
show by how much.

If no single worker was timed, a and c(K) cannot be separated. The fewest workers that were timed, K0, are then the
reference: a + c(K0) replaces a, and c(K) - c(K0) replaces c(K).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri, stdtr, stdtrit

Floats = NDArray[np.float64]
LEAST_FACTOR = 0.05  # least factor on a time in a resample, so that none is negative


@dataclass(frozen=True)
class StepTime:
    """The fitted constants, in seconds; `communication` maps a number of workers, except the reference, to c(K)."""

    fixed: float  # a; with a reference other than one worker, a + c(reference)
    per_example: float
    communication: Mapping[int, float] = field(default_factory=dict)
    rms_relative: float = 0.0  # scatter of the measured times around the fit, as a share of them
    reference_workers: int = 1  # the fewest workers timed; `communication` is the additional time of more workers

    def overhead(self, num_workers: int = 1) -> float:
        """a + c(K). Raises KeyError for a number of workers that was not measured."""
        return self.fixed + (0.0 if num_workers == self.reference_workers else self.communication[num_workers])

    def seconds(self, batch_size: float, num_workers: int = 1) -> float:
        return self.overhead(num_workers) + self.per_example * batch_size / num_workers

    def batch_for_share(self, share: float, num_workers: int = 1) -> float:
        """The batch size at which throughput is `share` (between 0 and 1) of its limit; 0.5 is the knee."""
        if not 0 < share < 1:
            raise ValueError(f"share must lie between 0 and 1, not {share}")
        return share / (1 - share) * self.overhead(num_workers) * num_workers / self.per_example


@dataclass(frozen=True)
class StepTimeFit:
    """The fit and its 95 % intervals."""

    step_time: StepTime
    fixed_interval: tuple[float, float]
    per_example_interval: tuple[float, float]
    knee_interval: tuple[float, float]  # interval of the batch size at half the throughput, on the reference workers
    communication_intervals: Mapping[int, tuple[float, float]]  # interval of each c(K)


def fit_step_time(
    batch_sizes: Sequence[float],
    num_workers: Sequence[int],
    seconds: Sequence[float],
    *,
    resamples: int = 400,
    seed: int = 0,
) -> StepTimeFit:
    """Non-negative least squares on relative errors, as timings scatter in proportion; residual bootstrap.

    Arguments: shape [measurements], medians or single timings of steps, warm-up dropped and the device synchronised.
    Raises ValueError for fewer than three measurements or one batch size per worker only.
    """
    sizes, workers = np.asarray(batch_sizes, float), np.asarray(num_workers, int)
    times = np.asarray(seconds, float)
    if len(times) < 3 or len(np.unique(sizes / workers)) < 2:
        raise ValueError("a step-time line needs at least 3 measurements at 2 different batch sizes per worker")
    from scipy.optimize import nnls  # imported here, as the import takes longer than most comparisons

    reference, *groups = sorted(set(workers.tolist()))
    columns = [np.ones_like(sizes), sizes / workers, *((workers == k).astype(float) for k in groups)]
    design = np.stack(columns, axis=1)

    def solve(observed: Floats) -> Floats:
        # Columns are brought to one scale: seconds per example are thousands of times smaller than seconds per step.
        weighted = design / observed[:, None]
        scale = np.linalg.norm(weighted, axis=0)
        solution: Floats = nnls(weighted / scale, np.ones_like(observed))[0] / scale
        return solution

    best = solve(times)
    fitted = design @ best
    relative = times / fitted - 1
    rms = float(np.sqrt(np.mean(relative**2)))
    # Residuals are smaller than the errors, and few of them determine the size only roughly: see critical_batch.
    freedom = max(1, len(times) - design.shape[1])
    spread = relative * np.sqrt(len(times) / freedom) * stdtrit(freedom, 0.975) / ndtri(0.975)
    generator = np.random.default_rng(seed)
    drawn = generator.choice(spread - spread.mean(), (resamples, len(times)))
    draws = np.array([solve(fitted * factors) for factors in np.maximum(1 + drawn, LEAST_FACTOR)])
    knees = np.full(resamples, np.inf)  # if an example seems to cost nothing, there is no knee
    np.divide(reference * draws[:, 0], draws[:, 1], out=knees, where=draws[:, 1] > 0)
    found = np.column_stack([draws, knees])  # quantiles without interpolation, which fails between infinities
    low, high = (np.quantile(found, q, axis=0, method="nearest") for q in (0.025, 0.975))
    communication = dict(zip(groups, best[2:].tolist(), strict=True))
    step_time = StepTime(float(best[0]), float(best[1]), communication, rms, reference)
    fixed, per_example, *between, knee = [(float(a), float(b)) for a, b in zip(low, high, strict=True)]
    return StepTimeFit(step_time, fixed, per_example, knee, dict(zip(groups, between, strict=True)))


@dataclass(frozen=True)
class PowerOfTwo:
    """Seconds at a power of two over those predicted by its neighbours, with a 95 % interval; below 1 is faster.

    `p_value`: two-sided, for no difference; corrected if several powers are tested.
    """

    ratio: float
    low: float
    high: float
    p_value: float

    @property
    def verdict(self) -> str:
        if self.p_value >= 0.05:
            return "no detectable difference from its neighbours"
        return f"{'slower' if self.ratio > 1 else 'faster'} than its neighbours"


def power_of_two_effect(
    seconds_at: Sequence[float], seconds_below: Sequence[float], seconds_above: Sequence[float]
) -> PowerOfTwo:
    """Compare a step at a power of two with the line through its two neighbours, one gap below and one above.

    Each sequence holds timings of the same rounds, taken in alternation: shape [rounds]. The line t = a + b B predicts
    the neighbours' mean in the middle. The interval is Student's over the rounds, on the logarithm of the ratio. Raises
    ValueError for fewer than 3 rounds.
    """
    at, below, above = (np.asarray(s, float) for s in (seconds_at, seconds_below, seconds_above))
    if len(at) < 3:
        raise ValueError(f"an interval needs at least 3 rounds, not {len(at)}")
    logs = np.log(at / ((below + above) / 2))
    mean, error = float(logs.mean()), float(logs.std(ddof=1) / np.sqrt(len(logs)))
    half = float(stdtrit(len(logs) - 1, 0.975)) * error
    p_value = 2 * float(stdtr(len(logs) - 1, -abs(mean) / error)) if error else float(mean == 0)
    return PowerOfTwo(float(np.exp(mean)), float(np.exp(mean - half)), float(np.exp(mean + half)), p_value)
