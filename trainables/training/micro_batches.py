"""The micro-batches of consecutive optimiser steps, on the device of the trial."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, overload

import numpy as np
import torch
from torch import Tensor

from trainables.config.batching import micro_batch_rows
from trainables.tasks.base import Batch
from trainables.training.evaluate import row_bytes

if TYPE_CHECKING:
    from trainables.data.shards import Rows
    from trainables.data.table import Table

GATHER_BYTES = 4 << 20  # rows are gathered together up to this size


class RowOrder(Protocol):
    """Which row comes when: `data.shards.Shard`, or another order for a measurement."""

    def rows(self, start: int, count: int) -> Rows: ...


@dataclass(frozen=True)
class Reordered:
    """A worker's stream over data whose rows are taken in another order; None: as they are."""

    stream: RowOrder
    order: Rows | None

    def rows(self, start: int, count: int) -> Rows:
        rows = self.stream.rows(start, count)
        return rows if self.order is None else self.order[rows]


def micro_batches_of_steps(
    table: Table,
    order: RowOrder,
    first_row: int,
    rows_per_step: int,
    steps: int,
    micro_batch_size: int,
    device: torch.device,
) -> Iterator[Sequence[Batch]]:
    """For each of `steps` steps, its micro-batches. `first_row` in this worker's order, `rows_per_step` of this worker.

    Small steps are gathered together: one large gather, and on CUDA one large copy, costs far less than many small
    ones; the steps get views of it. A step too large for that is gathered piece by piece while it is used, so that the
    memory it takes depends on the micro-batch and not on the batch.
    """
    sizes = micro_batch_rows(rows_per_step, micro_batch_size)
    at_once = GATHER_BYTES // (rows_per_step * row_bytes(table))
    if at_once < 1:
        for step in range(steps):
            yield _Pieces(table, order.rows(first_row + step * rows_per_step, rows_per_step), sizes, device)
        return
    for start in range(0, steps, at_once):
        count = min(at_once, steps - start)
        rows = order.rows(first_row + start * rows_per_step, count * rows_per_step)
        micro_batches = _gathered(table, rows, sizes * count, device)
        for first in range(0, len(micro_batches), len(sizes)):
            yield micro_batches[first : first + len(sizes)]


class _Pieces(Sequence[Batch]):
    """The micro-batches of one large step; as many as fit in GATHER_BYTES, at least one, are there at a time."""

    def __init__(self, table: Table, rows: Rows, sizes: list[int], device: torch.device) -> None:
        self._table, self._rows, self._sizes, self._device = table, rows, sizes, device
        self._per_piece = max(1, GATHER_BYTES // (sizes[0] * row_bytes(table)))
        self._number = -1  # of the piece that is there
        self._piece: list[Batch] = []

    def __len__(self) -> int:
        return len(self._sizes)

    @overload
    def __getitem__(self, index: int) -> Batch: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Batch]: ...
    def __getitem__(self, index: int | slice) -> Batch | Sequence[Batch]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        number, within = divmod(range(len(self))[index], self._per_piece)
        if number != self._number:
            self._piece = []  # before the next is made: one piece at a time
            first = number * self._per_piece
            sizes = self._sizes[first : first + self._per_piece]
            start = first * self._sizes[0]
            rows = self._rows[start : start + sum(sizes)]
            self._piece, self._number = _gathered(self._table, rows, sizes, self._device), number
        return self._piece[within]


def _gathered(table: Table, rows: Rows, sizes: list[int], device: torch.device) -> list[Batch]:
    if table.lengths is not None:  # each is as long as its own longest row
        ends = np.cumsum(sizes)
        parts_of_rows = [rows[end - size : end] for end, size in zip(ends, sizes, strict=True)]
        return [{name: _to_device(x, device) for name, x in table.gather(part).items()} for part in parts_of_rows]
    columns = {name: _to_device(column, device) for name, column in table.gather(rows).items()}
    parts = zip(*(torch.split(column, sizes) for column in columns.values()), strict=True)
    return [dict(zip(columns, part, strict=True)) for part in parts]


def _to_device(column: Tensor, device: torch.device) -> Tensor:
    if device.type == "cpu":
        return column
    return column.pin_memory().to(device, non_blocking=True)
