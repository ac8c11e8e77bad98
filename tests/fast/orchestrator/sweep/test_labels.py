"""Settings beside batch size and rate, from the sweep file to the comparison: the effect of each can be read."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.analysis.comparison import compare
from orchestrator.analysis.plan_file import stored_plan
from orchestrator.analysis.table import make_table
from orchestrator.planning.expand import expand
from orchestrator.sweep.plan import Trial
from orchestrator.wording.batch_size import choice_words
from tests.support.simulated import Law, play, sweep_of
from trainables.config.optimizers import AdamW


def test_each_choice_has_its_curve_where_what_is_carried_differs_at_every_batch_size(tmp_path: Path) -> None:
    """Weight decay follows the batch, so that no two batch sizes word it alike; the critical batch is 200 for both."""
    parameters = (
        "{batch_size: {values: [16, 64, 256, 1024]}, seed: {values: [0, 1, 2]}, "
        "learning_rate: {base: 0.05, at_batch_size: 64, rule: sqrt, carry: [weight_decay]}, "
        "optimizer: {values: [{name: adamw, weight_decay: 0.01}, {name: adamw, weight_decay: 0.1}]}}"
    )
    plan = expand(sweep_of(tmp_path, parameters))
    decays = {trial.training.batch_size: set[float]() for trial in plan.trials}
    for trial in plan.trials:
        assert isinstance(trial.training.optimizer, AdamW)
        decays[trial.training.batch_size].add(trial.training.optimizer.weight_decay)
    small, large = min(decays[16]), max(decays[16])

    def slower(trial: Trial) -> float:
        assert isinstance(trial.training.optimizer, AdamW)
        return 1.2 if trial.training.optimizer.weight_decay == max(decays[trial.training.batch_size]) else 1.0

    _, results = play(plan, Law(rate_power=0.5, noise=0.01, slower=slower))
    comparison = compare(make_table(stored_plan(plan), results))
    assert len({comparison.table.place_of(row.configuration).settings for row in comparison.targets}) == 8
    named = [choice_words(comparison.table, choice) for choice in comparison.curves]
    assert named == [f"adamw weight_decay={value:g} at batch size 16" for value in (small, large)]
    for curve, min_steps in zip(comparison.curves.values(), (60, 72), strict=True):
        assert curve.undetermined is None
        assert curve.batch_size == pytest.approx(200, rel=0.2)
        assert curve.min_steps == pytest.approx(min_steps, rel=0.1)
