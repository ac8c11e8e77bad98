"""The probe's decisions, on simulated devices: how close, how many probes, how many failures."""

from __future__ import annotations

from collections.abc import Callable
from statistics import median

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainables.probe.memory_search import MAX_JUMP, LargestThatFits, Probe, find_limit, line_through, next_move

GIB = 2**30


def device(fixed: float, per_row: float, capacity: int, granule: int = 512) -> Callable[[int], int | None]:
    """A device whose allocator hands out whole granules."""

    def measure(rows: int) -> int | None:
        peak = int(np.ceil((fixed + per_row * rows) / granule) * granule)
        return peak if peak <= capacity else None

    return measure


def test_thousand_simulated_models() -> None:
    generator = np.random.default_rng(0)
    shares, probes, failures = [], [], []
    for _ in range(1000):
        capacity = int(10 ** generator.uniform(9, 11))
        fixed = capacity * generator.uniform(0.02, 0.8)
        limit = int(10 ** generator.uniform(0.5, 5))
        measure = device(fixed, (capacity - fixed) / (limit + 0.5), capacity)
        found, peaks = find_limit(measure, capacity, 10**9)
        assert found.micro_batch_size == 0 or peaks[found.micro_batch_size] is not None, (
            "found without having been seen"
        )
        shares.append(found.micro_batch_size / limit)
        probes.append(len(peaks))
        failures.append(sum(peak is None for peak in peaks.values()))
    assert median(shares) >= 0.95
    assert float(np.quantile(shares, 0.05)) >= 0.95
    assert max(shares) <= 1
    assert median(probes) <= 5
    assert float(np.mean(failures)) < 0.25


@given(
    limit=st.integers(0, 10**5),
    fixed=st.floats(0, 0.9),
    max_rows=st.integers(1, 10**5),
    granule=st.sampled_from([1, 512, 2**20, 2**25]),
)
def test_ends_within_bounds_and_never_jumps_far(limit: int, fixed: float, max_rows: int, granule: int) -> None:
    capacity = 16 * GIB
    measure = device(fixed * capacity, (1 - fixed) * capacity / (limit + 0.5), capacity, granule)
    found, peaks = find_limit(measure, capacity, max_rows)
    assert 0 <= found.micro_batch_size <= min(max_rows, limit)
    assert limit == 0 or found.micro_batch_size > 0 or measure(1) is None
    largest = 1
    for size, peak in peaks.items():
        assert size <= MAX_JUMP * largest
        if peak is not None:
            largest = max(largest, size)


def test_memory_that_does_not_depend_on_the_batch_goes_to_the_most_rows() -> None:
    found, _ = find_limit(lambda rows: GIB, 2 * GIB, 5000)
    assert found.micro_batch_size == 5000


def test_a_single_row_that_does_not_fit() -> None:
    found, peaks = find_limit(lambda rows: None, GIB, 100)
    assert found == LargestThatFits(0, "a single row does not fit")
    assert list(peaks) == [1]


def test_a_line_that_promised_too_much_is_not_believed_twice() -> None:
    """Memory that grows faster than the line (attention over the batch, say) still ends at what was seen to fit."""

    def measure(rows: int) -> int | None:
        peak = GIB + 1000 * rows**2
        return peak if peak <= 8 * GIB else None

    found, peaks = find_limit(measure, 8 * GIB, 10**6)
    true = int((7 * GIB / 1000) ** 0.5)
    assert 0.9 * true <= found.micro_batch_size <= true
    assert len(peaks) <= 12


def test_decisions_say_why() -> None:
    assert next_move({}, GIB, 64) == Probe(1, "the smallest step there is")
    match next_move({1: 10_000_000, 4: 13_000_000}, GIB, 10**6):
        case Probe(micro_batch_size=size, why=why):
            assert size == 4 * MAX_JUMP
            assert "at most" in why
        case other:
            pytest.fail(f"expected a probe, not {other}")
    with pytest.raises(ValueError, match="positive"):
        next_move({}, 0, 64)
    with pytest.raises(ValueError, match="two points"):
        line_through({1: 5})
