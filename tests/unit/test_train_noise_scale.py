"""The noise scale measured inside a training run: known answers through real steps, and no trace in the training."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from tests.training_samples import Ragged, Regression, bits, build, differing, place, table, tables, training
from trainables.config.batching import report_steps
from trainables.config.training import Adam, NoiseScale, Sgd
from trainables.data.table import Table
from trainables.tasks.base import Task
from trainables.tasks.task_data import TaskData
from trainables.training.gradient_noise import HALF_LIFE, GradientNoise, squared_norm
from trainables.training.loop import train
from trainables.training.noise_scale import NoiseScaleMeter
from trainables.training.optimizer import build_optimizer
from trainables.training.step import OptimizerStep

STILL = 1e-30  # a learning rate that moves no weight, so that the answer stays what it is
ALWAYS = NoiseScale(every_steps=1, divided_every_steps=1)


class LeastSquares(Task):
    """Half the squared error, from weights w = delta: the targets are noise alone."""

    def __init__(self, delta):
        self.delta = torch.as_tensor(delta)

    def build_model(self, width=1.0):
        model = nn.Linear(len(self.delta), 1, bias=False, dtype=torch.float64)
        model.weight.data = self.delta[None].clone()
        return model

    def losses(self, outputs, batch):
        return (outputs.squeeze(1) - batch["target"]).square() / 2


def least_squares_data(h, sigma2, rows, seed=0):
    """x ~ N(0, diag(h)), y = noise of variance sigma2."""
    generator = np.random.default_rng(seed)
    x = generator.normal(size=(rows, len(h))) * np.sqrt(h)
    y = np.sqrt(sigma2) * generator.normal(size=rows)
    columns = Table({"features": torch.from_numpy(x), "target": torch.from_numpy(y)})
    few = Table({"features": torch.from_numpy(x[:2]), "target": torch.from_numpy(y[:2])})
    return TaskData(columns, few, lambda: few)


def measured(folder, task, data, *, batch_size, steps, parts, fading=False, **changes):
    """Train without moving; return what is known then. `parts` 1: the batch is one micro-batch."""
    settings = training(
        batch_size, steps, micro_batch_limit=batch_size // parts, noise_scale=ALWAYS, evaluations=1,
        **{"learning_rate": STILL} | changes,
    )  # fmt: skip
    noise = GradientNoise(settings, data.train.n_rows, place(folder))
    if not fading:
        noise.meter = NoiseScaleMeter(dataset_rows=data.train.n_rows)
    list(train(task.build_model(), task, data, settings, place(folder), noise=noise))
    return noise


def exact(task, data):
    """(|G_N|^2, tr Sigma_N) of all rows, with the sample covariance."""
    x, y = data.train.column("features").numpy(), data.train.column("target").numpy()
    gradients = x * (x @ task.delta.numpy() - y)[:, None]
    return float((gradients.mean(axis=0) ** 2).sum()), float(gradients.var(axis=0, ddof=1).sum())


def assert_within(noise, truth, widest=0.15):
    """Within three standard errors, which are no excuse themselves."""
    found = noise.meter.estimate()
    assert found.examples is not None, found.unresolved
    standard_error = (found.high - found.low) / (2 * 1.96)
    assert abs(found.examples - truth) < 3 * standard_error
    assert standard_error < widest * truth


@pytest.mark.parametrize("dimension", [4, 20, 60])
@pytest.mark.parametrize("batch_size", [16, 64, 256])
@pytest.mark.parametrize("parts", [1, 8])
def test_noiseless_least_squares_is_d_plus_1(tmp_path, dimension, batch_size, parts):
    task = LeastSquares(np.random.default_rng(dimension).normal(size=dimension))
    data = least_squares_data(np.ones(dimension), 0.0, 40_000)
    steps = {16: 2500 if parts == 1 else 600, 64: 500, 256: 200}[batch_size]
    noise = measured(tmp_path, task, data, batch_size=batch_size, steps=steps, parts=parts)
    assert_within(noise, dimension + 1)


@pytest.mark.parametrize("parts", [1, 8])
def test_noisy_isotropic_least_squares_is_101(tmp_path, parts):
    task = LeastSquares(np.ones(20) / np.sqrt(20))
    data = least_squares_data(np.ones(20), 4.0, 100_000)
    noise = measured(tmp_path, task, data, batch_size=128, steps=1500, parts=parts)
    assert_within(noise, 101.0)


@pytest.mark.parametrize("parts", [1, 8])
def test_noisy_least_squares_with_a_power_law_is_20_631(tmp_path, parts):
    h = 1 / np.arange(1, 101)
    task, data = LeastSquares(np.ones(100)), least_squares_data(h, 1.0, 60_000)
    noise = measured(tmp_path, task, data, batch_size=64, steps=1500, parts=parts)
    assert_within(noise, 20.631)


@pytest.mark.parametrize("parts", [1, 4])
def test_few_rows_drawn_without_replacement_are_corrected_to_their_own_gradient(tmp_path, parts):
    """Batches of 32 out of 128 rows, many times over: the figures of exactly these rows."""
    task, data = LeastSquares(np.ones(5) / 4), least_squares_data(np.ones(5), 1.0, 128)
    signal, trace = exact(task, data)
    assert trace / 128 > 0.1 * signal, "without the correction the answer would be visibly another"
    noise = measured(tmp_path, task, data, batch_size=32, steps=2500, parts=parts)
    found = noise.meter.estimate()
    assert found.gradient_norm_squared == pytest.approx(signal, rel=0.05)
    assert found.covariance_trace == pytest.approx(trace, rel=0.05)
    assert_within(noise, trace / signal, widest=0.05)


def test_it_is_measured_before_clipping(tmp_path):
    task, data = LeastSquares(np.ones(5)), least_squares_data(np.ones(5), 1.0, 500)
    states = [
        measured(tmp_path, task, data, batch_size=32, steps=30, parts=4, gradient_clip_norm=clip).meter.state()
        for clip in (None, 1e-3)
    ]
    assert states[0] == states[1]


ROUTES = {
    "divided": {},
    "accumulated": {"micro_batch_limit": 4},
    "unequal": {"batch_size": 9, "micro_batch_limit": 3, "optimizer": Adam()},
    "clipped bfloat16": {"gradient_clip_norm": 0.1, "precision": "bfloat16"},
}


@pytest.mark.parametrize("changes", ROUTES.values(), ids=ROUTES)
def test_measuring_changes_no_bit_of_the_training(tmp_path, changes):
    """With dropout and batch norm: neither their random numbers nor their statistics may notice."""
    ends = []
    for wanted in (None, ALWAYS):
        settings = training(steps=24, noise_scale=wanted, **changes)
        noise = GradientNoise(settings, 64, place(tmp_path))
        model = build(Regression())
        history = list(train(model, Regression(), tables(), settings, place(tmp_path), noise=noise))
        ends.append((bits(model), history))
        assert (noise.meter.estimate().steps == 24) == (wanted is not None)
    (plain, plain_history), (watched, watched_history) = ends
    assert differing(plain, watched) == []
    for one, other in zip(plain_history, watched_history, strict=True):
        same = [name for name in one.metrics if name != "examples_per_second"]
        assert [one.metrics[name] for name in same] == [other.metrics[name] for name in same]


@pytest.mark.parametrize("changes", ROUTES.values(), ids=ROUTES)
def test_it_leaves_nothing_that_later_steps_would_pay_for(tmp_path, changes):
    """Of a tensor that ever had a hook, torch goes on asking for it; the model's own hooks stay."""
    settings = training(steps=4, noise_scale=ALWAYS, **changes)
    model = build(Regression())
    first, *others = model.parameters()
    seen = []
    first.register_hook(lambda gradient: seen.append(len(gradient)))
    noise = GradientNoise(settings, 64, place(tmp_path))
    list(train(model, Regression(), tables(), settings, place(tmp_path), noise=noise))
    assert [parameter._backward_hooks for parameter in others] == [None] * len(others)
    before = len(seen)
    first.square().sum().backward()
    assert len(seen) == before + 1 > 1


@pytest.mark.parametrize("changes", ROUTES.values(), ids=ROUTES)
def test_it_survives_a_kill_after_any_reading(tmp_path, changes):
    settings = training(steps=24, noise_scale=NoiseScale(every_steps=2, divided_every_steps=3), **changes)
    whole = GradientNoise(settings, 64, place(tmp_path))
    list(train(build(Regression()), Regression(), tables(), settings, place(tmp_path), noise=whole))
    for _ in range(len(report_steps(24, settings.evaluations)) + 1):
        noise = GradientNoise(settings, 64, place(tmp_path))
        running = train(
            build(Regression()), Regression(), tables(), settings, place(tmp_path), checkpoint="c.pt", noise=noise
        )
        next(running, None)
        running.close()
    assert noise.meter.state() == whole.meter.state()
    assert noise.meter.estimate().steps == (8 if changes.get("micro_batch_limit") is None else 12)


@pytest.mark.parametrize("kind", [Regression, Ragged])
def test_unequal_parts_count_by_their_rows(tmp_path, kind):
    """The norms are those of the mean loss over each part's items, and K = B mean(1/b)."""
    task, chunks = kind(dropout=0.0, batch_norm=False), [3, 5, 8]
    rows = table(16, dtype=torch.float64)
    batch = {name: rows.column(name) for name in rows.columns}
    parts = zip(*(torch.split(column, chunks) for column in batch.values()), strict=True)
    micro_batches = [dict(zip(batch, part, strict=True)) for part in parts]
    model = build(task, dtype=torch.float64)

    def gradient_of(part):
        loss = task.losses(task.forward(model, part), part).mean()
        return sum(squared_norm(g) for g in torch.autograd.grad(loss, model.parameters())).item()

    n_b, n_whole = np.mean([gradient_of(part) for part in micro_batches]), gradient_of(batch)
    settings = training(16, micro_batch_limit=8, noise_scale=ALWAYS, optimizer=Sgd(momentum=0.0))
    noise = GradientNoise(settings, 64, place(tmp_path))
    update = OptimizerStep(
        model,
        build_optimizer(settings.optimizer, model.parameters(), STILL),
        lambda m, b: task.losses(task.forward(m, b), b),
        settings,
        place(tmp_path),
    )
    update(micro_batches, STILL, noise=noise)
    noise.look()
    expected = NoiseScaleMeter(half_life=HALF_LIFE, dataset_rows=64)
    expected.add(n_b, n_whole, parts=16 * np.mean([1 / b for b in chunks]), batch_size=16)
    assert noise.meter.state() == pytest.approx(expected.state(), rel=1e-9)


def test_a_run_that_says_nothing_says_why(tmp_path):
    def note(**changes):
        settings = training(**{"steps": 8, "noise_scale": ALWAYS} | changes)
        noise = GradientNoise(settings, 64, place(tmp_path))
        reports = list(train(build(Regression()), Regression(), tables(), settings, place(tmp_path), noise=noise))
        estimate = noise.estimate()
        assert math.isnan(estimate.value)
        assert (estimate.low, estimate.high) == (None, None)
        assert all("noise_scale" not in report.metrics for report in reports)
        return estimate.note

    assert note(noise_scale=None) == "unresolved: noise_scale is switched off"
    assert note(batch_size=2) == "unresolved: a batch of 2 rows in one piece is not divided"
    assert note(steps=2) == "unresolved: 2 steps are too few for an interval"
    assert note(noise_scale=NoiseScale()) == "unresolved: no step was measured"


def test_readings_have_it_where_it_is_resolved_and_batch_norm_is_named(tmp_path):
    task, data = LeastSquares(np.ones(5)), least_squares_data(np.ones(5), 0.0, 500)
    settings = training(32, 200, micro_batch_limit=4, noise_scale=ALWAYS, learning_rate=STILL)
    noise = GradientNoise(settings, 500, place(tmp_path))
    reports = list(train(task.build_model(), task, data, settings, place(tmp_path), noise=noise))
    assert reports[-1].metrics["noise_scale"] == noise.estimate().value
    assert noise.estimate().low < 6 < noise.estimate().high
    assert "batch norm" not in noise.estimate().note
    noise.has_batch_norm = True
    assert "batch norm" in noise.estimate().note


def test_large_tensors_have_their_norm_in_float64():
    huge = torch.full((3, 1 << 21), 1e-3)
    assert squared_norm(huge).item() == pytest.approx(3 * 2**21 * float(np.float32(1e-3)) ** 2, rel=1e-9)
    assert squared_norm(torch.tensor([3 + 4j])).item() == 25.0
