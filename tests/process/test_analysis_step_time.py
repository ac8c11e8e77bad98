"""The step-time line and its knee, on times whose constants are known."""

from __future__ import annotations

import numpy as np
import pytest

from orchestrator.analysis.step_time import StepTime, fit_step_time

SIZES = [8, 16, 32, 64, 128, 256, 512, 8, 32, 128, 512]
WORKERS = [1] * 7 + [2] * 4


@pytest.mark.parametrize("sizes", [[8, 32, 128, 512], SIZES[:7], SIZES], ids=len)
def test_intervals_cover_the_truth(sizes: list[int]) -> None:
    """Of 200 intervals of 95 %, 190 are expected; four standard errors below are 178."""
    generator = np.random.default_rng(0)
    truth, covered = StepTime(0.02, 0.0005), np.zeros(3)
    for _ in range(200):
        times = [truth.seconds(s) * np.exp(generator.normal(0, 0.03)) for s in sizes]
        fit = fit_step_time(sizes, [1] * len(sizes), times, resamples=200)
        intervals = (fit.fixed_interval, fit.per_example_interval, fit.knee_interval)
        covered += [low <= value <= high for (low, high), value in zip(intervals, (0.02, 0.0005, 40), strict=True)]
    assert (covered >= 178).all(), covered


def test_intervals_of_what_workers_exchange_cover_it() -> None:
    generator = np.random.default_rng(0)
    truth, covered = StepTime(0.02, 0.0005, {2: 0.01, 4: 0.03}), np.zeros(2)
    sizes, workers = [*SIZES, 32, 128, 512, 1024], [*WORKERS, 4, 4, 4, 4]
    for _ in range(200):
        times = [
            truth.seconds(size, k) * np.exp(generator.normal(0, 0.03)) for size, k in zip(sizes, workers, strict=True)
        ]
        found = fit_step_time(sizes, workers, times, resamples=200).communication_intervals
        covered += [found[k][0] <= truth.communication[k] <= found[k][1] for k in (2, 4)]
    assert (covered >= 178).all(), covered
