"""The noise scale measured inside a training run: known answers through real steps, and no trace in the training."""

import math

import numpy as np
import pytest
import torch

from tests.support.least_squares import ALWAYS, ROUTES, STILL, LeastSquares, least_squares_data, measured
from tests.support.training_samples import Ragged, Regression, bits, build, differing, table, tables, training, worker
from trainables.config.optimizers import Sgd
from trainables.config.training import NoiseScale
from trainables.training.gradient_noise import HALF_LIFE, GradientNoise, squared_norm
from trainables.training.loop import train
from trainables.training.noise_scale import NoiseScaleMeter
from trainables.training.optimizer import build_optimizer
from trainables.training.step import OptimizerStep


def test_it_is_measured_before_clipping(tmp_path):
    task, data = LeastSquares(np.ones(5)), least_squares_data(np.ones(5), 1.0, 500)
    states = [
        measured(tmp_path, task, data, batch_size=32, steps=30, parts=4, gradient_clip_norm=clip).meter.state()
        for clip in (None, 1e-3)
    ]
    assert states[0] == states[1]


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
        build_optimizer(settings.optimizer, model, STILL),
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
