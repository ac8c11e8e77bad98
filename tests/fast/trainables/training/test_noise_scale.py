"""The noise scale on least squares, where its value is known in closed form.

x ~ N(0, diag(h)), y = x.w* + sigma e, delta = w - w*: G = H delta and
tr(Sigma) = |H delta|^2 + tr(H) (delta' H delta + sigma^2).
"""

from __future__ import annotations

import numpy as np
import pytest

from trainables.training.noise_scale import NoiseScaleEstimate, NoiseScaleMeter, student_95


def measure(
    h: np.ndarray, delta: np.ndarray, sigma2: float, *, batch_size: int, parts: int, steps: int, seed: int = 0
) -> NoiseScaleEstimate:
    """Feeds the meter with real gradients of the squared error, in parts."""
    generator = np.random.default_rng(seed)
    meter = NoiseScaleMeter()
    for _ in range(steps):
        x = generator.normal(size=(batch_size, len(h))) * np.sqrt(h)
        error = x @ delta - np.sqrt(sigma2) * generator.normal(size=batch_size)
        gradients = (x * error[:, None]).reshape(parts, batch_size // parts, -1).mean(axis=1)
        meter.add(
            float((gradients**2).sum(axis=1).mean()),
            float((gradients.mean(axis=0) ** 2).sum()),
            parts=parts,
            batch_size=batch_size,
        )
    return meter.estimate()


def assert_is(estimate: NoiseScaleEstimate, truth: float) -> None:
    """Within three standard errors, and with an interval that is no excuse."""
    assert estimate.examples is not None
    assert estimate.low is not None
    assert estimate.high is not None
    standard_error = (estimate.high - estimate.low) / (2 * 1.96)
    assert abs(estimate.examples - truth) < 3 * standard_error
    assert standard_error < 0.1 * truth


@pytest.mark.parametrize("dimension", [4, 20, 60])
@pytest.mark.parametrize("batch_size", [16, 64, 256])
def test_noiseless_least_squares_is_d_plus_1(dimension: int, batch_size: int) -> None:
    delta = np.random.default_rng(dimension).normal(size=dimension)
    steps = 400 * 256 // batch_size
    estimate = measure(np.ones(dimension), delta, 0.0, batch_size=batch_size, parts=8, steps=steps)
    assert_is(estimate, dimension + 1)


def test_noisy_isotropic() -> None:
    delta = np.ones(20) / np.sqrt(20)
    assert_is(measure(np.ones(20), delta, 4.0, batch_size=64, parts=8, steps=4000), 101.0)


def test_noisy_power_law() -> None:
    h = 1 / np.arange(1, 101)
    truth = 20.631
    exact = ((h**2).sum() + h.sum() * (h.sum() + 1)) / (h**2).sum()
    assert exact == pytest.approx(truth, abs=5e-4)
    assert_is(measure(h, np.ones(100), 1.0, batch_size=64, parts=8, steps=4000), truth)


def test_parts_without_replacement_from_few_rows_are_corrected() -> None:
    """The parts of a whole epoch taken in one step: the exact |G_N|^2 and sample covariance come back."""
    generator = np.random.default_rng(3)
    rows = generator.normal(size=(64, 5)) + 0.5
    signal = float((rows.mean(axis=0) ** 2).sum())
    trace = float(rows.var(axis=0, ddof=1).sum())
    corrected, plain = NoiseScaleMeter(dataset_rows=64), NoiseScaleMeter()
    for _ in range(4000):
        batch = rows[generator.permutation(64)[:32]].reshape(8, 4, 5).mean(axis=1)
        part, whole = float((batch**2).sum(axis=1).mean()), float((batch.mean(axis=0) ** 2).sum())
        for meter in (corrected, plain):
            meter.add(part, whole, parts=8, batch_size=32)
    assert corrected.estimate().gradient_norm_squared == pytest.approx(signal, rel=0.02)
    assert plain.estimate().gradient_norm_squared == pytest.approx(signal - trace / 64, rel=0.02)
    assert corrected.estimate().covariance_trace == pytest.approx(trace, rel=0.02)


def test_pure_noise_is_unresolved_and_not_clamped() -> None:
    estimate = measure(np.ones(10), np.zeros(10), 1.0, batch_size=32, parts=8, steps=300)
    assert estimate.examples is None
    assert estimate.unresolved is not None
    assert "gradient" in estimate.unresolved


def test_interval_covers_the_truth() -> None:
    delta = np.ones(10)
    covered = 0
    for seed in range(60):
        estimate = measure(np.ones(10), delta, 0.0, batch_size=32, parts=8, steps=200, seed=seed)
        assert estimate.low is not None
        assert estimate.high is not None
        covered += estimate.low <= 11 <= estimate.high
    assert covered >= 52  # 57 expected; three standard errors of a binomial are 5


def test_what_is_too_noisy_to_be_resolved_has_a_least_value() -> None:
    """After few steps with batches far below the noise scale, which is 401: sigma^2 = 19 in 20 dimensions."""
    delta = np.ones(20) / np.sqrt(20)
    estimates = [measure(np.ones(20), delta, 19.0, batch_size=8, parts=4, steps=40, seed=seed) for seed in range(100)]
    unresolved = [estimate for estimate in estimates if estimate.examples is None]
    least = [estimate.at_least for estimate in unresolved if estimate.at_least is not None]
    assert len(least) >= 0.9 * len(unresolved) >= 50
    assert min(least) > 2 * 8, "enough to know that a batch of twice the size is none too large"
    assert sum(low > 401 for low in least) <= 8  # 2.5 % expected; three standard errors of a binomial are 5 more
    assert all(estimate.high is None for estimate in unresolved)


@pytest.mark.parametrize(
    ("freedom", "quantile", "within"),
    [(2, 4.302653, 1e-6), (2.5, 3.574655, 1e-6), (3, 3.182446, 1e-6), (4, 2.776445, 1e-6), (7, 2.364624, 1e-6),
     (30, 2.042272, 1e-6), (1e9, 1.959964, 1e-6)],
)  # fmt: skip
def test_quantile_of_student(freedom: float, quantile: float, within: float) -> None:
    """Of the tables; between whole degrees of freedom, scipy's."""
    assert student_95(freedom) == pytest.approx(quantile, rel=within)


def test_few_steps_cover_the_truth_as_often_as_many() -> None:
    """4 to 8 steps, 500 runs: 475 expected to cover or to be unresolved, where the normal's quantile gives 445."""
    missed = 0
    for steps in (4, 5, 6, 7, 8):
        for seed in range(100):
            estimate = measure(np.ones(10), np.ones(10), 0.0, batch_size=32, parts=8, steps=steps, seed=seed)
            if estimate.examples is not None and estimate.low is not None and estimate.high is not None:
                missed += not estimate.low <= 11 <= estimate.high
    assert missed <= 40  # 25 and three standard errors of a binomial


def test_few_steps_of_pure_noise_are_seldom_taken_for_a_signal() -> None:
    """An upper end may be missing in one run of forty; the normal's quantile is wrong more often than that."""
    resolved = sum(
        measure(np.ones(10), np.zeros(10), 1.0, batch_size=32, parts=8, steps=steps, seed=seed).examples is not None
        for steps in (4, 5, 6, 7, 8)
        for seed in range(100)
    )
    assert resolved <= 500 / 40


def test_old_steps_fade() -> None:
    fading, steady = NoiseScaleMeter(half_life=20), NoiseScaleMeter()
    generator = np.random.default_rng(0)
    for step in range(400):
        signal, noise = (1.0, 10.0) if step < 200 else (1.0, 100.0)
        # n_b and n_B whose estimators are exactly `signal` and `noise` (B = 64, K = 8), with a little jitter
        n_b = signal + noise / 8 + generator.normal(0, 0.01)
        n_B = signal + noise / 64  # noqa: N806
        for meter in (fading, steady):
            meter.add(n_b, n_B, parts=8, batch_size=64)
    assert fading.estimate().examples == pytest.approx(100, rel=0.02)
    assert steady.estimate().examples == pytest.approx(55, rel=0.02)


def test_needs_two_parts_and_some_steps() -> None:
    meter = NoiseScaleMeter()
    with pytest.raises(ValueError, match="parts smaller than the batch"):
        meter.add(1.0, 1.0, parts=1, batch_size=8)
    assert meter.estimate().unresolved == "no step was measured"
