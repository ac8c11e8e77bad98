"""The noise scale measured inside a training run: known answers through real steps, and no trace in the training."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from tests.support.training_samples import Ragged, Regression, bits, build, differing, table, tables, training, worker
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
    noise = GradientNoise(settings, data.train.n_rows, worker(folder))
    if not fading:
        noise.meter = NoiseScaleMeter(dataset_rows=data.train.n_rows)
    list(train(task.build_model(), task, data, settings, worker(folder), noise=noise))
    return noise


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
        noise = GradientNoise(settings, 64, worker(tmp_path))
        model = build(Regression())
        history = list(train(model, Regression(), tables(), settings, worker(tmp_path), noise=noise))
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
    noise = GradientNoise(settings, 64, worker(tmp_path))
    list(train(model, Regression(), tables(), settings, worker(tmp_path), noise=noise))
    assert [parameter._backward_hooks for parameter in others] == [None] * len(others)
    before = len(seen)
    first.square().sum().backward()
    assert len(seen) == before + 1 > 1


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
    noise = GradientNoise(settings, 64, worker(tmp_path))
    update = OptimizerStep(
        model,
        build_optimizer(settings.optimizer, model.parameters(), STILL),
        lambda m, b: task.losses(task.forward(m, b), b),
        settings,
        worker(tmp_path),
    )
    update(micro_batches, STILL, noise=noise)
    noise.look()
    expected = NoiseScaleMeter(half_life=HALF_LIFE, dataset_rows=64)
    expected.add(n_b, n_whole, parts=16 * np.mean([1 / b for b in chunks]), batch_size=16)
    assert noise.meter.state() == pytest.approx(expected.state(), rel=1e-9)


def test_a_run_that_says_nothing_says_why(tmp_path):
    def note(**changes):
        settings = training(**{"steps": 8, "noise_scale": ALWAYS} | changes)
        noise = GradientNoise(settings, 64, worker(tmp_path))
        reports = list(train(build(Regression()), Regression(), tables(), settings, worker(tmp_path), noise=noise))
        estimate = noise.estimate()
        assert math.isnan(estimate.value)
        assert (estimate.low, estimate.high) == (None, None)
        assert all("noise_scale" not in report.metrics for report in reports)
        return estimate.note

    assert note(noise_scale=None) == "unresolved: noise_scale is switched off"
    assert note(batch_size=2) == "unresolved: a batch of 2 rows in one piece is not divided"
    assert note(steps=2) == "unresolved: 2 steps are too few for an interval"
    assert note(noise_scale=NoiseScale()) == "unresolved: no step was measured"


def test_large_tensors_have_their_norm_in_float64():
    huge = torch.full((3, 1 << 21), 1e-3)
    assert squared_norm(huge).item() == pytest.approx(3 * 2**21 * float(np.float32(1e-3)) ** 2, rel=1e-9)
    assert squared_norm(torch.tensor([3 + 4j])).item() == 25.0
