"""A warm-up as a share of the budget, however its length is given."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from tests.support.training_samples import training
from trainables.config.schedules import Constant, OneCycle, WarmupCosine
from trainables.config.training import Budget
from trainables.config.warmup import warmup_share, with_warmup_share


def budget(unit: str, amount: float) -> Budget:
    return Budget.model_validate({"unit": unit, "amount": amount})


def test_one_length_is_given_and_the_others_are_no_part_of_an_identity() -> None:
    assert WarmupCosine().model_dump() == {"name": "warmup_cosine", "warmup_fraction": 0.05, "final_fraction": 0.0}
    assert WarmupCosine(warmup_steps=3).model_dump() == {
        "name": "warmup_cosine",
        "warmup_steps": 3,
        "final_fraction": 0.0,
    }
    assert OneCycle(warmup_examples=9).warmup_fraction is None
    for wrong in ({"warmup_fraction": 0.1, "warmup_steps": 3}, {"warmup_steps": 3, "warmup_examples": 3}):
        with pytest.raises(ValidationError, match="needs one of warmup_fraction, warmup_steps and warmup_examples"):
            WarmupCosine.model_validate(wrong)


@pytest.mark.parametrize(
    ("schedule", "given", "share"),
    [
        (WarmupCosine(warmup_fraction=0.3), budget("seconds", 9), 0.3),
        (WarmupCosine(warmup_steps=10), budget("steps", 100), 0.1),
        (WarmupCosine(warmup_steps=10), budget("examples", 400), 0.2),
        (WarmupCosine(warmup_examples=100), budget("examples", 400), 0.25),
        (WarmupCosine(warmup_examples=100), budget("steps", 100), 0.125),
        (WarmupCosine(warmup_examples=100), budget("epochs", 2), 0.5),
    ],
)
def test_share_at_a_batch_of_8_and_100_rows(schedule: WarmupCosine, given: Budget, share: float) -> None:
    assert warmup_share(schedule, given, 8, 100) == share


@pytest.mark.parametrize(
    ("schedule", "given", "words"),
    [
        (
            WarmupCosine(warmup_steps=50),
            budget("examples", 400),
            "a warm-up of 50 steps is not over before",
        ),
        (WarmupCosine(warmup_examples=400), budget("examples", 400), "a warm-up of 400 examples is not over"),
        (WarmupCosine(warmup_steps=5), budget("seconds", 9), "is no number of examples"),
    ],
)
def test_a_warm_up_that_does_not_end_is_refused(schedule: WarmupCosine, given: Budget, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        warmup_share(schedule, given, 8, 100)


def test_only_the_length_of_a_schedule_is_made_a_fraction() -> None:
    settings = training(8, 20, schedule=WarmupCosine(warmup_steps=5, final_fraction=0.1))
    assert with_warmup_share(settings, 64) == WarmupCosine(warmup_fraction=0.25, final_fraction=0.1)
    assert with_warmup_share(training(8, 20), 64) == Constant()
