"""The cost of a training: steps and examples, which do not depend on the machine, and seconds where they are reliable.

The same training takes the same steps to its target on any day; its seconds depend on the machine and on its load at
the time. So seconds do not come from the run itself: all trainings with the same kind of step (same batch, division,
precision, workers, optimiser and task; other learning rates and seeds) time it together:

    seconds = steps x exp(mean log seconds of that step)        spread: pooled over all steps that were timed repeatedly

Very short runs are not used for timing. And a training is called slower only if Student's 95 % interval of the ratio is
above 1.5. This margin covers errors that the spread within a kind of step does not show: all runs of one batch size may
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
SHORTEST_SECONDS = 0.1  # shortest run used for timing: in shorter ones, start and stop dominate
SLOWER = 1.5  # least ratio of seconds that counts as slower


@dataclass(frozen=True)
class Pace:
    """The seconds of one kind of step."""

    key: str  # identifies the kind
    log_seconds: float  # mean over the runs with this kind of step
    runs: int
    deviation: float  # of log seconds, between runs of one kind
    degrees: int  # behind the deviation; 0: no kind was timed twice, so nothing is known


@dataclass(frozen=True)
class Effort:
    """The effort to the objective's target, or to the end without a target; infinite if a seed never reached it."""

    steps: float
    examples: float
    pace: Pace | None = None

    @property
    def seconds(self) -> float:
        return self.steps * math.exp(self.pace.log_seconds) if self.pace else math.inf

    def beats(self, other: Effort) -> bool:
        """Whether it needs no more steps and no more examples than the other, and at least 5 % fewer of one."""
        if self.steps > other.steps or self.examples > other.examples:
            return False
        return SAME * self.steps < other.steps or SAME * self.examples < other.examples

    def is_slower(self, other: Effort) -> bool:
        """Whether it takes at least 1.5 times the seconds of the other, by the interval over all timed runs."""
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
    """The settings that determine the duration of a step; learning rate, seed and budget do not."""
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
