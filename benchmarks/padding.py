"""Padding of lists of unequal length in batches: of rows as they are shuffled, and of rows of about one length.

    python benchmarks/padding.py [--rows 20000] [--batch-size 32] [--micro-batch-size 32] [--workers 1 2]

Lengths are log-normal, as of sentences: exp(N(4, sigma)) + 1, for two sigmas. Both are read as a training reads them,
with `micro_batches_of_steps`, for one epoch of every worker:
    shuffled      the rows of the worker's shard, each micro-batch padded to its longest
    alike         what Paretune trains on: `Buckets` over the same shard
The padding is the share of the places of all batches that hold no element. Goals: under 10 % where the rows as they are
shuffled have over 40 %; every row and every element once. Nothing is timed.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator

import numpy as np
import torch
from record import recorded
from rich.console import Console
from rich.table import Table as Grid

from trainables.data.buckets import Buckets
from trainables.data.ragged import RaggedValues
from trainables.data.shards import Shard
from trainables.data.table import Table
from trainables.training.micro_batches import RowOrder, micro_batches_of_steps

SIGMAS = (0.6, 1.0)
GOAL, SHUFFLED = 0.10, 0.40  # shares of padding


def log_normal(rows: int, sigma: float) -> Table:
    """Lists of the numbers from 0 on, all different, so that it can be seen whether each comes once."""
    lengths = np.exp(np.random.default_rng(0).normal(4, sigma, rows)).astype(np.int64) + 1
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    return Table({}, ragged={"tokens": RaggedValues(np.arange(offsets[-1]), offsets, -1)})


def epoch(table: Table, order: RowOrder, n_rows: int, batch: int, micro: int) -> Iterator[dict[str, torch.Tensor]]:
    """The micro-batches of all whole steps of a worker's first epoch, and of the rows left over."""
    steps, left = divmod(n_rows, batch)
    for step in micro_batches_of_steps(table, order, 0, batch, steps, micro, torch.device("cpu")):
        yield from map(dict, step)
    if left:
        for step in micro_batches_of_steps(table, order, steps * batch, left, 1, micro, torch.device("cpu")):
            yield from map(dict, step)


def padding(table: Table, workers: int, batch: int, micro: int, alike: bool) -> float:
    """The share of padding over all workers. Raises AssertionError unless every element came once."""
    assert table.lengths is not None
    places, seen = 0, []
    for worker in range(workers):
        shard = Shard(table.n_rows, worker, workers)
        order: RowOrder = shard
        if alike:
            order = Buckets(shard, table.lengths, shard.n_rows, batch // workers, 0)
        for one in epoch(table, order, shard.n_rows, batch // workers, micro):
            places += one["tokens"].numel()
            seen.append(one["tokens"][one["tokens_mask"]])
    elements = torch.cat(seen).sort().values  # all numbers are different
    assert torch.equal(elements, torch.arange(int(sum(table.lengths)))), "not every element came once"
    return 1 - len(elements) / places


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--micro-batch-size", type=int, default=32)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    options = parser.parse_args()
    grid = Grid("lengths", "workers", "shuffled", "alike", "goal", title=f"padding, batches of {options.batch_size}")
    met = True
    for sigma in SIGMAS:
        table = log_normal(options.rows, sigma)
        for workers in options.workers:
            shares = [
                padding(table, workers, options.batch_size, min(options.micro_batch_size, options.batch_size), alike)
                for alike in (False, True)
            ]
            counts = shares[0] > SHUFFLED
            fine = not counts or shares[1] < GOAL
            met = met and fine
            said = ("met" if fine else "missed") if counts else f"only above {SHUFFLED:.0%}"
            grid.add_row(f"exp(N(4, {sigma}))", str(workers), f"{shares[0]:.1%}", f"{shares[1]:.1%}", said)
    Console().print(grid)
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(recorded(main))
