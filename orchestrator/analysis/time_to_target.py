"""The effort to reach the objective's target at each batch size (steps, examples, seconds, cost), and from it the
critical batch size.

    S(B)    optimiser steps to the target, at the learning rate that needs the fewest (Shallue et al. 2018,
            arXiv 1811.03600)
    E(B)    B S(B), examples                T(B)    seconds of training                cost(B)    K T(B), worker-seconds

A best learning rate that is the lowest or highest tried is flagged: a better one may lie beyond, and S(B) is then too
large. A batch size that had reached the target at the first evaluation is flagged, too: its S(B) is an upper bound that
always falls as 1/B, since first evaluations come after equal examples. The fit of the critical batch size leaves such
sizes out. It also leaves out sizes at which some seeds never reached the target, as the mean over the others is too
low.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from statistics import fmean

from orchestrator.analysis.critical_batch import MIN_SIZES, CriticalBatch, TooFewSizes, fit_critical_batch
from orchestrator.analysis.rows import WAITING, Configuration, Row
from orchestrator.analysis.statistics import Summary, mean_over_seeds
from orchestrator.analysis.table import SweepTable
from orchestrator.analysis.target_crossing import Crossing, target_crossing
from orchestrator.sweep.spec import Objective

Found = tuple[Configuration, Mapping[int, Crossing]]  # a configuration, and seed -> where it reached the target


def crossings(configuration: Configuration, objective: Objective) -> dict[int, Crossing]:
    """Seed -> crossing, over the trials that reached the target, including trials that were stopped afterwards."""
    found = (
        (row.seed, target_crossing(row.result.history, objective))
        for row in configuration.rows
        if row.result is not None and row.trained
    )
    return {seed: where for seed, where in found if where is not None}


@dataclass(frozen=True)
class ToTarget:
    """The effort to the objective's target: figures over the seeds that reached it, and their number."""

    configuration: Configuration  # with the considered trials only
    crossings: Mapping[int, Crossing]  # seed -> crossing; at least one is needed for the figures below
    seeds: int  # number of seeds; larger than the number of crossings if some never reached the target
    rates: tuple[float, ...] = ()  # all learning rates tried, ascending, including those that never reached the target

    @property
    def batch_size(self) -> int:
        return self.configuration.training.batch_size

    @property
    def num_workers(self) -> int:
        return self.configuration.training.num_workers

    @property
    def edge(self) -> str | None:
        """`lowest` or `highest` if the best learning rate is at an end of those tried (at least two)."""
        rate = self.configuration.training.learning_rate
        if len(self.rates) < 2:
            return None
        return {self.rates[0]: "lowest", self.rates[-1]: "highest"}.get(rate)

    @property
    def is_whole(self) -> bool:
        """Whether every seed reached the target; otherwise the mean is too good."""
        return len(self.crossings) == self.seeds

    @property
    def is_bound(self) -> bool:
        """Whether the first evaluation was at the target already, so that S(B) is an upper bound."""
        return any(where.is_bound for where in self.crossings.values())

    @cached_property
    def steps(self) -> Summary:
        return self._summary(lambda where: where.steps)

    @cached_property
    def examples(self) -> Summary:
        return self._summary(lambda where: where.examples)

    @cached_property
    def seconds(self) -> Summary:
        return self._summary(lambda where: where.seconds)

    @cached_property
    def worker_seconds(self) -> Summary:
        """The cost in worker-seconds."""
        return self._summary(lambda where: where.seconds * self.num_workers)

    @property
    def log_seconds(self) -> dict[int, float]:
        """Seed -> log seconds."""
        return {seed: math.log(where.seconds) for seed, where in self.crossings.items() if where.seconds > 0}

    @property
    def mean_log_seconds(self) -> float:
        return fmean(self.log_seconds.values()) if self.log_seconds else math.inf

    @property
    def mean_log_cost(self) -> float:
        return self.mean_log_seconds + math.log(self.num_workers)

    def _summary(self, figure: Callable[[Crossing], float]) -> Summary:
        return mean_over_seeds([figure(where) for where in self.crossings.values()])


def to_target(configuration: Configuration, objective: Objective) -> ToTarget | None:
    """The effort over the trials that ran to their end. None if none reached the target, or without a target."""
    outcomes = dict(zip((row.seed for row in configuration.measured), configuration.reached(objective), strict=False))
    there = {seed: where for seed, where in outcomes.items() if where is not None}
    return ToTarget(configuration, there, len(outcomes)) if there else None


def steps_to_target(table: SweepTable) -> list[ToTarget]:
    """The effort at the learning rate with the fewest steps, for every batch size (and choice of settings), ascending.

    Ended seeds are counted; one that was stopped early or failed before the target has not reached it. Batch sizes at
    which no trial reached the target are left out.
    """
    rows = []
    for group in table.by_place().values():
        ended = [c for c in group if any(row.status != WAITING for row in c.rows)]
        there: list[Found] = [(c, where) for c in ended if (where := crossings(c, table.plan.objective))]
        if there:
            rates = tuple(sorted({c.training.learning_rate for c in ended}))
            best, found = _best(there, rates)
            rows.append(ToTarget(best, found, len(_ended_seeds(best)), rates))
    return rows


def _best(there: Sequence[Found], rates: Sequence[float]) -> Found:
    """The best has the most seeds at the target, then the fewest steps, then the middle rate; finally its key
    decides.
    """

    def order(pair: Found) -> tuple[float, float]:
        configuration, found = pair
        return -len(found) / len(_ended_seeds(configuration)), mean_log_steps(found)

    least = min(map(order, there))
    tied = {pair[0].training.learning_rate for pair in there if order(pair) == least}
    middle = middle_rate(tied, rates)
    return min(there, key=lambda pair: (order(pair), pair[0].training.learning_rate != middle, pair[0].key))


def _ended_seeds(configuration: Configuration) -> set[int]:
    return {row.seed for row in configuration.rows if row.status != WAITING}


def middle_rate(tied: Collection[float], tried: Collection[float]) -> float:
    """The middle one of learning rates that are tied, for example as all reached the target at the first evaluation.

    The best one is most likely there, not at an end. Of two in the middle, the one nearer the middle of all tried.
    """
    alike, all_rates = sorted(tied), sorted(tried)
    low, high = alike[(len(alike) - 1) // 2], alike[len(alike) // 2]
    return high if all_rates.index(low) + all_rates.index(high) < len(all_rates) - 1 else low


def mean_log_steps(found: Mapping[int, Crossing]) -> float:
    return sum(math.log(where.steps) for where in found.values()) / len(found)


def critical_batch(rows: Sequence[ToTarget], *, resamples: int = 1000) -> CriticalBatch:
    """The fit of S(B) over every row whose steps are known for all seeds, in any order.

    Rows with bounds, or with means over some seeds only, are left out, as their error is unknown. All rows must belong
    to one choice of settings.
    """
    known = [row for row in rows if not row.is_bound and row.is_whole]
    if (left := len({row.batch_size for row in known})) < MIN_SIZES and len(known) < len(rows):
        bounds, partly = (_sizes(row for row in rows if row.is_bound), _sizes(row for row in rows if not row.is_whole))
        return CriticalBatch.unknown(TooFewSizes(left, bounds, partly))
    points = [(row.batch_size, where.steps) for row in known for where in row.crossings.values()]
    return fit_critical_batch([float(b) for b, _ in points], [steps for _, steps in points], resamples=resamples)


def _sizes(rows: Iterable[ToTarget]) -> tuple[int, ...]:
    return tuple(sorted({row.batch_size for row in rows}))


def seconds_per_step(row: Row) -> float | None:
    """Seconds per step of a run with at least one evaluation: training time, without evaluations, over steps."""
    last = row.result.history[-1] if row.result is not None and row.result.history else None
    return last.seconds / last.step if last is not None and last.step and last.seconds > 0 else None
