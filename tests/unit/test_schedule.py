"""Early stopping: within one batch size, on examples, and never a variant."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from ray.tune.schedulers import TrialScheduler
from scripted import pending, result_of, scripted, sweep_of

from orchestrator.plan import Stage, Trial
from orchestrator.planning.expand import variant_trial
from orchestrator.running.gang import Assignment
from orchestrator.running.schedule import PerBatchSize, asha
from orchestrator.spec import EarlyStopping, Objective
from trainables.config import Budget
from trainables.results import Report
from trainables.worker import WorkerGroupConfig

STOPPING = EarlyStopping(grace_fraction=0.25, reduction_factor=2)
READINGS = 4
WORKERS = WorkerGroupConfig(num_workers=1, cpus_per_worker=1, gpus_per_worker=0, storage="", cache="", scratch="")


class Play:
    """Plays trials to the scheduler, one after the other."""

    def __init__(self, *ended: Any) -> None:
        self.scheduler = PerBatchSize(sweep_of().sweep, STOPPING, ended)

    def run(self, trial: Trial, quality: float) -> int:
        """The number of readings that the trial may give, each a fourth of its budget and of its quality."""
        job = Assignment(
            trial=trial.id,
            config=trial.config,
            group=WORKERS,
            objective="val_accuracy",
            may_stop_early=trial.may_stop_early,
        )
        tune_trial = SimpleNamespace(trial_id=trial.id, config={"assignment": job.model_dump_json()})
        self.scheduler.on_trial_add(None, tune_trial)
        for number in range(1, READINGS + 1):
            result = {"examples": 1000 * number, "seconds": 1.0 * number, "objective": quality * number / READINGS}
            if self.scheduler.on_trial_result(None, tune_trial, result) == TrialScheduler.STOP:
                return number
        self.scheduler.on_trial_result(None, tune_trial, {"done": True})
        self.scheduler.on_trial_complete(None, tune_trial, {"done": True})
        return READINGS


def trial(seed: int, batch_size: int = 8) -> Trial:
    return scripted(seed, batch_size=batch_size, readings=READINGS)


def test_the_worse_of_one_batch_size_are_stopped_at_the_first_rung() -> None:
    play = Play()
    assert play.run(trial(0), 1.0) == READINGS
    assert play.run(trial(1), 0.5) == 1
    assert play.run(trial(2), 1.1) == READINGS


def test_batch_sizes_are_not_compared() -> None:
    play = Play()
    assert play.run(trial(0, batch_size=8), 1.0) == READINGS
    assert play.run(trial(1, batch_size=32), 0.1) == READINGS
    assert play.run(trial(2, batch_size=32), 0.05) == 1


def test_a_variant_is_never_stopped() -> None:
    parent = trial(0)
    plan = sweep_of(parent, pending=[pending([parent])])
    play = Play()
    play.run(parent, 1.0)
    assert play.run(variant_trial(parent, (), plan), 0.0) == READINGS


def test_a_confirmation_is_never_stopped_and_decides_nothing_for_others() -> None:
    """Its seeds must stay pairs; and it is better tuned than what it would be held against."""
    play = Play()
    assert play.run(replace(trial(0), stage=Stage.CONFIRMATION), 1.0) == READINGS
    assert play.run(replace(trial(1), stage=Stage.CONFIRMATION), 0.1) == READINGS
    assert play.run(trial(2), 0.5) == READINGS  # the first of its rung that counts
    assert play.run(trial(3), 0.4) == 1
    assert play.run(replace(trial(4), stage=Stage.EDGE), 0.4) == 1


def test_what_earlier_runs_have_shown_counts() -> None:
    history = tuple(
        Report(step=n, examples=1000 * n, seconds=n, metrics={"val_accuracy": n / READINGS})
        for n in range(1, READINGS + 1)
    )
    past = result_of(trial(0), 1.0).model_copy(update={"history": history})
    assert Play(past).run(trial(1), 0.5) == 1
    assert Play(past).run(trial(1, batch_size=32), 0.5) == READINGS


@pytest.mark.parametrize("quality", [float("nan"), float("inf"), -float("inf")])
def test_a_figure_that_is_none_decides_nothing_for_others(quality: float) -> None:
    play = Play()
    assert play.run(trial(0), quality) == READINGS
    assert play.run(trial(1), 0.5) == READINGS


@pytest.mark.parametrize(
    ("unit", "amount", "time_attr", "first"),
    [
        ("examples", 4004, "examples", 1000),  # whole steps of 8
        ("steps", 500, "examples", 1000),
        ("epochs", 4, "examples", 1000),
        ("seconds", 60, "seconds", 15),
    ],
)
def test_rungs_are_fractions_of_the_budget_in_its_own_unit(
    unit: Any, amount: float, time_attr: str, first: float
) -> None:
    """And none at its end: who has come so far is not stopped early."""
    training = trial(0).config.training.model_copy(update={"budget": Budget(unit=unit, amount=amount)})
    scheduler = asha(training, STOPPING, Objective(metric="val_accuracy", mode="max"), train_rows=1000)
    (bracket,) = scheduler._brackets
    assert scheduler._time_attr == time_attr
    assert [milestone for milestone, _ in bracket._rungs] == [2 * first, first]
