"""The compute options (workers x precision) of `batch_size: auto`, with the results of their probes.

The option with the highest throughput is not always the fastest to the target: throughput is highest at batch sizes far
above the optimum. More workers need more communication, so their optimum is a larger batch size, which takes more
examples to the target.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from orchestrator.analysis.predict_batch import Fit, probed_step_time
from orchestrator.analysis.rows import ProbeRow
from orchestrator.analysis.step_time import StepTime
from orchestrator.sweep.plan import Plan
from trainables.config.training import Precision
from trainables.config.trial import ProbeConfig
from trainables.results import TrialResult


@dataclass(frozen=True)
class ComputeOption:
    """How a batch is divided and computed, and how fast that was when it was probed."""

    num_workers: int
    precision: Precision
    micro_batch_limit: int | None
    examples_per_second: float = 0.0  # of all workers together, at the best micro-batch; 0 if unknown
    step_time: StepTime | None = None


@dataclass(frozen=True)
class Optimum:
    """The batch size at which an option should reach the target fastest, and so also at the lowest cost."""

    way: ComputeOption
    batch_size: int
    seconds: float

    @property
    def worker_seconds(self) -> float:
        return self.way.num_workers * self.seconds


def probed_ways(plan: Plan, results: Mapping[str, TrialResult]) -> list[ComputeOption]:
    """One option per probe, in the order of the sweep file; a failed probe gives no limit and no speed."""
    given = plan.sweep.parameters.micro_batch_size
    ways = []
    for trial in plan.trials:
        if isinstance(trial.config, ProbeConfig):
            metrics = results[trial.id].metrics
            fits = metrics.get("largest_micro_batch_size")
            limits = [int(fits.value)] if fits is not None and fits.value >= 1 else []
            speeds = [e.value for n, e in metrics.items() if n.startswith("examples_per_second_micro_batch_")]
            limit = min([*limits, *([given] if given else [])], default=None)
            time = probed_step_time(ProbeRow(trial.id, trial.config, results[trial.id]))
            ways.append(
                ComputeOption(trial.config.num_workers, trial.config.precision, limit, max(speeds, default=0.0), time)
            )
    return ways


def optimum(way: ComputeOption, tuned: Fit, sizes: Sequence[int]) -> Optimum | None:
    """The least S(B) t(B) over these sizes; None if S or t is unknown at all of them.

    S(B) comes from the fit, for every option, and is used only within its measured range; t(B) comes from the option's
    own probe.
    """
    known, time = [row.batch_size for row in tuned.rows], way.step_time
    if time is None or not known:
        return None
    within = [size for size in sizes if known[0] <= size <= known[-1]]
    found = [
        Optimum(way, size, steps * time.seconds(size, way.num_workers))
        for size in within
        if (steps := tuned.steps(size)) is not None
    ]
    return min(found, key=lambda one: one.seconds, default=None)
