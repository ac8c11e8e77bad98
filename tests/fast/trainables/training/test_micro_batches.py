"""What reaches the model: the rows of a worker's stream, in its order, however they are gathered and divided."""

from __future__ import annotations

from unittest import mock

import torch
from hypothesis import given
from hypothesis import strategies as st

from trainables.data.shards import Shard
from trainables.data.table import Table
from trainables.training import micro_batches as feed
from trainables.training.micro_batches import Reordered, micro_batches_of_steps


@given(
    n_rows=st.integers(1, 60),
    worker=st.integers(0, 2),
    workers=st.integers(1, 3),
    mode=st.sampled_from(["block", "stripe"]),
    first=st.integers(0, 100),
    rows_per_step=st.integers(1, 17),
    steps=st.integers(1, 7),
    micro_batch_size=st.integers(1, 20),
    at_once=st.integers(1, 2000),
)
def test_steps_are_the_rows_of_the_stream_in_order(
    n_rows: int,
    worker: int,
    workers: int,
    mode: str,
    first: int,
    rows_per_step: int,
    steps: int,
    micro_batch_size: int,
    at_once: int,
) -> None:
    """`at_once`: bytes that are gathered together, from less than a row to all steps."""
    n_rows, worker = max(n_rows, workers), worker % workers
    shard = Reordered(Shard(n_rows, worker, workers, mode, seed=3), None)  # type: ignore[arg-type]
    table = Table({"x": torch.arange(n_rows), "twice": 2 * torch.arange(n_rows)})
    with mock.patch.object(feed, "GATHER_BYTES", at_once):
        micro_batches = [
            list(step)
            for step in micro_batches_of_steps(
                table, shard, first, rows_per_step, steps, micro_batch_size, torch.device("cpu")
            )
        ]
    assert len(micro_batches) == steps
    for number, parts in enumerate(micro_batches):
        sizes = [len(part["x"]) for part in parts]
        assert sum(sizes) == rows_per_step
        assert all(size == micro_batch_size for size in sizes[:-1])
        assert 1 <= sizes[-1] <= micro_batch_size
        rows = torch.from_numpy(shard.rows(first + number * rows_per_step, rows_per_step))
        assert torch.equal(torch.cat([part["x"] for part in parts]), rows)
        assert torch.equal(torch.cat([part["twice"] for part in parts]), 2 * rows)
