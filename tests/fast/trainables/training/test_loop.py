"""Training: known answers, budgets, readings, divergence."""

import itertools
import math
import time
from dataclasses import replace

import pytest
import torch

from tests.support.looped import run
from tests.support.training_samples import Regression, bits, build, differing, table, tables, training, worker
from trainables.config.batching import report_steps
from trainables.config.schedules import WarmupCosine
from trainables.config.training import Budget
from trainables.training.errors import Diverged
from trainables.training.evaluate import evaluate
from trainables.training.loop import train


def test_readings_say_where_the_training_is(tmp_path):
    _, history = run(tmp_path, steps=10, evaluations=4, schedule=WarmupCosine(warmup_fraction=0.5))
    assert [report.step for report in history] == [1, 2, 3, 5, 8, 10]
    assert [report.examples for report in history] == [8, 16, 24, 40, 64, 80]
    assert all(a.seconds < b.seconds for a, b in itertools.pairwise(history))
    rates = [report.metrics["learning_rate"] for report in history]
    assert rates[2:4] == pytest.approx([0.05 * 2.5 / 5, 0.05 * 4.5 / 5]), "the rate in the middle of the last step"
    assert set(history[0].metrics) == {
        "train_loss",
        "step_loss_mean",
        "val_loss",
        "val_absolute_error",
        "train_absolute_error",
        "learning_rate",
        "gradient_norm_mean",
        "gradient_norm_max",
        "examples_per_second",
    }


def test_the_training_loss_is_the_mean_over_all_items_since_the_last_reading(tmp_path):
    seen = []

    class Watched(Regression):
        def losses(self, outputs, batch):
            losses = super().losses(outputs, batch)
            if outputs.requires_grad:
                seen.append(losses.detach())
            return losses

    _, history = run(tmp_path, Watched(), steps=6, evaluations=2, micro_batch_limit=4)
    steps = [b - a for a, b in itertools.pairwise((0, *(r.step for r in history)))]
    parts = torch.cat(seen).split([8 * count for count in steps])
    assert steps == [1, 1, 1, 3]
    assert [r.metrics["step_loss_mean"] for r in history] == pytest.approx([part.mean().item() for part in parts])


def test_training_data_is_judged_as_validation_data_is(tmp_path):
    """In eval mode, by the model at the reading: not by what its steps have seen on the way there."""
    model, history = run(tmp_path, Regression(), steps=40)
    judged = evaluate(model, Regression(), tables().train, worker(tmp_path), limit=tables().validation.n_rows)
    assert history[-1].metrics["train_loss"] == pytest.approx(judged["loss"].value)
    assert history[-1].metrics["train_loss"] != pytest.approx(history[-1].metrics["step_loss_mean"], rel=0.01)


@pytest.mark.parametrize(
    ("budget", "steps"), [(("examples", 100), 12), (("epochs", 1.5), 12), (("steps", 3), 3), (("epochs", 0.125), 1)]
)
def test_a_budget_ends_the_training(tmp_path, budget, steps):
    unit, amount = budget
    _, history = run(tmp_path, budget=Budget(unit=unit, amount=amount))
    assert tuple(report.step for report in history) == report_steps(steps, 4)


def test_a_budget_in_seconds_is_spent_and_hardly_exceeded(tmp_path):
    class Slow(Regression):
        def forward(self, model, batch):
            if model.training:
                time.sleep(0.01)
            return super().forward(model, batch)

    _, history = run(tmp_path, Slow(), budget=Budget(unit="seconds", amount=1.0))
    assert len(history) == 4
    assert history[-1].seconds >= 0.95
    assert history[-1].step <= 100, "a step takes a hundredth of a second at least"
    gaps = [b.step - a.step for a, b in itertools.pairwise(history)]
    assert min(gaps) >= 1


def test_a_budget_in_seconds_shorter_than_its_steps_still_takes_one_between_readings(tmp_path):
    _, history = run(tmp_path, budget=Budget(unit="seconds", amount=1e-6))
    assert [report.step for report in history] == [1, 2, 3, 4]


def test_the_same_seed_gives_the_same_bits_and_another_one_others(tmp_path):
    one, _ = run(tmp_path)
    again, _ = run(tmp_path)
    other, _ = run(tmp_path, seed=1)
    assert differing(bits(one), bits(again)) == []
    assert differing(bits(one), bits(other))


def test_micro_batches_change_nothing_but_the_last_bits(tmp_path):
    task = Regression(dropout=0.0, batch_norm=False)
    whole, _ = run(tmp_path, task, dtype=torch.float64)
    divided, _ = run(tmp_path, task, dtype=torch.float64, micro_batch_limit=2)
    for name, value in bits(whole).items():
        torch.testing.assert_close(bits(divided)[name], value, rtol=0, atol=1e-10)


def test_bfloat16_computes_coarsely_and_keeps_its_weights_in_float32(tmp_path):
    exact, _ = run(tmp_path, Regression(dropout=0.0), steps=100)
    coarse, history = run(tmp_path, Regression(dropout=0.0), steps=100, precision="bfloat16")
    assert {value.dtype for value in coarse.parameters()} == {torch.float32}
    assert differing(bits(exact), bits(coarse))
    assert history[-1].metrics["train_loss"] < history[0].metrics["train_loss"]


def test_float16_without_a_cuda_device_is_refused(tmp_path):
    with pytest.raises(ValueError, match="float16 needs loss scaling and thus a CUDA device; use bfloat16 or float32"):
        run(tmp_path, precision="float16")


def test_a_group_of_another_size_is_refused(tmp_path):
    with pytest.raises(ValueError, match="num_workers 2, but the group has 1"):
        run(tmp_path, num_workers=2)


def test_workers_that_meet_seldom_must_all_use_the_same_parameters(tmp_path):
    class Routed(Regression):
        skips_parameters = True

    task, group = Routed(), replace(worker(tmp_path), world_size=2)
    with pytest.raises(ValueError, match="sync_every_steps cannot be used with a task that skips_parameters"):
        next(train(build(task), task, tables(), training(num_workers=2, sync_every_steps=4), group))


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_loss_that_is_not_finite_ends_the_training_with_its_step(tmp_path, value):
    class Breaks(Regression):
        steps = 0

        def losses(self, outputs, batch):
            if not outputs.requires_grad:
                return super().losses(outputs, batch)
            self.steps += 1
            return super().losses(outputs, batch) * (value if self.steps == 7 else 1.0)

    task = Breaks()
    model = build(task)
    reports = []
    with pytest.raises(Diverged) as caught:
        reports.extend(train(model, task, tables(), training(steps=20), worker(tmp_path)))
    assert caught.value.step == 7
    assert not math.isfinite(caught.value.loss)
    assert [report.step for report in caught.value.history] == [1, 2, 3, 5]


def test_weights_that_are_not_finite_after_the_last_step_are_noticed(tmp_path):
    class Breaks(Regression):
        def losses(self, outputs, batch):
            losses = super().losses(outputs, batch)
            losses.register_hook(lambda gradient: gradient * math.nan) if losses.requires_grad else None
            return losses

    with pytest.raises(Diverged, match="loss was nan at step 1"):
        run(tmp_path, Breaks(), steps=1)


def test_another_objective_can_be_given(tmp_path):
    task = Regression(dropout=0.0)
    model = build(task)
    objective = lambda m, batch: task.forward(m, batch).squeeze(1).square()  # noqa: E731
    list(train(model, task, tables(), training(steps=200), worker(tmp_path), objective=objective))
    outputs = model.eval()(table(20).column("features"))
    assert outputs.abs().max() < 0.1


def test_training_leaves_the_model_in_training_mode_and_evaluates_in_the_other(tmp_path):
    modes = set()

    class Watched(Regression):
        def forward(self, model, batch):
            modes.add((model.training, torch.is_grad_enabled()))
            return super().forward(model, batch)

    model, _ = run(tmp_path, Watched())
    assert modes == {(True, True), (False, False)}
    assert model.training
