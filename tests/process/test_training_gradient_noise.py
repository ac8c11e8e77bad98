"""The noise scale measured inside a training run: known answers through real steps, and no trace in the training."""

import numpy as np
import pytest

from tests.support.least_squares import ALWAYS, ROUTES, STILL, LeastSquares, least_squares_data, measured
from tests.support.training_samples import Regression, build, tables, training, worker
from trainables.config.batching import report_steps
from trainables.config.training import NoiseScale
from trainables.training.gradient_noise import GradientNoise
from trainables.training.loop import train


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


@pytest.mark.parametrize("changes", ROUTES.values(), ids=ROUTES)
def test_it_survives_a_kill_after_any_reading(tmp_path, changes):
    settings = training(steps=24, noise_scale=NoiseScale(every_steps=2, divided_every_steps=3), **changes)
    whole = GradientNoise(settings, 64, worker(tmp_path))
    list(train(build(Regression()), Regression(), tables(), settings, worker(tmp_path), noise=whole))
    for _ in range(len(report_steps(24, settings.evaluations)) + 1):
        noise = GradientNoise(settings, 64, worker(tmp_path))
        running = train(
            build(Regression()), Regression(), tables(), settings, worker(tmp_path), checkpoint="c.pt", noise=noise
        )
        next(running, None)
        running.close()
    assert noise.meter.state() == whole.meter.state()
    assert noise.meter.estimate().steps == (8 if changes.get("micro_batch_limit") is None else 12)


def test_readings_have_it_where_it_is_resolved_and_batch_norm_is_named(tmp_path):
    task, data = LeastSquares(np.ones(5)), least_squares_data(np.ones(5), 0.0, 500)
    settings = training(32, 200, micro_batch_limit=4, noise_scale=ALWAYS, learning_rate=STILL)
    noise = GradientNoise(settings, 500, worker(tmp_path))
    reports = list(train(task.build_model(), task, data, settings, worker(tmp_path), noise=noise))
    assert reports[-1].metrics["noise_scale"] == noise.estimate().value
    assert noise.estimate().low < 6 < noise.estimate().high
    assert "batch norm" not in noise.estimate().note
    noise.has_batch_norm = True
    assert "batch norm" in noise.estimate().note
