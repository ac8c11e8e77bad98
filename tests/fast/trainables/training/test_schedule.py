"""The learning rate over a training: known answers for every schedule."""

from __future__ import annotations

import math
import sys
import types
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.support.looped import run
from tests.support.training_samples import Regression, bits, build, differing, tables, training, worker
from trainables.config.schedules import (
    Constant,
    CustomSchedule,
    OneCycle,
    Polynomial,
    Schedule,
    StepDecay,
    WarmupCosine,
    WarmupLinear,
    WarmupStableDecay,
)
from trainables.config.training import Budget
from trainables.training.loop import train
from trainables.training.named_function import NamedFunctionError
from trainables.training.schedule import learning_rate_factor


@given(st.floats(0, 0.99), st.floats(0, 1))
def test_warm_up_is_linear_and_the_rest_half_a_cosine(warmup, final):
    schedule = WarmupCosine(warmup_fraction=warmup, final_fraction=final)

    def at(progress):
        return learning_rate_factor(schedule, progress)

    assert at(warmup) == pytest.approx(1.0)
    assert at(1.0) == pytest.approx(final, abs=1e-9)
    assert at((1 + warmup) / 2) == pytest.approx((1 + final) / 2), "half-way down, half-way through"
    if warmup > 1e-6:
        assert at(warmup / 2) == pytest.approx(0.5)
    assert learning_rate_factor(Constant(), warmup) == 1.0


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        (WarmupLinear(warmup_fraction=0.2, final_fraction=0.5), {0.1: 0.5, 0.2: 1, 0.6: 0.75, 1: 0.5}),
        (WarmupStableDecay(warmup_fraction=0.1), {0.05: 0.5, 0.1: 1, 0.8: 1, 0.9: 0.5, 1: 0}),
        (WarmupStableDecay(decay="sqrt", final_fraction=0.2), {0.8: 1, 0.85: 0.6, 1: 0.2}),
        (WarmupStableDecay(warmup_fraction=0.5, decay_fraction=1), {0.25: 0.5, 0.5: 1, 0.75: 0.5, 1: 0}),
        (StepDecay(), {0: 1, 0.49: 1, 0.5: 0.1, 0.74: 0.1, 0.75: 0.01, 1: 0.01}),
        (StepDecay(warmup_fraction=0.1, at=(0.9,), factor=0.5), {0.05: 0.5, 0.5: 1, 0.95: 0.5}),
        (Polynomial(), {0: 1, 0.5: 0.25, 1: 0}),
        (Polynomial(warmup_fraction=0.2, power=1, final_fraction=0.1), {0.1: 0.5, 0.2: 1, 0.6: 0.55, 1: 0.1}),
        (OneCycle(), {0: 0.04, 0.15: 0.52, 0.3: 1, 0.65: 0.5, 1: 4e-6}),
        (OneCycle(warmup_fraction=0), {0: 1, 1: 4e-6}),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
def test_known_answers(schedule: Schedule, expected: dict[float, float]) -> None:
    found = {progress: learning_rate_factor(schedule, progress) for progress in expected}
    assert found == pytest.approx(expected, abs=1e-5)


def test_one_cycle_is_that_of_torch() -> None:
    steps, warmup = 200, 0.3
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    torchs = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, 1.0, total_steps=steps, pct_start=warmup, cycle_momentum=False
    )
    for step in range(steps):
        # its warm-up ends at step pct_start x total - 1, its cycle at step total - 1
        up, down = warmup * steps - 1, (1 - warmup) * steps
        progress = warmup * step / up if step <= up else warmup + (1 - warmup) * (step - up) / down
        assert learning_rate_factor(OneCycle(), progress) == pytest.approx(torchs.get_last_lr()[0], abs=1e-9)
        optimizer.step()
        if step < steps - 1:
            torchs.step()


@given(st.floats(-1, 2))
def test_every_schedule_stays_between_nothing_and_its_peak(progress: float) -> None:
    schedules = [WarmupLinear(), WarmupStableDecay(), OneCycle(), StepDecay(), Polynomial(power=0.5), WarmupCosine()]
    assert all(0 <= learning_rate_factor(schedule, progress) <= 1 for schedule in schedules)


@pytest.fixture
def own(monkeypatch: pytest.MonkeyPatch) -> str:
    """A module of a user's, under a name that no other test has."""
    module: Any = types.ModuleType("own_schedules")
    module.triangle = lambda progress, top=0.5: 1 - abs(progress - top) / max(top, 1 - top)
    module.negative = lambda progress: -progress
    module.nan = lambda progress: math.nan
    monkeypatch.setitem(sys.modules, "own_schedules", module)
    return "own_schedules"


def test_a_function_of_a_users_own_is_given_the_progress(own: str) -> None:
    schedule = CustomSchedule(function=f"{own}:triangle", arguments={"top": 0.25})
    assert [learning_rate_factor(schedule, progress) for progress in (0.25, 1.0)] == [1.0, 0.0]


@pytest.mark.parametrize(
    ("function", "words"),
    [
        ("negative", "gives -1 at progress 1: it must be finite, 0 or above"),
        ("nan", "gives nan at progress 1"),
        ("missing", "own_schedules has no function or class 'missing'"),
    ],
)
def test_a_function_that_gives_no_rate_is_told(own: str, function: str, words: str) -> None:
    with pytest.raises(NamedFunctionError, match=words):
        learning_rate_factor(CustomSchedule(function=f"{own}:{function}"), 1.0)


@pytest.mark.parametrize(
    ("schedule", "budget"),
    [
        (WarmupLinear(warmup_steps=5), Budget(unit="steps", amount=20)),
        (WarmupLinear(warmup_examples=40), Budget(unit="steps", amount=20)),
        (WarmupLinear(warmup_steps=5), Budget(unit="examples", amount=160)),
        (WarmupLinear(warmup_examples=40), Budget(unit="epochs", amount=2.5)),  # of 64 rows
        (WarmupLinear(warmup_fraction=0.25), Budget(unit="examples", amount=160)),
    ],
)
def test_a_warm_up_is_the_same_in_steps_examples_and_fractions(
    tmp_path: Any, schedule: Schedule, budget: Budget
) -> None:
    """5 of 20 steps of 8 examples; the rate is that of the middle of a step."""
    _, history = run(tmp_path, budget=budget, evaluations=20, schedule=schedule)
    rates = {report.step: report.metrics["learning_rate"] / 0.05 for report in history}
    assert [rates[step] for step in (1, 3, 5)] == pytest.approx([0.1, 0.5, 0.9])
    assert rates[20] == pytest.approx(0.5 / 15)


@pytest.mark.parametrize(
    "schedule",
    [WarmupStableDecay(warmup_steps=3), OneCycle(), StepDecay(), CustomSchedule(function="own_schedules:triangle")],
    ids=lambda schedule: schedule.name,
)
@pytest.mark.usefixtures("own")
def test_a_training_on_a_schedule_is_resumed_to_the_bit(tmp_path: Any, schedule: Schedule) -> None:
    def running(model: Any, folder: str) -> Any:
        settings = training(steps=12, evaluations=3, schedule=schedule)
        return train(model, Regression(), tables(), settings, worker(tmp_path / folder), checkpoint="trials/x/c.pt")

    whole = build(Regression())
    for start, _ in enumerate(list(running(whole, "whole"))):
        other = build(Regression(), seed=start)
        part = running(other, "parts")
        next(part)
        part.close()
    assert differing(bits(whole), bits(other)) == []
