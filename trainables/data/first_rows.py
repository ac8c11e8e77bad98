"""What a source holds, as its footers and its first rows tell: found out in a moment, where a conversion takes long.

Imports no torch: a plan looks too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from trainables.data import builtin
from trainables.data.arrow_values import dense, ragged_values, tensor_values
from trainables.data.convert import columns_to_read, none_can_be_read, same_columns
from trainables.data.formats import OpenFile, ParquetRows, opened, source_file_name
from trainables.data.ragged import RaggedValues
from trainables.data.selection import EVERYTHING, NOT_NAMED, Selection
from trainables.data.sources import DataError, list_files

PREVIEW_ROWS = 3  # at most; batch norm needs two


@dataclass
class FirstRows:
    """The first rows of a source, of the columns that all of it will have."""

    columns: dict[str, np.ndarray[Any, Any]]  # each of shape [rows, ...]
    ragged: dict[str, RaggedValues] = field(default_factory=dict)  # those of lists of unequal length
    left_out: dict[str, str] = field(default_factory=dict)  # the other columns, and why
    stored: dict[str, np.dtype[Any]] = field(default_factory=dict)  # of the columns, in the files
    from_csv: bool = False

    @property
    def converted(self) -> dict[str, str]:
        """The columns that are of another type than in the files: "float64 is read as float32"."""
        kinds = {name: (str(self.stored[name]), str(values.dtype)) for name, values in self.columns.items()}
        return {name: f"{one} is read as {other}" for name, (one, other) in kinds.items() if one != other}


def first_rows(source: str, cache: Path, selection: Selection = EVERYTHING) -> FirstRows:
    """The first rows of a source (absolute path or URI), of the selected columns.

    Raises DataError for what `open_table` refuses as far as it is seen here: files that cannot be read or differ in
    their columns, types that are no numbers, nulls among the first rows or in the statistics of Parquet, no rows.
    """
    if source.startswith(builtin.SCHEME):
        source = str(builtin.materialise(source, cache))
    types: dict[str, str] | None = None
    found: FirstRows | None = None
    left_out: dict[str, str] = {}
    for file in list_files(source):
        where = source_file_name(file)
        with opened(file, whole=False) as reader:
            chosen = columns_to_read(reader.schema, selection, where)
            left_out |= dict.fromkeys(set(reader.schema.names).difference(chosen), NOT_NAMED)
            if reader.footer is not None and reader.footer.num_rows == 0:
                continue  # of an empty file, the types of its columns may mean nothing
            types = same_columns(types, reader.schema, where, selection, left_out)
            problems = {} if reader.footer is None else _with_nulls(reader.footer, types, where, selection)
            if found is None and (rows := _rows_at_the_beginning(reader, chosen)):
                usable = [name for name in types if name not in {**problems, **left_out}]
                found = _columns(rows, usable, where, problems, selection)
                found.from_csv = reader.is_csv
            if problems and not selection.skips_unusable:
                raise DataError("; ".join(problems.values()))
            left_out |= problems
    if found is None:
        raise DataError(f"data {source!r} has no rows")
    found.left_out = left_out
    found.columns = {name: values for name, values in found.columns.items() if name not in left_out}
    if not (found.columns or found.ragged):
        raise DataError(none_can_be_read(source, selection, left_out))
    return found


def _rows_at_the_beginning(reader: OpenFile, columns: Sequence[str]) -> Any:
    """A record batch of at least one row; None if the file has none."""
    batches = reader.part(PREVIEW_ROWS, columns=columns) if isinstance(reader, ParquetRows) else reader.batches(columns)
    return next((batch.slice(0, PREVIEW_ROWS) for batch in batches if batch.num_rows), None)


def _columns(rows: Any, names: Sequence[str], where: str, problems: dict[str, str], selection: Selection) -> FirstRows:
    """The columns that can be used; what is wrong with each of the others is put into `problems`, by its name."""
    found = FirstRows({})
    for name in names:
        what, array = f"column {name!r} of {where}", rows.column(name)
        try:
            if (pad := selection.padding(name)) is not None:
                found.ragged[name] = ragged_values(array, what, pad)
                continue
            found.columns[name] = tensor_values(array, name, what, selection)
            prepared = selection.prepares(name)
            found.stored[name] = found.columns[name].dtype if prepared else dense(array, what, widens=False).dtype
        except DataError as error:
            problems[name] = str(error)
    return found


def _with_nulls(metadata: Any, types: dict[str, str], where: str, selection: Selection) -> dict[str, str]:
    """Columns that hold nulls: of those that are no lists, as far as the file keeps count of them."""
    found = {}
    for group in range(metadata.num_row_groups):
        for index in range(metadata.num_columns):
            column = metadata.row_group(group).column(index)
            counted = column.statistics is not None and column.statistics.has_null_count
            name = column.path_in_schema
            if counted and column.statistics.null_count and name in types and not selection.prepares(name):
                found[name] = f"column {name!r} of {where} holds nulls; fill them or drop their rows"
    return found
