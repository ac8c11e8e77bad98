"""The arithmetic of batches: exact, without torch, and the same for every worker."""

import itertools
import math
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainables.config.batching import micro_batch_rows, report_shares, report_steps, split_batch, steps_for
from trainables.config.training import Budget

SIZES = st.integers(1, 5000)


@pytest.mark.parametrize(
    ("unit", "amount", "steps"),
    [
        ("steps", 7, 7),
        ("steps", 7.9, 7),
        ("examples", 1000, 31),
        ("epochs", 1, 31),
        ("epochs", 0.064, 2),  # 64 rows exactly, although 0.064 is not a binary fraction
        ("seconds", 3, None),
    ],
)
def test_a_budget_is_turned_into_whole_steps(unit, amount, steps):
    assert steps_for(Budget(unit=unit, amount=amount), 32, 1000) == steps


@pytest.mark.parametrize(("unit", "amount"), [("steps", 0.5), ("examples", 31), ("epochs", 0.03)])
def test_a_budget_that_never_finishes_a_step_is_refused(unit, amount):
    with pytest.raises(ValueError, match="ends before one step of batch size 32"):
        steps_for(Budget(unit=unit, amount=amount), 32, 1000)


def test_epochs_need_the_number_of_rows():
    with pytest.raises(ValueError, match="number of training rows"):
        steps_for(Budget(unit="epochs", amount=1), 32)


@given(SIZES, st.integers(1, 16), st.none() | SIZES)
def test_a_batch_is_split_into_the_largest_micro_batches_within_the_limit(share, workers, limit):
    micro, accumulation = split_batch(share * workers, workers, limit)
    assert micro * accumulation * workers == share * workers
    assert micro <= (limit or share)
    assert not any(share % size == 0 for size in range(micro + 1, min(share, limit or share) + 1))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [((9, 2), "not a multiple of 2 workers"), ((8, 0), "at least 1"), ((0, 1), "at least 1"), ((8, 1, 0), "limit 0")],
)
def test_an_impossible_split_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        split_batch(*arguments)


@given(st.integers(1, 10**6), st.integers(2, 100))
def test_readings_are_evenly_spread_after_three_early_ones_and_end_with_the_budget(total, evaluations):
    steps = report_steps(total, evaluations)
    even = [math.ceil(Fraction(total * i, evaluations)) for i in range(1, evaluations + 1)]
    assert set(steps) == {*even, *(math.ceil(even[0] / part) for part in (2, 4, 8))}
    assert sorted(set(steps)) == list(steps)
    assert steps[0] >= 1
    assert steps[-1] == total
    gaps = [b - a for a, b in itertools.pairwise(sorted({0, *even}))]
    assert max(gaps) - min(gaps) <= 1


@given(st.integers(2, 20), st.integers(1, 500))
def test_two_batch_sizes_share_a_step_up_to_eight_times_as_many_as_evaluations(evaluations, larger_steps):
    ratio = 8 * evaluations
    assert report_steps(larger_steps * ratio, evaluations)[0] <= report_steps(larger_steps, evaluations)[-1]


def test_of_the_demo_the_smallest_batch_is_read_before_the_largest_ends():
    demo = Budget(unit="examples", amount=6000)
    assert report_steps(steps_for(demo, 16), 10)[:5] == (5, 10, 19, 38, 75)
    assert steps_for(demo, 256) == 23


def test_one_evaluation_is_the_end_alone():
    assert report_steps(400, 1) == (400,)
    assert report_shares(1) == (1,)


@given(SIZES, SIZES)
def test_micro_batches_make_up_the_rows(rows, size):
    parts = micro_batch_rows(rows, size)
    assert sum(parts) == rows
    assert all(part == size for part in parts[:-1])
    assert 1 <= parts[-1] <= size
