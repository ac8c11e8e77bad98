"""What a task gives as training_losses and training_batch changes the steps, and nothing that is judged."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from tests.support.looped import run
from tests.support.stepped import step_on
from tests.support.training_samples import (
    Mixed,
    Ragged,
    Regression,
    Weighted,
    bits,
    build,
    differing,
    table,
    tables,
    training,
    worker,
)
from trainables.compression.distill import blended
from trainables.config.compression import Distill
from trainables.training.evaluate import evaluate
from trainables.training.loop import train

STEADY = {"dropout": 0.0, "batch_norm": False}


class Lifted(Regression):
    """A training loss that is 3 larger than the loss, and has the same gradient."""

    def training_losses(self, outputs: Tensor, batch: Any) -> Tensor:
        return self.losses(outputs, batch) + 3.0


def test_by_default_steps_minimise_the_loss_that_is_judged(tmp_path):
    class Same(Regression):
        def training_losses(self, outputs, batch):
            return self.losses(outputs, batch)

    plain, _ = run(tmp_path, Regression())
    same, _ = run(tmp_path, Same())
    assert differing(bits(plain), bits(same)) == []


def test_what_is_judged_is_the_loss_and_the_steps_report_the_training_loss(tmp_path):
    plain, expected = run(tmp_path, Regression())
    model, history = run(tmp_path, Lifted())
    assert differing(bits(plain), bits(model)) == [], "the gradient is the same"
    for one, other in zip(expected, history, strict=True):
        assert other.metrics["step_loss_mean"] == pytest.approx(one.metrics["step_loss_mean"] + 3)
        judged = [name for name in one.metrics if name.startswith(("val_", "train_"))]
        assert {name: other.metrics[name] for name in judged} == {name: one.metrics[name] for name in judged}


def test_another_training_loss_trains_another_model_that_is_judged_as_before(tmp_path):
    plain, _ = run(tmp_path, Ragged(**STEADY), learning_rate=0.01)
    model, history = run(tmp_path, Weighted(**STEADY), learning_rate=0.01)
    assert differing(bits(plain), bits(model)) != []
    judged = evaluate(model, Weighted(**STEADY), tables().validation, worker(tmp_path))
    assert history[-1].metrics["val_loss"] == pytest.approx(judged["loss"].value)


@pytest.mark.parametrize("chunks", [[12], [5, 4, 3], [1, 11], [2] * 6])
def test_the_gradient_is_that_of_the_mean_training_loss_however_the_batch_is_divided(tmp_path, chunks):
    task = Weighted(**STEADY)
    rows = table(12, dtype=torch.float64)
    batch = {name: rows.column(name) for name in rows.columns}
    model = build(task, dtype=torch.float64)
    expected = task.training_losses(task.forward(model, batch), batch).mean()
    expected.backward()
    moved, losses, items, _ = step_on(task, chunks, worker(tmp_path))
    assert losses.item() / items == pytest.approx(expected.item(), abs=1e-10)
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(moved[name], parameter.grad, rtol=0, atol=1e-10)


def test_mixed_rows_are_trained_on_and_never_judged(tmp_path):
    taken: list[int] = []

    class Watched(Mixed):
        def forward(self, model, batch):
            taken.append("share" in batch)
            assert model.training == ("share" in batch)
            return super().forward(model, batch)

    run(tmp_path, Watched(), steps=4, evaluations=1)
    assert sum(taken) == 4
    assert len(taken) > 4


def test_a_training_that_mixes_rows_is_resumed_to_the_bit(tmp_path):
    def running(model, folder):
        settings = training(steps=12, evaluations=3, micro_batch_limit=4)
        return train(model, Mixed(), tables(), settings, worker(folder), checkpoint="trials/x/checkpoint.pt")

    whole = build(Mixed())
    readings = list(running(whole, tmp_path / "whole"))
    for start, _ in enumerate(readings):
        model = build(Mixed(), seed=start)
        part = running(model, tmp_path / "parts")
        next(part)
        part.close()
        torch.rand(7)
    assert differing(bits(whole), bits(model)) == []


def test_a_student_learns_from_labels_by_the_training_loss():
    task = Lifted(**STEADY)
    model = build(task)
    rows = table(5)
    batch = {name: rows.column(name) for name in rows.columns}
    own = task.losses(task.forward(model, batch), batch)
    for alpha in (0.0, 0.25, 1.0):
        blend = blended(model, task, Distill(alpha=alpha))(model, batch)  # the student is its own teacher
        torch.testing.assert_close(blend, (1 - alpha) * (own + 3))
