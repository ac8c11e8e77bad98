"""The speed that probes measured: the step-time line and its knee, and whether powers of two are special."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace

from orchestrator.analysis.statistics import holm
from orchestrator.analysis.step_time import PowerOfTwo, StepTimeFit, fit_step_time, power_of_two_effect
from trainables.config.trial import ProbeConfig
from trainables.estimate import Estimate
from trainables.results import TrialResult

_STEP = re.compile(r"step_seconds_micro_batch_(\d+)")


def step_times(result: TrialResult) -> dict[int, Estimate]:
    """Micro-batch size -> seconds of a step, smallest first; empty if none was timed."""
    found = {
        int(match[1]): estimate
        for name, estimate in result.metrics.items()
        if (match := _STEP.fullmatch(name)) is not None
    }
    return dict(sorted(found.items()))


def fit_together(results: Sequence[TrialResult]) -> StepTimeFit | None:
    """t(B) = a + b B/K + c(K) through the medians of probes that differ only in workers; None if there are too few."""
    sizes, workers, seconds = [], [], []
    for result in results:
        if isinstance(result.config, ProbeConfig):
            for size, estimate in step_times(result).items():
                sizes.append(float(size * result.config.num_workers))
                workers.append(result.config.num_workers)
                seconds.append(estimate.value)
    try:
        return fit_step_time(sizes, workers, seconds)
    except ValueError:
        return None


def neighbour_sizes(largest: int) -> tuple[int, ...]:
    """Powers of two from 8 on, each with two neighbours, an eighth smaller and larger."""
    powers = [2**i for i in range(3, largest.bit_length()) if 2**i + 2**i // 8 <= largest]
    return tuple(sorted(size for power in powers for size in (power - power // 8, power, power + power // 8)))


def neighbour_effects(result: TrialResult) -> dict[int, PowerOfTwo]:
    """Power of two -> its step time over the one predicted by its neighbours, from timings of the same rounds.

    Only powers whose two neighbours at the same distance were timed, in at least three rounds. p-values and verdicts
    are corrected for the number of powers (Holm); the intervals are not.
    """
    rounds = [_by_size(report.metrics) for report in result.history]
    rounds = [timed for timed in rounds if timed]
    if len(rounds) < 3:
        return {}
    sizes = set.intersection(*(set(timed) for timed in rounds))
    effects = {}
    for power in sorted(size for size in sizes if size & (size - 1) == 0):
        below, above = power - power // 8, power + power // 8
        if below < power and {below, above} <= sizes:
            at = [[timed[size] for timed in rounds] for size in (power, below, above)]
            effects[power] = power_of_two_effect(*at)
    corrected = holm([effect.p_value for effect in effects.values()])
    return {power: replace(effects[power], p_value=p) for power, p in zip(effects, corrected, strict=True)}


def _by_size(metrics: Mapping[str, float]) -> dict[int, float]:
    return {int(match[1]): value for name, value in metrics.items() if (match := _STEP.fullmatch(name)) is not None}
