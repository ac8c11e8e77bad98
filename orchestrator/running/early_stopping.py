"""Early stopping: asynchronous successive halving (ASHA) on examples seen, within one batch size.

At each rung, a reading that is not among the best 1/reduction_factor of those taken there so far ends its trial. Trials
of different batch sizes are never compared: after the same number of examples a large batch has made fewer steps, and
it would always lose. Source: Li et al. 2020, A System for Massively Parallel Hyperparameter Tuning, arXiv:1810.05934.
Doubt: the first trials to reach a rung are never stopped there, so the order of trials matters.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from ray.tune.schedulers import AsyncHyperBandScheduler, FIFOScheduler, TrialScheduler

from orchestrator.running.gang import Assignment
from orchestrator.sweep.spec import EarlyStopping, Objective, Sweep
from trainables.config.batch_schedule import planned_growth
from trainables.config.batching import examples_in, steps_for
from trainables.config.training import FixedBatch, GrowAt, GrowWithNoise, Training
from trainables.config.trial import BaselineConfig
from trainables.results import Report, TrialResult

GO_ON: str = TrialScheduler.CONTINUE


class PerBatchSize(FIFOScheduler):
    """One ASHA scheduler for each batch size; a variant is never stopped, nor is a trial that confirms."""

    def __init__(self, sweep: Sweep, early_stopping: EarlyStopping, ended: Iterable[TrialResult] = ()) -> None:
        """`ended`: trials of earlier runs that might have been stopped; their readings count as if they had run now."""
        super().__init__()  # type: ignore[no-untyped-call]
        self._early_stopping = early_stopping
        self._objective = sweep.objective
        self._train_rows = sweep.facts.train_rows
        self._by_batch_size: dict[int, AsyncHyperBandScheduler] = {}
        for result in ended:
            if isinstance(result.config, BaselineConfig):
                self._replay(result, result.config.training)

    def set_search_properties(self, metric: str | None, mode: str | None, **spec: Any) -> bool:
        return True  # the sweep has said both

    def on_trial_add(self, tune_controller: Any, trial: Any) -> None:
        training = _stoppable(trial)
        if training is not None:
            self._scheduler_for(training).on_trial_add(tune_controller, trial)

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        training = _stoppable(trial)
        return GO_ON if training is None else self._decide(training, trial, result)

    def on_trial_complete(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> None:
        """Nothing: every reading was seen as it came."""

    def on_trial_error(self, tune_controller: Any, trial: Any) -> None:
        """Nothing: what the trial has shown stays shown."""

    def on_trial_remove(self, tune_controller: Any, trial: Any) -> None:
        """Nothing: see on_trial_error."""

    def _decide(self, training: Training, trial: Any, result: dict[str, Any]) -> str:
        """What ASHA makes of a reading.

        The last one is not judged: nothing is left to spare, and who is stopped there loses the model and the figures.
        """
        if not math.isfinite(result.get("objective", math.nan)):
            return GO_ON
        if is_spent(training, self._train_rows, result["examples"], result["seconds"]):
            return GO_ON
        scheduler: Any = self._scheduler_for(training)
        decision: str = scheduler.on_trial_result(None, trial, result)
        return decision

    def _scheduler_for(self, training: Training) -> AsyncHyperBandScheduler:
        if training.batch_size not in self._by_batch_size:
            self._by_batch_size[training.batch_size] = asha(
                training, self._early_stopping, self._objective, self._train_rows
            )
        return self._by_batch_size[training.batch_size]

    def _replay(self, result: TrialResult, training: Training) -> None:
        scheduler: Any = self._scheduler_for(training)
        stand_in = _Past(result.id)
        scheduler.on_trial_add(None, stand_in)
        for report in result.history:
            value = report.metrics.get(self._objective.metric, math.nan)
            self._decide(training, stand_in, as_result(report, value))

    def __getstate__(self) -> dict[str, object]:
        return {}


class _Past:
    """What ASHA looks at of a trial that has long ended."""

    def __init__(self, trial: str) -> None:
        self.trial_id = trial


def as_result(report: Report, objective: float) -> dict[str, float]:
    return {"examples": report.examples, "seconds": report.seconds, "objective": objective}


def _stoppable(trial: Any) -> Training | None:
    """The training of a trial of Tune's that may be stopped."""
    assignment = Assignment.model_validate_json(trial.config["assignment"])
    config = assignment.config
    return config.training if isinstance(config, BaselineConfig) and assignment.may_stop_early else None


def is_spent(training: Training, train_rows: int | None, examples: int, seconds: float) -> bool:
    """Whether a reading is the last of its trial: no further step fits the budget, so the result is what comes next.

    Of a budget in seconds a reading comes up to half a step early, and a step or more after the one before (SecondsPace
    in trainables.training.budget_clock): the last is at most half an interval between readings before the end.
    """
    budget = training.budget
    steps = steps_for(budget, training.batch_size, train_rows)
    if steps is None:
        return seconds >= budget.amount * (1 - 0.5 / training.evaluations)
    whole = steps * training.batch_size  # also where the batch grows: by whole multiples of it
    return examples + _next_step_at_most(training, train_rows, examples) > whole


def _next_step_at_most(training: Training, train_rows: int | None, examples: int) -> int:
    """Examples. How far a batch has grown with the noise scale is known to its own trial alone."""
    match training.batch_schedule:
        case FixedBatch():
            growth = 1
        case GrowAt() as schedule:
            growth = planned_growth(schedule, examples_in(training.budget, train_rows), examples)
        case GrowWithNoise(at_most=growth):
            pass
    return training.batch_size * growth


def asha(
    training: Training, early_stopping: EarlyStopping, objective: Objective, train_rows: int | None
) -> AsyncHyperBandScheduler:
    """The rungs: after `grace_fraction` of the budget, and each time `reduction_factor` times later.

    A budget in seconds is measured in seconds, since nobody knows how many examples fit into it. There is no rung at
    the end of the budget, where no reading is judged.
    """
    steps = steps_for(training.budget, training.batch_size, train_rows)
    unit, whole = ("seconds", training.budget.amount) if steps is None else ("examples", steps * training.batch_size)
    first: Any = early_stopping.grace_fraction * whole  # annotated as whole numbers, but any will do
    last: Any = whole * (1 - 1e-6)
    return AsyncHyperBandScheduler(
        time_attr=unit,
        metric="objective",
        mode=objective.mode,
        max_t=last,
        grace_period=first,
        reduction_factor=early_stopping.reduction_factor,
        stop_last_trials=False,
    )
