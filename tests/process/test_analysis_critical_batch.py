"""The fit of steps to target against batch size, on curves whose answer is known."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.analysis.critical_batch import fit_critical_batch
from orchestrator.analysis.plan_file import StoredPlan, StoredTrial
from orchestrator.analysis.table import make_table
from orchestrator.analysis.time_to_target import steps_to_target
from orchestrator.sweep.spec import Objective
from tests.support.sample_sweep import TASK
from trainables.config.training import Budget, Training
from trainables.config.trial import BaselineConfig, trial_id
from trainables.results import Report, Status, TrialResult

# Zhang et al. 2024 (arXiv 2410.21676): 85M-parameter model, steps to target at B = 64, 128, ..., 16384.
PUBLISHED = {64 * 2**i: s for i, s in enumerate([46000, 23000, 13282, 7000, 3840, 2500, 1800, 1600, 1600])}
# Zhang et al. 2019 (arXiv 1907.04164): noisy quadratic with h_i = 1/i, d = 100, at B = 1, 2, ..., 16384.
QUADRATIC = [424, 217, 113, 62, 38, 26, 21, 18, 16, 16, 15, 15, 15, 15, 15]


CURVATURES = 1 / np.arange(1, 101)  # h of the noisy quadratic
FIRST_LOSS = 0.5 * CURVATURES.sum()
RATES = np.geomspace(0.05, 1.999, 40)  # fine enough for the exact counts


def runs_of_noisy_quadratic(batch_size: int, steps: int) -> list[TrialResult]:
    """One run per rate, its expected loss read after every step.

    E theta^2 <- (1 - rate h)^2 E theta^2 + rate^2 h/B
    """
    h, rates = CURVATURES, RATES[:, None]
    second_moment, losses = np.ones((len(RATES), 100)), []
    for _ in range(steps):
        second_moment = (1 - rates * h) ** 2 * second_moment + rates**2 * h / batch_size
        losses.append(0.5 * (h * second_moment).sum(axis=1))
    return [run(batch_size, float(rate), of_rate) for rate, of_rate in zip(RATES, np.transpose(losses), strict=True)]


def run(batch_size: int, rate: float, losses: np.ndarray) -> TrialResult:
    budget = Budget(unit="steps", amount=len(losses))
    training = Training(batch_size=batch_size, micro_batch_size=batch_size, learning_rate=rate, budget=budget)
    config = BaselineConfig(task=TASK, training=training)
    history = tuple(
        Report(step=step, examples=step * batch_size, seconds=step, metrics={"val_loss": loss})
        for step, loss in enumerate(losses.tolist(), start=1)
    )
    return TrialResult(id=trial_id(config), config=config, status=Status.COMPLETED, history=history)


def test_noisy_quadratic_to_its_exact_step_counts() -> None:
    """From the readings of all runs to the rate with the fewest steps; a crossing lies within the step that made it."""
    results = [result for i, steps in enumerate(QUADRATIC) for result in runs_of_noisy_quadratic(2**i, 2 * steps)]
    plan = StoredPlan(
        name="quadratic",
        task=TASK.name,
        objective=Objective(metric="val_loss", mode="min", target=0.1 * FIRST_LOSS),
        trials=tuple(StoredTrial(id=result.id, config=result.config) for result in results),
    )
    rows = steps_to_target(make_table(plan, {result.id: result for result in results}))
    assert [row.batch_size for row in rows] == [2**i for i in range(15)]
    assert [math.ceil(row.steps.mean) for row in rows] == QUADRATIC


@given(st.permutations(list(PUBLISHED)))
@settings(max_examples=3, deadline=None)
def test_order_of_rows_does_not_matter(order: list[int]) -> None:
    one = fit_critical_batch(list(PUBLISHED), list(PUBLISHED.values()), resamples=20)
    other = fit_critical_batch(order, [PUBLISHED[b] for b in order], resamples=20)
    assert one == other


def test_interval_covers_the_truth_nine_times_in_ten() -> None:
    generator = np.random.default_rng(1)
    sizes = np.array([4.0, 8, 16, 32, 64, 128, 256, 512])
    covered = 0
    for _ in range(30):
        steps = 50 * (1 + 48 / sizes) * np.exp(generator.normal(0, 0.05, len(sizes)))
        fit = fit_critical_batch(list(sizes), list(steps), resamples=100)
        assert fit.batch_size_low is not None
        assert fit.batch_size_high is not None
        covered += fit.batch_size_low <= 48 <= fit.batch_size_high
    assert covered >= 22  # 27 expected; three standard errors of a binomial are 5


@pytest.mark.parametrize("sizes", [(8, 48, 288), (8, 16, 48, 128, 288)])
def test_interval_covers_the_truth_when_seeds_of_a_size_share_its_error(sizes: tuple[float, ...]) -> None:
    """As a grid of rates that is coarser at one size than at another makes it: more seeds do not take it away."""
    generator, seeds, runs = np.random.default_rng(1), 3, 40
    points = np.repeat(np.array(sizes), seeds)
    covered = determined = 0
    for _ in range(runs):
        shared = np.repeat(generator.normal(0, 0.05, len(sizes)), seeds)
        steps = 50 * (1 + 48 / points) * np.exp(shared + generator.normal(0, 0.02, len(points)))
        fit = fit_critical_batch(list(points), list(steps), resamples=100)
        if fit.batch_size_low is not None and fit.batch_size_high is not None:
            determined += 1
            covered += fit.batch_size_low <= 48 <= fit.batch_size_high
    assert determined > 0.9 * runs
    assert covered >= 0.9 * determined - 6  # three standard errors of a binomial
