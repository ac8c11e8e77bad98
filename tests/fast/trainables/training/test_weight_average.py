"""The average of the weights: what it is, that it is what is judged and kept, and that it is resumed to the bit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from tests.support.looped import run
from tests.support.training_samples import Regression, bits, build, differing, tables, training, worker
from trainables.training.evaluate import evaluate
from trainables.training.loop import train
from trainables.training.weight_average import WeightAverage


def test_known_answer() -> None:
    """d is 2/11, 3/12 and then the 0.25 that was asked for: 0 -> 9/11 x 1 -> ... with weights 1, 2, 3."""
    model = nn.Linear(1, 1, bias=False, dtype=torch.float64)
    nn.init.zeros_(model.weight)
    average = WeightAverage(model, 0.25)
    expected = 0.0
    for weight, decay in ((1.0, 2 / 11), (2.0, 0.25), (3.0, 0.25)):
        nn.init.constant_(model.weight, weight)
        average.after_step()
        expected = decay * expected + (1 - decay) * weight
    with average.in_the_model():
        assert model.weight.item() == pytest.approx(expected)
        assert expected == pytest.approx(0.25 * (0.25 * 9 / 11 + 1.5) + 2.25)
    assert model.weight.item() == 3.0


def test_the_weights_are_the_same_to_the_bit_after_they_were_exchanged() -> None:
    model = build(Regression())
    average = WeightAverage(model, 0.9)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += torch.randn_like(parameter)
    average.after_step()
    before = bits(model)
    with average.in_the_model():
        assert differing(before, bits(model)) != []
    assert differing(before, bits(model)) == []


def test_the_average_is_judged_and_kept_and_the_steps_are_those_without_it(tmp_path: Path) -> None:
    plain, expected = run(tmp_path, steps=20)
    model, history = run(tmp_path, steps=20, ema=0.8)
    assert [r.metrics["step_loss_mean"] for r in history] == [r.metrics["step_loss_mean"] for r in expected]
    assert history[-1].metrics["val_loss"] != expected[-1].metrics["val_loss"]
    assert {"0.weight", "1.running_mean"} <= set(differing(bits(plain), bits(model)))
    judged = evaluate(model, Regression(), tables().validation, worker(tmp_path))
    assert history[-1].metrics["val_loss"] == pytest.approx(judged["loss"].value, rel=1e-6)


@pytest.mark.parametrize("changes", [{}, {"micro_batch_limit": 4, "layer_decay": 0.5}])
def test_an_average_is_resumed_to_the_bit(tmp_path: Path, changes: dict[str, Any]) -> None:
    def running(model: nn.Module, folder: str) -> Any:
        settings = training(steps=16, evaluations=3, ema=0.95, **changes)
        return train(model, Regression(), tables(), settings, worker(tmp_path / folder), checkpoint="trials/x/c.pt")

    whole = build(Regression())
    expected = list(running(whole, "whole"))
    parts = []
    for start, _ in enumerate(expected):
        other = build(Regression(), seed=start)
        part = running(other, "parts")
        parts.append(next(part))
        part.close()
    assert [p.metrics["val_loss"] for p in parts] == [e.metrics["val_loss"] for e in expected]
    over = build(Regression(), seed=99)
    assert list(running(over, "parts")) == [], "nothing is left to do but to take the average over"
    assert differing(bits(whole), bits(over)) == []
