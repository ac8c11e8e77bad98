"""Which rows each worker reads: nothing lost, nothing twice, the same again from any position."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainables.data import shards
from trainables.data.shards import Shard, scatter

MODES = st.sampled_from(["block", "stripe"])
SEEDS = st.integers(0, 2**31)


@st.composite
def groups(draw):
    """Sizes that a group of workers can share: (rows, workers)."""
    workers = draw(st.integers(1, 9))
    return draw(st.integers(workers, 400)), workers


@given(groups(), MODES, SEEDS, st.integers(0, 3))
def test_each_epoch_of_all_workers_together_is_every_row_once(group, mode, seed, epoch):
    n_rows, workers = group
    parts = [Shard(n_rows, worker, workers, mode, seed) for worker in range(workers)]
    seen = np.concatenate([part.rows(epoch * part.n_rows, part.n_rows) for part in parts])
    assert sorted(seen) == list(range(n_rows))
    assert max(part.n_rows for part in parts) - min(part.n_rows for part in parts) <= 1


@given(groups(), SEEDS)
def test_a_block_is_contiguous_and_a_stripe_takes_every_nth_row(group, seed):
    n_rows, workers = group
    for worker in range(workers):
        block, stripe = (Shard(n_rows, worker, workers, mode, seed) for mode in ("block", "stripe"))
        rows = np.sort(block.rows(0, block.n_rows))
        assert list(rows) == list(range(rows[0], rows[0] + block.n_rows))
        assert sorted(stripe.rows(0, stripe.n_rows)) == list(range(worker, n_rows, workers))


@given(groups(), MODES, SEEDS, st.integers(1, 64), st.integers(1, 12))
def test_steps_are_full_on_every_worker_and_lose_no_row(group, mode, seed, rows_per_step, steps):
    """In lock-step: after any number of steps a worker has seen each of its rows equally often, give or take one."""
    n_rows, workers = group
    for worker in range(workers):
        shard = Shard(n_rows, worker, workers, mode, seed)
        taken = [shard.rows(step * rows_per_step, rows_per_step) for step in range(steps)]
        assert all(len(rows) == rows_per_step for rows in taken)
        own = shard.rows(0, shard.n_rows)
        _, counts = np.unique(np.concatenate([*taken, own]), return_counts=True)
        assert len(counts) == shard.n_rows
        assert counts.max() - counts.min() <= 1
        assert counts.sum() == steps * rows_per_step + shard.n_rows


@given(groups(), MODES, SEEDS, st.integers(0, 1000), st.integers(0, 300))
def test_any_part_of_the_stream_can_be_asked_for_first(group, mode, seed, start, count):
    """So a checkpoint needs one number: a new process that starts there reads what the old one would have."""
    n_rows, workers = group
    whole = Shard(n_rows, workers - 1, workers, mode, seed).rows(0, start + count)
    part = Shard(n_rows, workers - 1, workers, mode, seed).rows(start, count)
    assert part.dtype == np.int64
    assert list(part) == list(whole[start:])


@given(MODES, SEEDS)
def test_epochs_seeds_and_workers_differ_in_their_order(mode, seed):
    shard = Shard(200, 0, 2, mode, seed)
    first = list(shard.rows(0, 100))
    assert list(shard.rows(100, 100)) != first
    assert list(Shard(200, 0, 2, mode, seed + 1).rows(0, 100)) != first
    other = Shard(200, 1, 2, mode, seed)
    assert list(np.argsort(other.rows(0, 100))) != list(np.argsort(first))


def test_what_is_returned_can_be_changed_without_changing_the_stream():
    shard = Shard(50)
    rows = shard.rows(0, 50)
    expected = rows.copy()
    rows[:] = 0
    assert list(shard.rows(0, 50)) == list(expected)


def test_a_group_larger_than_the_data_is_refused():
    with pytest.raises(ValueError, match="3 rows cannot be shared by 4 workers; use at most 3"):
        Shard(3, 0, 4)
    with pytest.raises(ValueError, match="worker 2 is not one of 2"):
        Shard(10, 2, 2)


# -- the order of very many rows, computed in pieces ------------------------------------------------------------------


@given(st.integers(1, 3000), st.integers(0, 2**63))
def test_scatter_is_a_permutation_of_any_size(size, seed):
    keys = np.random.SeedSequence(seed).generate_state(shards.FEISTEL_ROUNDS, np.uint64)
    assert sorted(scatter(np.arange(size), size, keys)) == list(range(size))


def test_scatter_is_uniform_over_places():
    """Each of 20 numbers lands on each of 20 places 1/20 of the time: chi-squared with 361 degrees of freedom."""
    counts = np.zeros((20, 20))
    trials = 4000
    for seed in range(trials):
        keys = np.random.SeedSequence(seed).generate_state(shards.FEISTEL_ROUNDS, np.uint64)
        counts[np.arange(20), scatter(np.arange(20), 20, keys)] += 1
    chi_squared = ((counts - trials / 20) ** 2 / (trials / 20)).sum()
    assert chi_squared < 361 + 4 * np.sqrt(2 * 361)


def test_neighbours_in_the_order_are_strangers_in_the_data():
    """Successive differences of a random permutation of n average n/3, and are uncorrelated with their place."""
    keys = np.random.SeedSequence(5).generate_state(shards.FEISTEL_ROUNDS, np.uint64)
    order = scatter(np.arange(100_000), 100_000, keys).astype(float)
    assert np.abs(np.diff(order)).mean() == pytest.approx(100_000 / 3, rel=0.01)
    assert abs(np.corrcoef(order, np.arange(100_000))[0, 1]) < 0.015  # 4.7 standard errors


def test_a_large_epoch_in_pieces_is_still_every_row_once(monkeypatch):
    monkeypatch.setattr(shards, "SHUFFLED_AT_ONCE", 100)
    monkeypatch.setattr(shards, "PIECE", 64)
    for mode in ("block", "stripe"):
        parts = [Shard(1001, worker, 3, mode) for worker in range(3)]
        assert sorted(np.concatenate([part.rows(0, part.n_rows) for part in parts])) == list(range(1001))
        whole = parts[0].rows(0, 1000)
        assert list(Shard(1001, 0, 3, mode).rows(500, 200)) == list(whole[500:700])


def test_a_hundred_million_rows_need_little_memory_before_the_first_batch():
    tracemalloc.start()
    rows = Shard(100_000_000, 1, 2, "block").rows(123_456_789, 32)
    peak_bytes = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak_bytes < 20e6  # the order of one epoch of this worker's rows is 400 MB
    assert ((rows >= 50_000_000) & (rows < 100_000_000)).all()
