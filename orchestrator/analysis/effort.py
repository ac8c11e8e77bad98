"""The cost of a training: steps and examples, which no clock changes, and seconds where they can be relied on.

The same training takes the same steps to its target on any day; its seconds are those of one machine in one hour, where
other runs, or other people, may have been at work. So seconds are not taken from the run itself: all trainings with one
step (the same batch, division, precision, workers, optimiser and task; other rates and seeds) time it together,

    seconds = steps x exp(mean log seconds of that step)        spread: pooled over all steps that were timed repeatedly

Runs too short for a clock to say anything of them time nothing. And training is called slower only where Student's 95 %
interval of the ratio is above 1.5. The margin is for what no spread within a step shows: all runs of one batch size may
have run in the same busy hour.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from statistics import fmean

from scipy.special import stdtrit

from orchestrator.analysis.pooling import ALPHA
from orchestrator.analysis.rows import Configuration, Row
from orchestrator.analysis.table import SweepTable
from orchestrator.analysis.time_to_target import seconds_per_step

SAME = 1.05  # a ratio up to this counts as equal
SHORTEST_SECONDS = 0.1  # of a run: below, starting and stopping is most of it
SLOWER = 1.5  # seconds decide from here on


@dataclass(frozen=True)
class Pace:
    """The seconds of one kind of step."""

    key: str  # of the kind
    log_seconds: float  # mean over the runs that took it
    runs: int
    deviation: float  # of log seconds, between runs of one kind
    degrees: int  # behind the deviation; 0: no kind was timed twice, so nothing is known


@dataclass(frozen=True)
class Effort:
    """To the objective's target, or to the end where there is none; infinite if a seed never got there."""

    steps: float
    examples: float
    pace: Pace | None = None

    @property
    def seconds(self) -> float:
        return self.steps * math.exp(self.pace.log_seconds) if self.pace else math.inf

    def beats(self, other: Effort) -> bool:
        """As few steps and as few examples, and at least 5 % fewer of one."""
        if self.steps > other.steps or self.examples > other.examples:
            return False
        return SAME * self.steps < other.steps or SAME * self.examples < other.examples

    def is_slower(self, other: Effort) -> bool:
        """Whether it takes half as many seconds again at least, by an interval and not by one run's clock."""
        mine, theirs = self.pace, other.pace
        if mine is None or theirs is None or mine.key == theirs.key or not mine.degrees:
            return False
        if not (math.isfinite(self.steps) and math.isfinite(other.steps)):
            return False
        error = mine.deviation * math.sqrt(1 / mine.runs + 1 / theirs.runs)
        half = float(stdtrit(mine.degrees, 1 - ALPHA / 2)) * error
        return math.log(self.seconds / other.seconds) - half > math.log(SLOWER)


def efforts(table: SweepTable) -> dict[str, Effort]:
    """Baseline's key -> its cost. A baseline without an ended seed is left out."""
    found = {c.key: work for c in table.baselines if (work := _work(table, c)) is not None}
    paces = _paces(table)
    return {c.key: Effort(*found[c.key], paces.get(_step_of(c))) for c in table.baselines if c.key in found}


def _work(table: SweepTable, baseline: Configuration) -> tuple[float, float] | None:
    if table.plan.objective.target is None:
        steps, examples = baseline.summary("steps"), baseline.summary("examples")
        return (steps.mean, examples.mean) if steps and examples else None
    reached = baseline.reached(table.plan.objective)
    if not reached:
        return None
    there = [reach for reach in reached if reach is not None]
    if len(there) < len(reached):
        return math.inf, math.inf
    return fmean(reach.steps for reach in there), fmean(reach.examples for reach in there)


def _step_of(baseline: Configuration) -> str:
    """The settings that decide the duration of a step: neither the rate, nor the seed, nor the budget."""
    training = baseline.training
    steps = (training.batch_size, training.micro_batch_size, training.accumulation_steps, training.num_workers)
    others = (training.precision, training.optimizer.name, training.batch_schedule.name)
    return repr((steps, others, sorted(baseline.config.task.options.items())))


def _paces(table: SweepTable) -> dict[str, Pace]:
    timed: dict[str, list[float]] = defaultdict(list)
    for baseline in table.baselines:
        seconds = (seconds_per_step(row) for row in baseline.rows if row.trained and _is_long_enough(row))
        timed[_step_of(baseline)].extend(math.log(each) for each in seconds if each is not None)
    kinds = {key: logs for key, logs in timed.items() if logs}
    degrees = sum(len(logs) - 1 for logs in kinds.values())
    deviation = math.sqrt(sum(map(_squares, kinds.values())) / degrees) if degrees else 0.0
    return {key: Pace(key, fmean(logs), len(logs), deviation, degrees) for key, logs in kinds.items()}


def _is_long_enough(row: Row) -> bool:
    return row.result is not None and bool(row.result.history) and row.result.history[-1].seconds >= SHORTEST_SECONDS


def _squares(values: Iterable[float]) -> float:
    known = list(values)
    return math.fsum((value - fmean(known)) ** 2 for value in known)
