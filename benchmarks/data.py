"""Samples per second of Paretune's data path against torch's DataLoader and plain indexing, on the same rows.

    python benchmarks/data.py [--rounds 7] [--seconds 0.4] [--batch-sizes 8 64 512] [--threads 1]

All read whole shuffled batches into new CPU memory, from data that is already in memory (page cache or tensors).
    paretune      Shard.rows -> Table.gather, on the memory-mapped file
    index         a tensor in memory, indexed with slices of torch.randperm: the least that shuffling can cost
    loader 0, 2   DataLoader(TensorDataset(those tensors), shuffle=True, num_workers=0 or 2, persistent)
Each round times every method once, in turn, so that a busy machine slows all of them; the table shows medians, and the
median over rounds of the ratio to each alternative (above 1: Paretune is faster).
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from record import recorded
from rich.console import Console
from rich.table import Table as Grid
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

from trainables.data.shards import Shard
from trainables.data.table import Table, open_table

LARGE_ROWS = 20_000  # of 3 x 32 x 32 bytes, 61 MB: larger than the processor's caches

Batches = Iterator[tuple[Tensor, ...]]


def ours(table: Table, batch_size: int) -> Batches:
    shard = Shard(table.n_rows)
    position = 0
    while True:
        yield tuple(table.gather(shard.rows(position, batch_size)).values())
        position += batch_size


def plain_index(columns: tuple[Tensor, ...], batch_size: int) -> Batches:
    n_rows = len(columns[0])
    while True:
        order = torch.randperm(n_rows)
        for start in range(0, n_rows - batch_size + 1, batch_size):
            rows = order[start : start + batch_size]
            yield tuple(column[rows] for column in columns)


def loader(columns: tuple[Tensor, ...], batch_size: int, num_workers: int) -> Batches:
    dataset = TensorDataset(*columns)
    batches: DataLoader[tuple[Tensor, ...]] = DataLoader(
        dataset, batch_size, shuffle=True, drop_last=True, num_workers=num_workers, persistent_workers=num_workers > 0
    )
    while True:
        yield from batches


def samples_per_second(batches: Batches, batch_size: int, seconds: float) -> float:
    start = time.perf_counter()
    taken = 0
    while (elapsed := time.perf_counter() - start) < seconds or taken < 3:
        assert len(next(batches)[0]) == batch_size
        taken += 1
    return taken * batch_size / elapsed


def measure(table: Table, batch_size: int, rounds: int, seconds: float) -> dict[str, list[float]]:
    columns = tuple(table.column(name).clone() for name in table.columns)
    methods: dict[str, Batches] = {
        "paretune": ours(table, batch_size),
        "index": plain_index(columns, batch_size),
        "loader 0": loader(columns, batch_size, 0),
        "loader 2": loader(columns, batch_size, 2),
    }
    for batches in methods.values():  # start workers, touch every page
        samples_per_second(batches, batch_size, seconds)
    rates: dict[str, list[float]] = {name: [] for name in methods}
    for _ in range(rounds):
        for name, batches in methods.items():
            rates[name].append(samples_per_second(batches, batch_size, seconds))
    return rates


def large_table(cache: Path) -> Table:
    """Images as large data sets have them; random bytes, since only their number matters here."""
    random = np.random.default_rng(0)
    pixels = pa.array(random.integers(0, 256, LARGE_ROWS * 3072, dtype=np.uint8))
    labels = pa.array(random.integers(0, 10, LARGE_ROWS))
    tensor = pa.fixed_shape_tensor(pa.uint8(), [3, 32, 32])
    image = pa.ExtensionArray.from_storage(tensor, pa.FixedSizeListArray.from_arrays(pixels, 3072))
    pq.write_table(pa.table({"image": image, "label": labels}), cache / "large.parquet")
    return open_table(str(cache / "large.parquet"), cache)


def main() -> None:
    parser = argparse.ArgumentParser(description="samples per second of the data path", allow_abbrev=False)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=0.4, help="of each timing")
    parser.add_argument("--batch-sizes", type=int, nargs="+", default=[8, 64, 512])
    parser.add_argument("--threads", type=int, default=1, help="of torch, as a worker with one CPU has")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    grid = Grid(title=f"thousand samples per second, {arguments.threads} thread(s), {os.cpu_count()} cores")
    for heading in (
        "data",
        "batch",
        "paretune",
        "index",
        "loader 0",
        "loader 2",
        "/ index",
        "/ loader 0",
        "/ loader 2",
    ):
        grid.add_column(heading, justify="left" if heading == "data" else "right")
    with tempfile.TemporaryDirectory() as folder:
        cache = Path(folder)
        sources: dict[str, Callable[[], Table]] = {
            "digits, 264 B": lambda: open_table("builtin://digits/train", cache),
            "stdlib, 128 B": lambda: open_table("builtin://stdlib/train", cache),
            "images, 3 kB": lambda: large_table(cache),
        }
        for name, opened in sources.items():
            table = opened()
            for batch_size in arguments.batch_sizes:
                rates = measure(table, batch_size, arguments.rounds, arguments.seconds)
                own = rates.pop("paretune")
                ratios = [statistics.median(map(float.__truediv__, own, other)) for other in rates.values()]
                medians = [statistics.median(values) / 1000 for values in (own, *rates.values())]
                grid.add_row(name, str(batch_size), *(f"{x:.0f}" for x in medians), *(f"{x:.2f}" for x in ratios))
    Console(width=None if sys.stdout.isatty() else 120).print(grid)


if __name__ == "__main__":
    sys.exit(recorded(main))
