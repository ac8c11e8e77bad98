"""Rows of a source that are likely to cause errors: the middle, the last, and those with extreme integer values.

A class or token that is too high for the model often occurs in only one of many rows. Parquet's statistics show where;
in files without statistics, the column is read completely.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from trainables.data import builtin
from trainables.data.arrow_values import dense, ragged_values, tensor_values
from trainables.data.formats import ParquetRows, opened, source_file_name
from trainables.data.selection import EVERYTHING, Selection
from trainables.data.sources import SourceFile, list_files
from trainables.data.table import Table

MOST_COLUMNS = 32  # of whole numbers that are looked at: those that are no inputs (the labels) first
MOST_BYTES = 1 << 29  # of a Parquet row group; from a larger one no row is taken, since all before it must be read
READ_ROWS = 4096  # at a time

Extremes = tuple[int, int]  # the lowest and the highest value


@dataclass(frozen=True)
class OddRow:
    """One row, as a table of its own. `why` it was chosen, for a person: "where 'label' is 3, its highest"."""

    number: int  # from 0, in the order of the files
    why: str
    table: Table


@dataclass(frozen=True)
class _Part:
    """A row group of a Parquet file, or all of an Arrow file."""

    file: SourceFile
    group: int | None
    first: int  # the number of its first row
    rows: int
    known: Mapping[str, Extremes]  # of its columns of whole numbers, as its statistics tell


def odd_rows(
    source: str, cache: Path, inputs: Sequence[str] = (), selection: Selection = EVERYTHING
) -> tuple[OddRow, ...]:
    """The rows of a source (absolute path or URI), each once. `inputs`: the columns that are given to the model.

    `selection`: of the columns that are read.

    Raises DataError, for a column that can be used in the first rows, but not in all that are looked at.
    """
    if source.startswith(builtin.SCHEME):
        source = str(builtin.materialise(source, cache))
    parts, columns = _parts(source, selection)
    n_rows = sum(part.rows for part in parts)
    why: dict[int, list[str]] = defaultdict(list)
    for column in sorted(columns, key=lambda name: name in inputs)[:MOST_COLUMNS]:
        for number, reason in _extreme_rows(parts, column, selection).items():
            why[number].append(reason)
    for number, reason in ((n_rows // 2, "in the middle"), (n_rows - 1, "the last")):
        why[number] = why[number] or [reason]
    return tuple(_taken(parts, {number: " and ".join(reasons[:3]) for number, reasons in why.items()}, selection))


def _parts(source: str, selection: Selection) -> tuple[list[_Part], list[str]]:
    """All parts that hold rows, and the columns of whole numbers."""
    parts: list[_Part] = []
    columns: list[str] = []
    first = 0
    for file in list_files(source):
        with opened(file, whole=False, mapped=True) as reader:
            chosen = {name for name in selection.among(reader.schema.names) if not selection.prepares(name)}
            read = [field for field in reader.schema if field.name in chosen]
            columns = columns or [field.name for field in read if _is_whole(field.type)]
            sizes: list[tuple[int | None, int, dict[str, Extremes]]]
            if (footer := reader.footer) is not None:
                groups = [(group, footer.row_group(group)) for group in range(footer.num_row_groups)]
                sizes = [(group, about.num_rows, _statistics(about, columns)) for group, about in groups]
            else:
                sizes = [(None, reader.count(), {})]
        for group, rows, known in sizes:
            if rows:
                parts.append(_Part(file, group, first, rows, known))
            first += rows
    return parts, columns


def _is_whole(kind: Any) -> bool:
    if isinstance(kind, pa.FixedShapeTensorType):
        return _is_whole(kind.value_type)
    if pa.types.is_fixed_size_list(kind) or pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return _is_whole(kind.value_type)
    return bool(pa.types.is_integer(kind))


def _statistics(group: Any, columns: Sequence[str]) -> dict[str, Extremes]:
    found = {}
    for index in range(group.num_columns):
        column = group.column(index)
        name = column.path_in_schema.partition(".")[0]  # of a list, `x.list.element`
        if name in columns and column.statistics is not None and column.statistics.has_min_max:
            found[name] = (int(column.statistics.min), int(column.statistics.max))
    return found


def _extreme_rows(parts: Sequence[_Part], column: str, selection: Selection) -> dict[int, str]:
    """The first rows that hold the lowest and the highest value of a column, and why they were chosen."""
    ranges = [part.known.get(column) or _looked_at(part, column, selection) for part in parts]
    low, high = min(low for low, _ in ranges), max(high for _, high in ranges)
    lowest = parts[next(index for index, (value, _) in enumerate(ranges) if value == low)]
    highest = parts[next(index for index, (_, value) in enumerate(ranges) if value == high)]
    return {
        _row_of(lowest, column, low, selection): f"where {column!r} is {low}, its lowest",
        _row_of(highest, column, high, selection): f"where {column!r} is {high}, its highest",
    }


def _looked_at(part: _Part, column: str, selection: Selection) -> Extremes:
    extremes = [(int(values.min()), int(values.max())) for values in _values(part, column, selection)]
    return min(low for low, _ in extremes), max(high for _, high in extremes)


def _row_of(part: _Part, column: str, value: int, selection: Selection) -> int:
    before = part.first
    for values in _values(part, column, selection):
        holds = (values == value).reshape(len(values), -1).any(axis=1)
        if holds.any():
            return before + int(holds.argmax())
        before += len(values)
    return part.first  # the statistics are wrong


def _values(part: _Part, column: str, selection: Selection) -> Iterator[np.ndarray[Any, Any]]:
    for batch in _batches(part, [column]):
        what = f"column {column!r} of {source_file_name(part.file)}"
        if selection.padding(column) is None:
            yield dense(batch.column(0), what)
        else:
            lists = ragged_values(batch.column(0), what, 0)
            pad = float(lists.values.flat[0]) if lists.values.size else 0.0  # one that is among them
            yield replace(lists, pad=pad).padded(np.arange(len(lists)))[0]


def _batches(part: _Part, columns: Collection[str] | None = None) -> Iterator[Any]:
    """The rows of a part, of some columns or of all."""
    with opened(part.file, whole=False, mapped=True) as reader:
        if isinstance(reader, ParquetRows):
            yield from reader.part(READ_ROWS, part.group, columns)
        else:
            yield from (batch for batch in reader.batches(columns) if batch.num_rows)


def _taken(parts: Sequence[_Part], why: Mapping[int, str], selection: Selection) -> Iterator[OddRow]:
    for part in parts:
        wanted = sorted(number for number in why if part.first <= number < part.first + part.rows)
        if not wanted or _is_large(part):
            continue
        before, where = part.first, source_file_name(part.file)
        for batch in _batches(part, selection.names):
            for number in wanted:
                if before <= number < before + batch.num_rows:
                    row = _table(batch.slice(number - before, 1), where, selection)
                    yield OddRow(number, why[number], row)
            before += batch.num_rows
            if before > wanted[-1]:
                break


def _table(rows: Any, where: str, selection: Selection) -> Table:
    columns, ragged = {}, {}
    for name in rows.schema.names:
        what, array = f"column {name!r} of {where}", rows.column(name)
        if (pad := selection.padding(name)) is not None:
            ragged[name] = ragged_values(array, what, pad)
        else:
            columns[name] = torch.from_numpy(np.array(tensor_values(array, name, what, selection)))
    return Table(columns, None, ragged)


def _is_large(part: _Part) -> bool:
    if part.group is None:
        return False  # its rows are taken without reading the others
    with opened(part.file, whole=False, mapped=True) as reader:
        return bool(reader.footer.row_group(part.group).total_byte_size > MOST_BYTES)
