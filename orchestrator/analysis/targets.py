"""What it takes to reach the objective's target at each batch size: steps, examples, seconds, cost; and the critical
batch size they tell.

    S(B)    optimiser steps to the target, at the learning rate that needs the fewest (Shallue et al. 2018,
            arXiv 1811.03600)
    E(B)    B S(B), examples                T(B)    seconds of training                cost(B)    K T(B), worker-seconds

Readings are taken a few times per run, so S is interpolated: on the straight line between the reading before the first
that is there and that one. Where the first reading of all is there already, S is that reading's, an upper bound.
A best rate at an end of those tried is flagged: a better one may lie beyond, and S(B) is then too large.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from orchestrator.analysis.critical_batch import CriticalBatch, fit_critical_batch
from orchestrator.analysis.statistics import Summary, mean_over_seeds
from orchestrator.analysis.table import WAITING, Configuration, Row, SweepTable
from orchestrator.analysis.words import settings_words
from orchestrator.spec import Mode, Objective
from trainables.results import Report


@dataclass(frozen=True)
class Crossing:
    """Where a run first reached the target, interpolated between two readings."""

    steps: float
    examples: float
    seconds: float
    is_bound: bool = False  # the first reading of all was there already: it may have happened long before


def crossing(history: Sequence[Report], metric: str, mode: Mode, target: float) -> Crossing | None:
    """None if no reading is at least (`max`) or at most (`min`) the target. A NaN reaches nothing."""
    before: Report | None = None
    for report in history:
        value = report.metrics.get(metric, math.nan)
        if value >= target if mode == "max" else value <= target:
            return _between(before, report, metric, target)
        before = report if math.isfinite(value) else None
    return None


def target_crossing(history: Sequence[Report], objective: Objective) -> Crossing | None:
    """Where a run reached the objective's target; None if it did not, or if there is none."""
    if objective.target is None:
        return None
    return crossing(history, objective.metric, objective.mode, objective.target)


def _between(before: Report | None, after: Report, metric: str, target: float) -> Crossing:
    if before is None:
        return Crossing(after.step, after.examples, after.seconds, is_bound=True)
    low, high = before.metrics[metric], after.metrics[metric]
    share = (target - low) / (high - low)  # the first is short of the target and the second is not: never 0 / 0
    if not math.isfinite(share):
        share = 1.0
    return Crossing(
        before.step + share * (after.step - before.step),
        before.examples + share * (after.examples - before.examples),
        before.seconds + share * (after.seconds - before.seconds),
    )


def crossings(configuration: Configuration, objective: Objective) -> dict[int, Crossing]:
    """Seed -> crossing, over the trials that reached the target; one may have been stopped early after that."""
    found = (
        (row.seed, target_crossing(row.result.history, objective))
        for row in configuration.rows
        if row.result is not None and row.trained
    )
    return {seed: where for seed, where in found if where is not None}


@dataclass(frozen=True)
class TargetRow:
    """One batch size (and one choice of the other settings) at the rate with the fewest steps to the target."""

    best: Configuration
    crossings: Mapping[int, Crossing]  # seed -> where; at least one
    rates: tuple[float, ...]  # all that have ended there, ascending, those that never reached the target too
    settings: str = ""  # what else the sweep varies, in words

    @property
    def batch_size(self) -> int:
        return self.best.training.batch_size

    @property
    def num_workers(self) -> int:
        return self.best.training.num_workers

    @property
    def seeds(self) -> int:
        """Trials at this rate that tell whether they reach the target: they did, or ran to their end."""
        return len({*self.crossings, *(row.seed for row in self.best.measured)})

    @property
    def edge(self) -> str | None:
        """`lowest` or `highest` when the best rate is at an end of those tried (at least two)."""
        rate = self.best.training.learning_rate
        if len(self.rates) < 2:
            return None
        return {self.rates[0]: "lowest", self.rates[-1]: "highest"}.get(rate)

    @property
    def is_bound(self) -> bool:
        """Whether readings were too few to tell when the target was reached: S(B) is then an upper bound."""
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
        """The cost: every worker is paid for as long as training takes."""
        return self._summary(lambda where: where.seconds * self.num_workers)

    def _summary(self, figure: Callable[[Crossing], float]) -> Summary:
        return mean_over_seeds([figure(where) for where in self.crossings.values()])


def steps_to_target(table: SweepTable) -> list[TargetRow]:
    """Ascending by batch size. A batch size at which no trial reached the target has no row."""
    groups: dict[tuple[int, str], list[Configuration]] = defaultdict(list)
    for configuration in table.baselines:
        words = settings_words(configuration.config, table.settings)
        groups[configuration.training.batch_size, words].append(configuration)
    rows = []
    for (_, settings), group in sorted(groups.items()):
        ended = [c for c in group if any(row.status != WAITING for row in c.rows)]
        there = [(c, found) for c in ended if (found := crossings(c, table.plan.objective))]
        if there:
            best, found = min(there, key=lambda pair: _order(*pair))
            rates = tuple(sorted({c.training.learning_rate for c in ended}))
            rows.append(TargetRow(best, found, rates, settings))
    return rows


def _order(configuration: Configuration, found: Mapping[int, Crossing]) -> tuple[float, float, str]:
    """Most of its seeds there (a diverged one never is), then the fewest steps."""
    known = {*found, *(row.seed for row in (*configuration.measured, *configuration.broken))}
    return -len(found) / len(known), mean_log_steps(found), configuration.key


def mean_log_steps(found: Mapping[int, Crossing]) -> float:
    return sum(math.log(where.steps) for where in found.values()) / len(found)


def critical_batch(rows: Sequence[TargetRow], *, resamples: int = 1000) -> CriticalBatch:
    """The fit of S(B) over every seed of every row, whatever the rows' order. Rows are of one choice of settings."""
    points = [(row.batch_size, where.steps) for row in rows for where in row.crossings.values()]
    return fit_critical_batch([float(b) for b, _ in points], [steps for _, steps in points], resamples=resamples)


def seconds_per_step(row: Row) -> float | None:
    """Of a run that ended with a reading: training time over its steps, evaluations left out."""
    last = row.result.history[-1] if row.result is not None and row.result.history else None
    return last.seconds / last.step if last is not None and last.step and last.seconds > 0 else None
