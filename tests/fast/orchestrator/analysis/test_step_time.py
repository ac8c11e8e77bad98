"""The step-time line and its knee, on times whose constants are known."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.analysis.step_time import StepTime, fit_step_time, power_of_two_effect

SIZES = [8, 16, 32, 64, 128, 256, 512, 8, 32, 128, 512]
WORKERS = [1] * 7 + [2] * 4


@given(a=st.floats(1e-4, 1), b=st.floats(1e-7, 1e-2), c=st.floats(0, 1))
def test_recovers_exact_constants(a: float, b: float, c: float) -> None:
    truth = StepTime(a, b, {2: c})
    times = [truth.seconds(size, k) for size, k in zip(SIZES, WORKERS, strict=True)]
    fit = fit_step_time(SIZES, WORKERS, times, resamples=2).step_time
    assert [fit.seconds(size, k) for size, k in zip(SIZES, WORKERS, strict=True)] == pytest.approx(times, rel=1e-6)


def test_a_knee_that_may_be_anywhere_has_no_end_and_no_absurd_one() -> None:
    fit = fit_step_time([1, 8, 64], [1, 1, 1], [0.010, 0.012, 0.0117])
    assert fit.knee_interval[1] == np.inf
    assert np.isfinite([*fit.fixed_interval, *fit.per_example_interval, fit.knee_interval[0]]).all()


def test_knee_is_half_of_the_throughput() -> None:
    time = StepTime(0.02, 0.0005, {4: 0.02})
    assert time.batch_for_share(0.5) == pytest.approx(40)
    assert time.batch_for_share(0.5, 4) == pytest.approx(320)
    assert 40 / time.seconds(40) == pytest.approx(0.5 / 0.0005)
    with pytest.raises(ValueError, match="between 0 and 1"):
        time.batch_for_share(1.0)


@given(a=st.floats(1e-4, 1), b=st.floats(1e-7, 1e-2), c=st.floats(0, 1))
def test_without_one_worker_the_fewest_are_the_reference(a: float, b: float, c: float) -> None:
    """a and c(2) are one number then, and of four workers only what they take beyond two is known."""
    truth = StepTime(a, b, {2: c, 4: c + 0.5})
    workers = [2 * k for k in WORKERS]
    times = [truth.seconds(size, k) for size, k in zip(SIZES, workers, strict=True)]
    fit = fit_step_time(SIZES, workers, times, resamples=2).step_time
    assert fit.reference_workers == 2
    assert set(fit.communication) == {4}
    assert [fit.seconds(size, k) for size, k in zip(SIZES, workers, strict=True)] == pytest.approx(times, rel=1e-6)
    with pytest.raises(KeyError):
        fit.overhead(1)


def test_the_knee_of_a_reference_of_two_workers_is_theirs() -> None:
    truth = StepTime(0.02, 0.0005, {2: 0.01})
    fit = fit_step_time(SIZES, [2] * len(SIZES), [truth.seconds(size, 2) for size in SIZES], resamples=20)
    assert fit.step_time.fixed == pytest.approx(0.03)
    assert fit.step_time.communication == {}
    assert fit.step_time.batch_for_share(0.5, 2) == pytest.approx(120)
    assert fit.knee_interval == pytest.approx((120, 120))


def test_never_negative() -> None:
    fit = fit_step_time([8, 16, 32], [1, 1, 1], [0.010, 0.022, 0.046]).step_time  # a line would cut below zero
    assert fit.fixed >= 0
    assert fit.per_example > 0


def test_too_little_to_fit() -> None:
    with pytest.raises(ValueError, match="at least 3 measurements"):
        fit_step_time([8, 8, 8], [1, 1, 1], [1, 1, 1])


@pytest.mark.parametrize(("factor", "verdict"), [(0.8, "faster"), (1.0, "no detectable"), (1.25, "slower")])
def test_power_of_two_against_its_neighbours(factor: float, verdict: str) -> None:
    generator = np.random.default_rng(2)
    time = StepTime(0.02, 0.0005)

    def rounds(size: int, speed: float = 1.0) -> list[float]:
        return [time.seconds(size) * speed * float(np.exp(generator.normal(0, 0.02))) for _ in range(20)]

    effect = power_of_two_effect(rounds(64, factor), rounds(60), rounds(68))
    assert verdict in effect.verdict
    assert effect.low <= effect.ratio <= effect.high
