"""What a source holds, as its footers and its first rows tell: found out in a moment, where a conversion takes long."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from trainables.data import builtin
from trainables.data.convert import columns_to_read, dense, none_can_be_read, same_columns
from trainables.data.formats import OpenFile, ParquetRows, opened, source_file_name
from trainables.data.selection import EVERYTHING, NOT_NAMED, Selection
from trainables.data.sources import DataError, list_files
from trainables.data.table import Table

PREVIEW_ROWS = 3  # at most; batch norm needs two


def preview(source: str, cache: Path, selection: Selection = EVERYTHING) -> Table:
    """The first rows of a source (absolute path or URI), of the selected columns that all of it will have.

    Raises DataError for what `open_table` refuses as far as it is seen here: files that cannot be read or differ in
    their columns, types that are no numbers, nulls among the first rows or in the statistics of Parquet, no rows.
    """
    if source.startswith(builtin.SCHEME):
        source = str(builtin.materialise(source, cache))
    types: dict[str, str] | None = None
    first: dict[str, Any] | None = None
    left_out: dict[str, str] = {}
    for file in list_files(source):
        where = source_file_name(file)
        with opened(file, whole=False) as reader:
            chosen = columns_to_read(reader.schema, selection, where)
            left_out |= dict.fromkeys(set(reader.schema.names).difference(chosen), NOT_NAMED)
            if reader.footer is not None and reader.footer.num_rows == 0:
                continue  # of an empty file, the types of its columns may mean nothing
            types = same_columns(types, reader.schema, where, selection, left_out)
            problems = {} if reader.footer is None else _with_nulls(reader.footer, types, where)
            if first is None and (rows := _first_rows(reader, chosen)):
                usable = [name for name in types if name not in {**problems, **left_out}]
                first = _columns(rows, usable, where, problems)
            if problems and not selection.skips_unusable:
                raise DataError("; ".join(problems.values()))
            left_out |= problems
    if first is None:
        raise DataError(f"data {source!r} has no rows")
    columns = {name: torch.from_numpy(np.array(values)) for name, values in first.items() if name not in left_out}
    if not columns:
        raise DataError(none_can_be_read(source, selection, left_out))
    return Table(columns, left_out)


def _first_rows(reader: OpenFile, columns: Sequence[str]) -> Any:
    """A record batch of at least one row; None if the file has none."""
    batches = reader.part(PREVIEW_ROWS, columns=columns) if isinstance(reader, ParquetRows) else reader.batches(columns)
    return next((batch.slice(0, PREVIEW_ROWS) for batch in batches if batch.num_rows), None)


def _columns(rows: Any, names: Sequence[str], where: str, problems: dict[str, str]) -> dict[str, Any]:
    """The columns that can be used; what is wrong with each of the others is put into `problems`, by its name."""
    usable = {}
    for name in names:
        try:
            usable[name] = dense(rows.column(name), f"column {name!r} of {where}")
        except DataError as error:
            problems[name] = str(error)
    return usable


def _with_nulls(metadata: Any, types: dict[str, str], where: str) -> dict[str, str]:
    """Columns that hold nulls: of those that are no lists, as far as the file keeps count of them."""
    found = {}
    for group in range(metadata.num_row_groups):
        for index in range(metadata.num_columns):
            column = metadata.row_group(group).column(index)
            counted = column.statistics is not None and column.statistics.has_null_count
            if counted and column.statistics.null_count and column.path_in_schema in types:
                name = column.path_in_schema
                found[name] = f"column {name!r} of {where} holds nulls; fill them or drop their rows"
    return found
