"""What a training within a chain takes over from its parent's."""

from __future__ import annotations

from pathlib import Path

from tests.support.training_samples import Regression, tables, training, worker
from trainables.compression.fine_tune import Context, derive
from trainables.config.schedules import WarmupLinear


def test_a_warm_up_in_steps_keeps_its_share_of_a_smaller_budget(tmp_path: Path) -> None:
    """5 of 20 steps; of a quarter of the budget 5 would be all."""
    parent = training(8, 20, schedule=WarmupLinear(warmup_steps=5))
    derived = derive(Context(Regression(), tables(), parent, worker(tmp_path)), 0.25, 1.0)
    assert (derived.budget.amount, derived.schedule) == (5.0, WarmupLinear(warmup_fraction=0.25))
