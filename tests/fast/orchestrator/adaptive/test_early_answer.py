"""`batch_size: auto` trains nothing that tells nothing: no trial on after its answer, no size that is out of reach."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.adaptive.auto_search import larger_sizes
from orchestrator.adaptive.early_answer import has_answered
from orchestrator.planning.expand import expand
from orchestrator.sweep.plan import Stage
from orchestrator.sweep.spec import Sweep
from tests.support.simulated import TARGET, Law, play, sweep_of


@pytest.fixture
def sweep(tmp_path: Path) -> Sweep:
    return sweep_of(tmp_path).model_copy(update={"evaluations": 50})


def test_nothing_else_has_ever_answered(sweep: Sweep) -> None:
    """Not a confirmation, not at another batch size, not before the target, not in a sweep with a grid."""
    plan, law = expand(sweep), Law(noise=0.0)
    trials, results = play(plan, law)
    histories = {name: result.history for name, result in results.items()}
    every = list(trials.values())
    answered = {trial.id for trial in every if has_answered(sweep, trial, every, histories.__getitem__)}
    assert answered
    assert {trials[name].stage for name in answered} <= {Stage.FIT, Stage.EDGE}
    sizes = {t.training.batch_size for t in trials.values() if t.stage is Stage.FIT}
    for size in sizes:
        alone = {n: t for n, t in trials.items() if t.stage is Stage.FIT and t.training.batch_size == size}
        reached = {n for n in alone if results[n].history[-1].metrics["val_loss"] <= TARGET}
        there = {n for n in answered if n in alone}
        assert len(reached - there) == min(1, len(reached))
    for name in answered:
        short = {**histories, name: [r for r in histories[name] if r.metrics["val_loss"] > TARGET]}
        assert not has_answered(sweep, trials[name], every, short.__getitem__)
    grid = sweep.model_copy(update={"parameters": sweep.parameters.model_copy(update={"batch_size": (64,)})})
    assert not any(has_answered(grid, trial, every, histories.__getitem__) for trial in every)


@pytest.mark.parametrize("min_steps", [100, 200, 400])
def test_no_size_is_tuned_that_cannot_reach_the_target(sweep: Sweep, min_steps: float) -> None:
    """E(B) = S_min (B + 200) examples, of 100,000: within reach are sizes up to 800, 300 and 50."""
    law = Law(min_steps=min_steps, noise=0.0)
    trials, _ = play(expand(sweep), law)
    sizes = {t.training.batch_size for t in trials.values() if t.stage is Stage.FIT}
    middle = 3125**0.5 * 8**0.5  # of the range: it is tried first, before anything is known
    assert len(sizes) >= 2
    for size in sizes:
        assert size <= 1.5 * max(middle, 100_000 / min_steps - 200)


def test_sizes_that_are_wanted_are_taken_as_far_as_they_are_in_reach() -> None:
    ladder = [8, 12, 16, 24, 32, 48, 64, 96, 128]
    assert larger_sizes([8, 32, 128], [32, 8], ladder) == [128]
    assert larger_sizes([8, 32, 128], [32, 8], ladder[:-2]) == [64]
    assert larger_sizes([8, 32, 64, 128], [32, 8], ladder[:-2]) == [64]
    assert larger_sizes([8, 32, 128], [32, 8], ladder[:5]) == [16]
    assert larger_sizes([8, 12], [12, 8], ladder) == []
