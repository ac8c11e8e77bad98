"""A budget of seconds is spent at its last reading, however long each step takes: many draws."""

from __future__ import annotations

from pathlib import Path

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.running.early_stopping import is_spent
from tests.fast.orchestrator.running.test_early_stopping import trial
from trainables.config.training import Budget
from trainables.distributed.worker_context import WorkerContext
from trainables.storage import Storage
from trainables.training.budget_clock import SecondsClock


@settings(deadline=None, max_examples=200)
@given(evaluations=st.integers(1, 12), steps=st.lists(st.floats(1e-3, 3.0), min_size=1, max_size=20))
def test_a_budget_of_seconds_is_spent_at_its_last_reading(evaluations: int, steps: list[float]) -> None:
    """However long each step takes; and at no other, where all are short and alike."""
    budget = Budget(unit="seconds", amount=10)
    config = trial(0).config.training.model_copy(update={"budget": budget, "evaluations": evaluations})
    pace = SecondsClock(10, evaluations, WorkerContext(Storage("."), Path(), 0, 1, torch.device("cpu")))
    taken, step, readings = 0.0, 0, list[float]()
    while not pace.is_over(len(readings)):
        while (block := pace.next_block(len(readings), step, taken)).steps:
            taken += sum(steps[i % len(steps)] for i in range(step, step + block.steps))
            step += block.steps
        readings.append(taken)
    spent = [is_spent(config, 1000, 8, seconds) for seconds in readings]
    assert spent[-1]
    if len(set(steps)) == 1 and steps[0] < 0.5 * 10 / evaluations:
        assert not any(spent[:-1])
