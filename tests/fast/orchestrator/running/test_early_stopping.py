"""Early stopping: within one batch size, on examples, and never a variant."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from orchestrator.planning.variants import variant_trial
from orchestrator.planning.workload import baseline_work
from orchestrator.running.early_stopping import Rungs, SuccessiveHalving, is_spent
from orchestrator.sweep.plan import Stage, Trial
from orchestrator.sweep.spec import EarlyStopping, Objective
from tests.support.scripted import pending, result_of, scripted, sweep_of
from trainables.config.batch_schedule import planned_growth
from trainables.config.batching import examples_in
from trainables.config.training import Budget, FixedBatch, GrowAt, GrowWithNoise, Training
from trainables.results import Report, TrialResult

STOPPING = EarlyStopping(grace_fraction=0.25, reduction_factor=2)
READINGS = 4


class Play:
    """Plays trials to the rule, one after the other."""

    def __init__(self, *ended: tuple[Trial, TrialResult], stopping: EarlyStopping = STOPPING) -> None:
        self.halving = SuccessiveHalving(sweep_of().sweep, stopping, ended)

    def run(self, trial: Trial, quality: float) -> int:
        """The number of readings that the trial may give, each a fourth of its budget and of its quality."""
        return self.read(trial, [(1000 * number, quality * number / READINGS) for number in range(1, READINGS + 1)])

    def read(self, trial: Trial, readings: Sequence[tuple[int, float]]) -> int:
        """The number of readings, (examples, objective), that the trial may give."""
        for number, (examples, objective) in enumerate(readings, 1):
            if self.halving.is_behind(trial, reading(examples, objective)):
                return number
        return len(readings)


def reading(examples: int, objective: float) -> Report:
    return Report(step=examples, examples=examples, seconds=examples / 1000, metrics={"val_accuracy": objective})


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
    assert Play((trial(0), past)).run(trial(1), 0.5) == 1
    assert Play((trial(0), past)).run(trial(1, batch_size=32), 0.5) == READINGS


def test_the_last_reading_stops_nobody() -> None:
    """Two readings, and rungs at 25 and 75 %: the last one is the first behind the second rung."""
    play = Play(stopping=EarlyStopping(grace_fraction=0.25, reduction_factor=3))
    assert play.read(trial(0), [(2000, 0.5), (4000, 1.0)]) == 2
    assert play.read(trial(1), [(2000, 0.6), (4000, 0.7)]) == 2
    assert play.read(trial(2), [(2000, 0.3), (4000, 0.7)]) == 1
    past = result_of(trial(3), 1.0).model_copy(
        update={"history": (Report(step=500, examples=4000, seconds=4, metrics={"val_accuracy": 1.0}),)}
    )
    resumed = Play((trial(3), past), stopping=EarlyStopping(grace_fraction=0.25, reduction_factor=3))
    assert resumed.read(trial(4), [(3500, 0.7), (4000, 0.7)]) == 2, "nor does it count in another run"


SCHEDULES = [FixedBatch(), GrowAt(factor=4), GrowAt(fractions=(0.3, 0.9), factor=64), GrowAt(examples=(2001,))]


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize(("unit", "amount"), [("examples", 4004), ("epochs", 3.7), ("steps", 500)])
def test_a_budget_of_examples_is_spent_when_no_step_fits(schedule: Any, unit: Any, amount: float) -> None:
    budget = Budget(unit=unit, amount=amount)
    if unit == "steps" and schedule != FixedBatch():
        return  # there is no such trial
    config = trial(0).config.training.model_copy(update={"budget": budget, "batch_schedule": schedule})
    whole = baseline_work(config, 1000).examples
    assert is_spent(config, 1000, whole, 1.0)
    assert not any(is_spent(config, 1000, examples, 1.0) for examples in reached(config, whole)[:-1])


def reached(training: Training, whole: int) -> list[int]:
    """The examples after every step of a run, until `whole`."""
    counts = [0]
    while counts[-1] < whole:
        growth = 1
        if training.batch_schedule != FixedBatch():
            growth = planned_growth(training.batch_schedule, examples_in(training.budget, 1000), counts[-1])
        counts.append(counts[-1] + training.batch_size * growth)
    return counts


def test_a_batch_that_may_have_grown_is_judged_while_its_largest_step_fits() -> None:
    budget, schedule = Budget(unit="examples", amount=4000), GrowWithNoise(at_most=16)
    config = trial(0).config.training.model_copy(update={"budget": budget, "batch_schedule": schedule})
    assert not any(is_spent(config, 1000, examples, 1.0) for examples in (3000, 3872))
    assert all(is_spent(config, 1000, examples, 1.0) for examples in (3880, 4000))


@pytest.mark.parametrize("quality", [float("nan"), float("inf"), -float("inf")])
def test_a_figure_that_is_none_decides_nothing_for_others(quality: float) -> None:
    play = Play()
    assert play.run(trial(0), quality) == READINGS
    assert play.run(trial(1), 0.5) == READINGS


@pytest.mark.parametrize(
    ("unit", "amount", "in_seconds", "first"),
    [
        ("examples", 4004, False, 1000),  # whole steps of 8
        ("steps", 500, False, 1000),
        ("epochs", 4, False, 1000),
        ("seconds", 60, True, 15),
    ],
)
def test_rungs_are_fractions_of_the_budget_in_its_own_unit(
    unit: Any, amount: float, in_seconds: bool, first: float
) -> None:
    """And none at its end: who has come so far is not stopped early."""
    training = trial(0).config.training.model_copy(update={"budget": Budget(unit=unit, amount=amount)})
    rungs = Rungs(training, STOPPING, Objective(metric="val_accuracy", mode="max"), train_rows=1000)
    assert rungs.in_seconds == in_seconds
    assert rungs.milestones == [first, 2 * first]
