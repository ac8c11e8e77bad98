"""Predicts the batch size that reaches the target fastest, with an interval: before any comparison, and after the fit.

    T(B) = S(B) t(B)        S(B): steps to the target (time_to_target.py), t(B): seconds of a step (step_time.py)

From the noise scale alone, S(B) ~ 1 + B_simple / B, which determines the minimum of T but not its value:
B* = sqrt((a + c) B_simple K / b). This is a prior: the noise scale changes during training, and does not depend on the
learning rate. From the fit, the minimum of T is searched within the range of measured batch sizes only.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from orchestrator.analysis.critical_batch import CriticalBatch, WhyNoCurve, fastest_batch
from orchestrator.analysis.rows import ProbeRow, Row
from orchestrator.analysis.step_time import StepTime, fit_step_time
from orchestrator.analysis.table import SweepTable
from orchestrator.analysis.time_to_target import (
    ToTarget,
    critical_batch,
    mean_log_steps,
    seconds_per_step,
    steps_to_target,
)
from orchestrator.sweep.plan import Stage
from trainables.estimate import Estimate

NOISE_SCALE = "noise_scale"
STEP_SECONDS = "step_seconds_micro_batch_"
POINTS = 200  # grid points of the search for the least T


@dataclass(frozen=True)
class FromNoiseScale:
    """The noise scale of the short run, and the step time of the probe."""


@dataclass(frozen=True)
class FromFit:
    """The fitted steps and step times; the interval follows from the critical batch's."""

    cut: tuple[str, ...]  # "smallest", "largest": the interval was cut off there, and the optimum may lie beyond


@dataclass(frozen=True)
class FromProbe:
    """The fitted steps, and the step times of a probe."""


@dataclass(frozen=True)
class FromLines:
    """Straight lines between measured points, as the critical batch is not determined."""

    why: WhyNoCurve | None


PredictionBasis = FromNoiseScale | FromFit | FromProbe | FromLines


@dataclass(frozen=True)
class Prediction:
    """A batch size with its interval. `low` and `high` are None if the uncertainty is unknown."""

    batch_size: float
    low: float | None
    high: float | None
    basis: PredictionBasis
    seconds: float | None = None  # T at the predicted batch size


def fit_part(table: SweepTable) -> SweepTable:
    """The trials that tuned the learning rate, without confirming ones, so that confirmation is independent of
    the fit.
    """
    kept = tuple(trial for trial in table.plan.trials if trial.stage is not Stage.CONFIRMATION)
    ids = {trial.id for trial in kept}
    configurations = []
    for configuration in table.configurations:
        rows = tuple(row for row in configuration.rows if row.id in ids)
        if rows:
            configurations.append(replace(configuration, rows=rows))
    rows = tuple(row for row in table.rows if row.id in ids)
    return SweepTable(table.plan, rows, tuple(configurations), table.damaged, table.probes)


# -- from the noise scale ---------------------------------------------------------------------------------------------


def noise_scale(rows: Iterable[Row]) -> Estimate | None:
    """The noise scale of the first trial that measured it, resolved or not; see `unresolved`."""
    estimates = (row.result.metrics.get(NOISE_SCALE) for row in rows if row.result is not None)
    return next((estimate for estimate in estimates if estimate is not None), None)


def unresolved(estimate: Estimate) -> bool:
    """Whether the mean gradient is not detectably different from zero, so that the estimate is meaningless."""
    return (estimate.note or "").startswith("unresolved") or not (math.isfinite(estimate.value) and estimate.value > 0)


def from_noise_scale(estimate: Estimate | None, time: StepTime | None, num_workers: int) -> Prediction | None:
    """None without a resolved noise scale, or without a step time that has both an overhead and a slope."""
    if estimate is None or unresolved(estimate) or time is None or time.fixed <= 0 or time.per_example <= 0:
        return None

    def fastest(critical: float) -> float:
        curve = CriticalBatch(critical, None, None, 1.0, 1.0, 0.0, None)
        return fastest_batch(curve, time, num_workers)[0]

    low, high = estimate.low, estimate.high
    return Prediction(
        fastest(estimate.value),
        fastest(low) if low is not None and low > 0 else None,
        fastest(high) if high is not None and math.isfinite(high) else None,
        FromNoiseScale(),
    )


def probed_step_time(probe: ProbeRow) -> StepTime | None:
    """t(B) from a probe's micro-batches, on its own number of workers; None with fewer than three micro-batches."""
    metrics = probe.result.metrics if probe.result is not None else {}
    workers = probe.config.num_workers
    pairs = [
        (int(name.removeprefix(STEP_SECONDS)) * workers, estimate.value)
        for name, estimate in metrics.items()
        if name.startswith(STEP_SECONDS) and estimate.value > 0
    ]
    return _step_time(pairs, workers)


def _step_time(pairs: Sequence[tuple[int, float]], workers: int) -> StepTime | None:
    """t(B) from (batch size, seconds). With one number of workers, a and c(K) cannot be separated: `fixed` is
    their sum.
    """
    if len(pairs) < 3 or len({size for size, _ in pairs}) < 2:
        return None
    sizes, seconds = zip(*pairs, strict=True)
    return fit_step_time(sizes, [workers] * len(sizes), seconds, resamples=1).step_time


# -- from the fit -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Fit:
    """The fit over the tuned trials: the rows, the curve through them, the time of a step, and the fastest batch."""

    rows: tuple[ToTarget, ...]
    curve: CriticalBatch
    step_time: StepTime | None
    prediction: Prediction | None  # None when fewer than two batch sizes reached the target, or steps were not timed

    def steps(self, batch_size: float) -> float | None:
        """S(B) from the curve; if that is not determined, interpolated linearly between measured points."""
        if self.curve.undetermined is None:
            return self.curve.steps(batch_size)
        return _between(self.rows, batch_size) if self.rows else None


def fit(table: SweepTable, *, resamples: int = 1000) -> Fit:
    """Of the trials of `fit_part`; all of one choice of the settings beside batch size and learning rate."""
    tuned = fit_part(table)
    rows = tuple(steps_to_target(tuned))
    curve = critical_batch(rows, resamples=resamples)
    timed = [
        (row.config.training.batch_size, seconds)
        for configuration in tuned.baselines
        for row in configuration.rows
        if row.trained and (seconds := seconds_per_step(row)) is not None
    ]
    workers = rows[0].num_workers if rows else 1
    time = _step_time(timed, workers)
    return Fit(rows, curve, time, _prediction(rows, curve, time, workers))


def _prediction(
    rows: Sequence[ToTarget], curve: CriticalBatch, time: StepTime | None, workers: int
) -> Prediction | None:
    if time is None or len(rows) < 2:
        return None
    grid = np.geomspace(rows[0].batch_size, rows[-1].batch_size, POINTS)

    def least(steps: Callable[[float], float]) -> tuple[float, float]:
        seconds = [steps(float(size)) * time.seconds(float(size), workers) for size in grid]
        best = int(np.argmin(seconds))
        return float(grid[best]), float(seconds[best])

    if curve.undetermined is not None or curve.batch_size is None:
        best, seconds = least(lambda size: _between(rows, size))
        return Prediction(best, None, None, FromLines(curve.undetermined), seconds)
    best, seconds = least(curve.steps)
    ends = [replace(curve, batch_size=end) for end in (curve.batch_size_low, curve.batch_size_high) if end]
    others = [least(end.steps)[0] for end in ends]
    low, high = min([best, *others]), max([best, *others])
    cut = tuple(end for end, is_there in (("smallest", low == grid[0]), ("largest", high == grid[-1])) if is_there)
    return Prediction(best, low, high, FromFit(cut), seconds)


def _between(rows: Sequence[ToTarget], batch_size: float) -> float:
    """Steps, on straight lines in log steps over log batch size; beyond the ends, as at the ends."""
    sizes, logs = [math.log(row.batch_size) for row in rows], [mean_log_steps(row.crossings) for row in rows]
    return math.exp(float(np.interp(math.log(batch_size), sizes, logs)))
