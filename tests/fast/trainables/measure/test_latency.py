"""What repeated timings say, and who is timed when."""

from __future__ import annotations

import gc
import math
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from trainables.estimate import Estimate
from trainables.measure import latency
from trainables.measure.latency import (
    has_tail,
    is_quiet,
    latency_ms,
    median,
    median_ratio,
    time_beside_control,
    time_in_turn,
)


@pytest.mark.parametrize(("n", "rank"), [(6, 1), (9, 2), (12, 3), (20, 6), (30, 10), (100, 40)])
def test_limits_of_the_median_are_the_tabulated_order_statistics(n: int, rank: int) -> None:
    """Ranks for 95 % from tables of the sign test (for instance Conover, Practical Nonparametric Statistics, A3)."""
    estimate = median([float(i) for i in range(1, n + 1)])
    assert (estimate.low, estimate.high) == (rank, n + 1 - rank)
    coverage = 1 - 2 * sum(math.comb(n, k) for k in range(rank)) / 2**n
    assert coverage >= 0.95


def test_interval_covers_the_median_of_a_skewed_distribution() -> None:
    random = np.random.default_rng(0)
    samples = random.exponential(size=(2000, 20))
    estimates = [median(list(sample)) for sample in samples]
    covered = np.mean([e.low <= math.log(2) <= e.high for e in estimates if e.low is not None and e.high is not None])
    assert 0.945 <= covered <= 0.975  # in theory 0.9586


@given(st.lists(st.floats(1e-6, 1e3), min_size=1, max_size=60), st.randoms())
def test_median_is_within_its_interval_and_does_not_depend_on_the_order(values: list[float], random) -> None:
    estimate = median(values)
    shuffled = list(values)
    random.shuffle(shuffled)
    assert median(shuffled) == estimate
    assert estimate.n == len(values)
    if len(values) < 6:
        assert estimate.low is None
        assert estimate.note
    else:
        assert estimate.low <= estimate.value <= estimate.high


def test_ratio_is_free_of_a_drift_that_both_share() -> None:
    drift = np.linspace(1.0, 5.0, 20)
    reference = [np.full(30, 0.002 * factor) for factor in drift]
    own = [np.full(30, 0.001 * factor) for factor in drift]
    ratio = median_ratio(own, reference)
    assert ratio.value == pytest.approx(0.5)
    assert ratio.low == pytest.approx(0.5)
    assert ratio.high == pytest.approx(0.5)
    assert latency_ms(own, 0.5).high > 1.5 * latency_ms(own, 0.5).low  # while the latency itself has drifted


def test_quantiles_are_in_milliseconds_and_a_short_block_has_no_interval_for_its_tail() -> None:
    long = [np.linspace(0.001, 0.002, 101) for _ in range(20)]
    assert latency_ms(long, 0.5).value == pytest.approx(1.5)
    assert latency_ms(long, 0.95).value == pytest.approx(1.95)
    assert latency_ms(long, 0.95).low is not None
    blocks = [np.array([0.001, 0.002])] * 20
    assert (has_tail(long), has_tail(blocks)) == (True, False)
    short = latency_ms(blocks, 0.95, by_round=False)
    assert short.low is None
    assert "too few" in (short.note or "")


def test_models_are_timed_in_turn_with_garbage_collection_off() -> None:
    order: list[str] = []
    collecting: set[bool] = set()

    def called(name: str) -> object:
        def call() -> None:
            if not order or order[-1] != name:
                order.append(name)
            collecting.add(gc.isenabled())
            time.sleep(0.001)

        return call

    timed = time_in_turn({"a": called("a"), "b": called("b")}, rounds=4)
    # ab to see how long a call is, then four rounds, each going first in every other one: ab, ba, ab, ba
    assert "".join(order) == "abababa"
    assert collecting == {False}
    assert gc.isenabled()
    assert [len(rounds) for rounds in timed.values()] == [4, 4]
    assert all(0.001 <= seconds < 1 for rounds in timed.values() for block in rounds for seconds in block)


def test_slow_models_get_fewer_rounds_but_at_least_one() -> None:
    timed = time_in_turn({"slow": lambda: time.sleep(0.01)}, rounds=1000, seconds_at_most=0.0)
    assert len(timed["slow"]) == 1


def test_fast_models_get_blocks_long_enough_for_a_tail() -> None:
    timed = time_in_turn({"fast": lambda: None}, rounds=2)
    assert len(timed["fast"][0]) == latency.MOST_CALLS


def test_the_control_is_timed_again_until_the_machine_is_quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    """Disturbed at the first attempt, quiet at the second; what counts are the rounds of the second."""
    asked: list[int] = []

    def timed(calls: object, rounds: int, seconds_at_most: float) -> dict[str, list[NDArray[np.float64]]]:
        asked.append(rounds)
        off = 0.63 if len(asked) == 1 else 1.01
        return {name: [np.full(3, off if name == "control" else 1.0)] * rounds for name in ("own", "parent", "control")}

    monkeypatch.setattr(latency, "time_in_turn", timed)
    found, control = time_beside_control({}, ("control", "parent"), 8)
    assert asked == [8, 16]
    assert len(found["own"]) == 16
    assert control.value == pytest.approx(1.01)


def test_one_and_the_same_call_is_the_control_of_itself() -> None:
    def work() -> float:
        return sum(i * i for i in range(2000))

    timed, control = time_beside_control({"own": work, "parent": work, "control": work}, ("control", "parent"), 6)
    assert set(timed) == {"own", "parent", "control"}
    assert control.n == len(timed["parent"])


@pytest.mark.parametrize(
    ("value", "low", "high", "quiet"),
    [
        (1.0, 0.97, 1.04, True),
        (1.02, None, None, True),
        (0.63, 0.6, 0.66, False),
        (1.06, 1.05, 1.07, False),
        (1.0, 0.8, 1.05, False),
    ],
)
def test_a_control_is_quiet_within_5_percent_and_known_to_10(
    value: float, low: float | None, high: float | None, quiet: bool
) -> None:
    assert is_quiet(Estimate(value=value, low=low, high=high)) is quiet


def test_what_is_held_against_each_other_goes_first_in_every_other_round() -> None:
    names = ["own", "parent", "control", "eager"]
    assert [latency._order(names, number) for number in range(2)] == [names, ["control", "parent", "own", "eager"]]
