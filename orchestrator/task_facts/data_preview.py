"""What a source holds, as its footers and its first rows tell: found out in a moment, where a conversion takes long."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import torch

from trainables.data import builtin
from trainables.data.convert import dense, same_columns
from trainables.data.formats import batches, opened, source_file_name
from trainables.data.sources import DataError, list_files
from trainables.data.table import Table

PREVIEW_ROWS = 3  # at most; batch norm needs two


def preview(source: str, cache: Path) -> Table:
    """The first rows of a source (absolute path or URI), of the columns that all of it will have.

    Raises DataError for what `open_table` refuses as far as it is seen here: files that cannot be read or differ in
    their columns, types that are no numbers, nulls among the first rows or in the statistics of Parquet, no rows.
    """
    if source.startswith(builtin.SCHEME):
        source = str(builtin.materialise(source, cache))
    types: dict[str, Any] | None = None
    first: Any = None
    for file in list_files(source):
        where = source_file_name(source, file)
        with opened(source, file, whole=False) as reader:
            is_parquet = isinstance(reader, pq.ParquetFile)
            if is_parquet and reader.metadata.num_rows == 0:
                continue  # of an empty file, the types of its columns may mean nothing
            types = same_columns(types, reader.schema_arrow if is_parquet else reader.schema, where)
            problems = _with_nulls(reader.metadata, types, where) if is_parquet else {}
            if first is None and (rows := _first_rows(reader)):
                first = _columns(rows, [name for name in types if name not in problems], where, problems)
            if problems:
                raise DataError("; ".join(problems.values()))
    if first is None:
        raise DataError(f"data {source!r} has no rows")
    return Table({name: torch.from_numpy(np.array(values)) for name, values in first.items()})


def _first_rows(reader: Any) -> Any:
    """A record batch of at least one row; None if the file has none."""
    if isinstance(reader, pq.ParquetFile):
        return next((batch for batch in reader.iter_batches(batch_size=PREVIEW_ROWS) if batch.num_rows), None)
    return next((batch.slice(0, PREVIEW_ROWS) for batch in batches(reader) if batch.num_rows), None)


def _columns(rows: Any, names: Sequence[str], where: str, problems: dict[str, str]) -> dict[str, Any]:
    """The columns that can be used; what is wrong with each of the others is put into `problems`, by its name."""
    usable = {}
    for name in names:
        try:
            usable[name] = dense(rows.column(name), f"column {name!r} of {where}")
        except DataError as error:
            problems[name] = str(error)
    return usable


def _with_nulls(metadata: Any, types: dict[str, Any], where: str) -> dict[str, str]:
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
