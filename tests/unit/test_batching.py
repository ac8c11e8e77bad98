"""The arithmetic of batches: exact, without torch, and the same for every worker."""

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainables.batching import micro_batch_rows, report_steps, split_batch, steps_for
from trainables.config import Budget

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


@given(st.integers(1, 10**6), st.integers(1, 100))
def test_readings_are_evenly_spread_and_end_with_the_budget(total, evaluations):
    steps = report_steps(total, evaluations)
    gaps = [b - a for a, b in zip((0, *steps), steps, strict=False)]
    assert steps[-1] == total
    assert len(steps) == min(total, evaluations)
    assert min(gaps) >= 1
    assert max(gaps) - min(gaps) <= 1


@given(SIZES, SIZES)
def test_micro_batches_make_up_the_rows(rows, size):
    parts = micro_batch_rows(rows, size)
    assert sum(parts) == rows
    assert all(part == size for part in parts[:-1])
    assert 1 <= parts[-1] <= size


def test_a_plan_can_use_it_without_torch():
    code = "import sys, trainables.batching; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
