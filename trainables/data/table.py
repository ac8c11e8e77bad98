"""Rows of tensors: columns that are views on a memory-mapped file, copied only when a batch is gathered."""

from __future__ import annotations

import functools
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from pyarrow import ipc
from torch import Tensor

from trainables.data.convert import BOOLEAN, LEFT_OUT, PADDING, mapped_file
from trainables.data.ragged import MASK, RaggedValues
from trainables.data.selection import EVERYTHING, NOT_NAMED, Selection
from trainables.data.sources import DataError

LOOKED_AT_BYTES, MOST_LOOKED_AT_BYTES = 64 << 20, 4 << 30  # at a time, and in all
MOST_SHOWN = 5  # columns in a message
THREADED_BYTES = 1 << 20  # of one gathered column; measured: above, two threads of torch beat numpy's one

ColumnKind = tuple[torch.dtype, tuple[int, ...]]  # of a column: its element type, and the shape of one row


class Table:
    """Columns of the same number of rows. `Table(tensors)` holds what it is given; `Table.map` maps a file."""

    def __init__(
        self,
        columns: Mapping[str, Tensor],
        left_out: Mapping[str, str] | None = None,
        ragged: Mapping[str, RaggedValues] | None = None,
    ) -> None:
        """`columns`: name -> tensor of shape [rows, ...], on the CPU. `left_out`: other columns of the data, and why.

        `ragged`: further columns, of lists. Raises DataError when their rows differ.
        """
        self._columns = dict(columns)
        self._ragged = dict(ragged or {})
        self.left_out = dict(left_out or {})
        if taken := [f"{name}{MASK}" for name in self._ragged if f"{name}{MASK}" in columns]:
            raise DataError(f"the data has a column {taken[0]!r}, the name of the mask of a ragged one: rename it")
        sizes = {name: len(column) for name, column in columns.items()}
        sizes |= {name: len(lists) for name, lists in self._ragged.items()}
        if len(set(sizes.values())) != 1:
            raise DataError(f"columns of one table have the same number of rows, these have {sizes}")
        self.n_rows = next(iter(sizes.values()))
        self._arrays = {name: column.numpy() for name, column in columns.items() if column.dtype != torch.bfloat16}

    @classmethod
    def map(cls, path: Path) -> Table:
        """The file that `convert` wrote, mapped into memory: processes of a node share its pages."""
        with pa.memory_map(str(path)) as file:
            batch = ipc.open_file(file).get_batch(0)
        left_out = json.loads((batch.schema.metadata or {}).get(LEFT_OUT, b"{}"))
        columns, ragged = {}, {}
        for index, field in enumerate(batch.schema):
            array = batch.column(index)
            if field.metadata and PADDING in field.metadata:
                values, offsets = _view(array.values, field).numpy(), array.offsets.to_numpy()
                ragged[field.name] = RaggedValues(values, offsets, json.loads(field.metadata[PADDING]))
            else:
                columns[field.name] = _view(array, field)
        return cls(columns, {name: why or NOT_NAMED for name, why in left_out.items()}, ragged)

    def without(self, why: Mapping[str, str]) -> Table:
        """The table without some of its columns, and why."""
        rest = {name: column for name, column in self._columns.items() if name not in why}
        ragged = {name: column for name, column in self._ragged.items() if name not in why}
        return Table(rest, {**self.left_out, **why}, ragged) if why else self

    def of_rows(self, rows: np.ndarray[Any, np.dtype[np.int64]]) -> Table:
        """A table of these rows, copied, in this order."""
        columns = {name: self._take(name, column, rows) for name, column in self._columns.items()}
        return Table(columns, self.left_out, {name: lists.of_rows(rows) for name, lists in self._ragged.items()})

    @functools.cached_property
    def lengths(self) -> np.ndarray[Any, Any] | None:
        """How long each row is, int64 [rows]: its longest list; None where no column is of lists of unequal length."""
        lengths = [column.lengths for column in self._ragged.values()]
        return functools.reduce(np.maximum, lengths) if lengths else None

    @property
    def has_even_rows(self) -> bool:
        """Whether all rows are of one length."""
        return self.lengths is None or bool((self.lengths == self.lengths[0]).all())

    @property
    def longest(self) -> int:
        """The length of the longest row, at least 1; 1 where no column is of lists of unequal length."""
        return 1 if self.lengths is None else max(1, int(self.lengths.max()))

    @property
    def bytes_of_longest_row(self) -> int:
        """All columns of a row that is as long as the longest, with its masks."""
        own = sum(column[:1].nbytes for column in self._columns.values())
        for lists in self._ragged.values():
            own += max(1, int(lists.lengths.max())) * (1 + lists.values[:1].nbytes)
        return own

    @property
    def columns(self) -> dict[str, ColumnKind]:
        """Name -> element type and shape of one row, with -1 for the length of lists of unequal length."""
        kinds = {name: (column.dtype, tuple(column.shape[1:])) for name, column in self._columns.items()}
        for name, lists in self._ragged.items():
            kinds[name] = (torch.from_numpy(lists.values[:0].copy()).dtype, (-1, *lists.values.shape[1:]))
            kinds[f"{name}{MASK}"] = (torch.bool, (-1,))
        return kinds

    def column(self, name: str) -> Tensor:
        """All rows of a column, shape [rows, ...], without a copy. Read only: writing to it ends the process."""
        return self._columns[name]

    def gather(self, rows: np.ndarray[Any, np.dtype[np.int64]], *, least_length: int = 1) -> dict[str, Tensor]:
        """Copies of the rows with these numbers (from 0), in this order: name -> tensor of shape [len(rows), ...].

        Lists of unequal length are padded to the longest of these rows, or to `least_length` where that is more:
        [len(rows), longest, ...], beside their mask.
        numpy takes few rows at half the cost of torch; many bytes are taken by torch's threads.
        """
        batch = {name: self._take(name, column, rows) for name, column in self._columns.items()}
        for name, lists in self._ragged.items():
            values, mask = lists.padded(rows, least_length)
            batch |= {name: torch.from_numpy(values), f"{name}{MASK}": torch.from_numpy(mask)}
        return batch

    def not_finite(self) -> tuple[str, int] | None:
        """The first column that holds NaN or infinity, and its first such row; None if none does, as far as is looked.

        It is looked at 4 GiB at most, which takes some seconds.
        """
        looked_at = 0
        for name, column in self._columns.items():
            if not column.dtype.is_floating_point:
                continue
            row_values = math.prod(column.shape[1:])
            rows = max(1, LOOKED_AT_BYTES // max(1, column[:1].nbytes))
            for start in range(0, self.n_rows, rows):
                if (looked_at := looked_at + column[start : start + rows].nbytes) > MOST_LOOKED_AT_BYTES:
                    return None
                bad = ~torch.isfinite(column[start : start + rows].reshape(-1, row_values)).all(1)
                if bad.any():
                    return name, start + int(bad.int().argmax())
        for name, lists in self._ragged.items():
            odd = ~np.isfinite(lists.values.reshape(len(lists.values), -1)).all(1)
            if odd.any():
                return name, int(np.searchsorted(lists.offsets, odd.argmax(), side="right")) - 1
        return None

    def _take(self, name: str, column: Tensor, rows: np.ndarray[Any, np.dtype[np.int64]]) -> Tensor:
        array = self._arrays.get(name)
        if array is None or array[:1].nbytes * len(rows) >= THREADED_BYTES:
            return column.index_select(0, torch.from_numpy(rows))
        return torch.from_numpy(array.take(rows, axis=0))


def _view(array: Any, field: Any) -> Tensor:
    shape: tuple[int, ...] = ()
    if isinstance(array.type, pa.FixedShapeTensorType):
        shape = tuple(array.type.shape)
        array = array.storage.values
    flat = torch.utils.dlpack.from_dlpack(
        array
    )  # unlike from_numpy, takes memory that must not be written without a warning
    column = flat.reshape(-1, *shape)
    return column.view(torch.bool) if field.metadata and BOOLEAN in field.metadata else column


def open_table(source: str, cache: Path, selection: Selection = EVERYTHING) -> Table:
    """The selected columns of a source (absolute path or URI), mapped; converted first if this node has not done so.

    Raises DataError.
    """
    return Table.map(mapped_file(source, cache, selection))


def differing(one: Table, other: Table) -> list[str]:
    """The names of the columns in which two tables differ."""
    kinds = one.columns, other.columns
    return [name for name in {**kinds[1], **kinds[0]} if kinds[0].get(name) != kinds[1].get(name)]


def unlike(one: Table, other: Table) -> tuple[str, str]:
    """The columns in which two tables differ, as each has them: "x: float32 [16]" and "no x". The first of many."""
    kinds, names = (one.columns, other.columns), differing(one, other)
    more = f" and {len(names) - MOST_SHOWN} more" if len(names) > MOST_SHOWN else ""
    here, there = (", ".join(_described(name, kind.get(name)) for name in names[:MOST_SHOWN]) + more for kind in kinds)
    return here, there


def _described(name: str, kind: ColumnKind | None) -> str:
    return f"{name}: {str(kind[0])[6:]} {list(kind[1])}" if kind else f"no {name}"
