"""Early stopping: after each evaluation of a trial, decides whether the trial needs to continue.

Behind: asynchronous successive halving (ASHA) on examples seen, within one batch size. At each rung, a trial ends if
its evaluation is not among the best 1/reduction_factor of those recorded there so far. Trials of different batch sizes
are never compared: after the same number of examples, a large batch has made fewer steps, and it would always lose.
Source: Li et al. 2020, A System for Massively Parallel Hyperparameter Tuning, arXiv:1810.05934. Doubt: the first trials
to reach a rung are never stopped there, so the order of trials matters.

Answered: a trial of `batch_size: auto` ends once it has determined its result (orchestrator.adaptive.early_answer).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable

import numpy as np

from orchestrator.adaptive import early_answer
from orchestrator.running.ledger import Ledger
from orchestrator.sweep.metrics import sign_of
from orchestrator.sweep.plan import Trial
from orchestrator.sweep.spec import EarlyStopping, Objective, Sweep
from trainables.config.batch_schedule import planned_growth
from trainables.config.batching import examples_in, steps_for
from trainables.config.training import FixedBatch, GrowAt, GrowWithNoise, Training
from trainables.config.trial import BaselineConfig
from trainables.results import Report, TrialResult

BEHIND = "behind the others of its batch size"
BEFORE_THE_END = 1 - 1e-6  # share of the budget; no rung is later, as the last evaluation is not judged


class Stopping:
    """Ends trials early, by either of the two rules, with any executor."""

    def __init__(self, ledger: Ledger) -> None:
        """Trials that ended in an earlier run count as if they had run now."""
        self._ledger = ledger
        sweep, ended = ledger.plan.sweep, ledger.results.values()
        past = ((ledger.trials[result.id], result) for result in ended)
        self._halving = SuccessiveHalving(sweep, sweep.early_stopping, past) if sweep.early_stopping else None

    def is_over(self, trial: str, report: Report | None) -> bool:
        """Whether a trial ends with this evaluation; None for other events.

        It is called before the ledger knows the evaluation, so an answered trial ends one evaluation later than it
        could.
        """
        if self._ledger.has_answered(trial):
            return True
        if self._halving is None or report is None:
            return False
        return self._halving.is_behind(self._ledger.trials[trial], report)

    def reason(self, trial: str) -> str:
        """Why the trial was ended; to be called once the ledger has all its evaluations."""
        return early_answer.REASON if self._ledger.has_answered(trial) else BEHIND


class SuccessiveHalving:
    """Rungs for each batch size. Variants and confirming trials are never stopped, and do not count at rungs."""

    def __init__(
        self, sweep: Sweep, early_stopping: EarlyStopping, ended: Iterable[tuple[Trial, TrialResult]] = ()
    ) -> None:
        """`ended`: trials of earlier runs; the evaluations of those that could have been stopped count."""
        self._early_stopping = early_stopping
        self._objective = sweep.objective
        self._train_rows = sweep.facts.train_rows
        self._by_batch_size: dict[int, Rungs] = {}
        for trial, result in ended:
            for report in result.history:
                self.is_behind(trial, report)

    def is_behind(self, trial: Trial, report: Report) -> bool:
        """ASHA's decision on an evaluation.

        The last one is not judged: stopping would save nothing, and the trial would lose its model and its figures.
        """
        if not isinstance(trial.config, BaselineConfig) or not trial.may_stop_early:
            return False
        training, value = trial.config.training, report.metrics.get(self._objective.metric, math.nan)
        if not math.isfinite(value) or is_spent(training, self._train_rows, report.examples, report.seconds):
            return False
        size = training.batch_size
        if size not in self._by_batch_size:
            self._by_batch_size[size] = Rungs(training, self._early_stopping, self._objective, self._train_rows)
        return self._by_batch_size[size].is_behind(trial.id, report, value)


class Rungs:
    """The rungs of one batch size: at `grace_fraction` of the budget, then each `reduction_factor` times later.

    `milestones`: examples, or seconds if `in_seconds`; ascending. A budget in seconds has rungs in seconds, as the
    number of examples within it is unknown.
    """

    def __init__(
        self, training: Training, early_stopping: EarlyStopping, objective: Objective, train_rows: int | None
    ) -> None:
        steps = steps_for(training.budget, training.batch_size, train_rows)
        whole = training.budget.amount if steps is None else steps * training.batch_size
        factor = early_stopping.reduction_factor
        reached = (early_stopping.grace_fraction * whole * factor**k for k in itertools.count())
        self.in_seconds = steps is None
        self.milestones = list(itertools.takewhile(lambda rung: rung <= BEFORE_THE_END * whole, reached))
        self._cutoff_percent = 100 * (1 - 1 / factor)
        self._sign = sign_of(objective.mode)
        self._taken: list[dict[str, float]] = [{} for _ in self.milestones]  # for each: trial -> its value there

    def is_behind(self, trial: str, report: Report, value: float) -> bool:
        """Judge a trial's first evaluation at or after each milestone, and record it for later trials."""
        done = report.seconds if self.in_seconds else report.examples
        reached = sum(milestone <= done for milestone in self.milestones)
        if not reached or trial in (taken := self._taken[reached - 1]):
            return False
        others, taken[trial] = list(taken.values()), self._sign * value
        return bool(others) and bool(taken[trial] < np.percentile(others, self._cutoff_percent))


def is_spent(training: Training, train_rows: int | None, examples: int, seconds: float) -> bool:
    """Whether an evaluation is the last of its trial, because no further step fits into the budget.

    With a budget in seconds, an evaluation comes up to half a step early, and at least one step after the previous one
    (trainables.training.budget_clock.SecondsClock). So the last one is at most half an interval between evaluations
    before the end.
    """
    budget = training.budget
    steps = steps_for(budget, training.batch_size, train_rows)
    if steps is None:
        return seconds >= budget.amount * (1 - 0.5 / training.evaluations)
    whole = steps * training.batch_size  # also for a growing batch, which grows to whole multiples
    return examples + _next_step_at_most(training, train_rows, examples) > whole


def _next_step_at_most(training: Training, train_rows: int | None, examples: int) -> int:
    """Examples of the next step. The size of a batch that grows with the noise scale is known only to its own trial."""
    match training.batch_schedule:
        case FixedBatch():
            growth = 1
        case GrowAt() as schedule:
            growth = planned_growth(schedule, examples_in(training.budget, train_rows), examples)
        case GrowWithNoise(at_most=growth):
            pass
    return training.batch_size * growth
